"""Arithmetic of two tensors, or a tensor and a number: broadcasting and type promotion.

Every function follows the function of the same name in PyTorch. Shapes broadcast from the right;
the result dtype is the promotion of both operands (bool < integers < floating; a Python number
never widens a tensor of its own category). All raise RuntimeError for shapes that do not broadcast
and tensors on different devices, TypeError for operands that are neither tensor nor number.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _C
from ..autograd.graph import needs_grad, record
from ._deprecated import factor_first
from ._register import expect_tensors, in_place_method, method, operator, put_out

__all__ = [
    "add",
    "atan2",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "div",
    "divide",
    "floor_divide",
    "fmod",
    "maximum",
    "minimum",
    "mul",
    "multiply",
    "pow",
    "remainder",
    "rsub",
    "sub",
    "subtract",
    "true_divide",
]


@method()
def add(input: Any, other: Any, *scaled: Any, alpha: Any = 1, out: Any = None) -> Any:
    """``input + alpha * other``."""
    if scaled:
        other, alpha = factor_first("add", other, scaled, alpha)
    if alpha == 1:
        output = _C.add(input, other)
    else:
        alpha = _number(alpha)
        output = _C.add_scaled(input, other, alpha)
    if needs_grad(input, other):
        record(output, add_backward, (input, other), (alpha,) if alpha != 1 else ())
    return output if out is None else put_out(out, output)


def add_backward(node: Any, grad: Any) -> tuple:
    alpha = node.saved
    return grad, grad * alpha[0] if alpha and node.needs(1) else grad


@method()
def sub(input: Any, other: Any, *scaled: Any, alpha: Any = 1, out: Any = None) -> Any:
    """``input - alpha * other``. Raises RuntimeError for bool operands."""
    if scaled:
        other, alpha = factor_first("sub", other, scaled, alpha)
    output = _C.sub(input, other) if alpha == 1 else _sub_scaled(_C.add_scaled, input, other, alpha)
    if needs_grad(input, other):
        record(output, sub_backward, (input, other), (alpha,))
    return output if out is None else put_out(out, output)


def _number(alpha: Any) -> Any:
    """A factor that was given as a tensor without dimensions, as the number that it holds."""
    return alpha.item() if isinstance(alpha, _C.TensorBase) and alpha.ndim == 0 else alpha


def _sub_scaled(kernel: Any, input: Any, other: Any, alpha: Any) -> Any:
    """``input - alpha * other`` by a kernel that adds."""
    if _is_boolean(input) or _is_boolean(other):
        raise RuntimeError("sub: not defined for bool operands; convert one of them")
    alpha = _number(alpha)
    if not isinstance(alpha, (int, float, complex, np.number)):
        raise TypeError(f"sub: argument 'alpha': expected a number, got {type(alpha).__name__}")
    return kernel(input, other, -alpha)


def _is_boolean(x: Any) -> bool:
    return isinstance(x, bool) or getattr(x, "dtype", None) is _C.boolean


def sub_backward(node: Any, grad: Any) -> tuple:
    (alpha,) = node.saved
    return grad, grad * -alpha if node.needs(1) else None


def rsub(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """``other - alpha * input``.

    Errors are those of :func:`sub`, and TypeError for an ``input`` that is a number.
    """
    expect_tensors("rsub", input)
    return sub(other, input, alpha=alpha)


@method()
def mul(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input * other``."""
    output = _C.mul(input, other)
    if needs_grad(input, other):
        record(output, mul_backward, (input, other), needed_factors(input, other))
    return output if out is None else put_out(out, output)


def needed_factors(input: Any, other: Any) -> tuple:
    """What the gradients of a product need: a factor matters to the gradient of the other one."""
    return input if needs_grad(other) else None, other if needs_grad(input) else None


def mul_backward(node: Any, grad: Any) -> tuple:
    input, other = node.saved
    return (
        grad * other if node.needs(0) else None,
        grad * input if node.needs(1) else None,
    )


@method()
def div(input: Any, other: Any, *, rounding_mode: str | None = None, out: Any = None) -> Any:
    """``input / other``: true division, or rounded with ``rounding_mode`` 'trunc' or 'floor'.

    Integer operands of a true division are converted to the default floating dtype. Rounded
    division has a gradient of zero and raises RuntimeError for an integer zero divisor.
    """
    if rounding_mode is not None:
        return _rounded_div(input, other, rounding_mode, out)
    output = _C.div(input, other)
    if needs_grad(input, other):
        record(output, div_backward, (input, other), (input, other))
    return output if out is None else put_out(out, output)


def div_backward(node: Any, grad: Any) -> tuple:
    input, other = node.saved
    return (
        grad / other if node.needs(0) else None,
        -grad * (input / other) / other if node.needs(1) else None,
    )


def _rounded_div(input: Any, other: Any, rounding_mode: str, out: Any) -> Any:
    if rounding_mode == "trunc":
        output = _C.trunc_divide(input, other)
    elif rounding_mode == "floor":
        output = _C.floor_divide(input, other)
    else:
        raise RuntimeError(
            "div: argument 'rounding_mode': expected None, 'trunc' or 'floor', "
            f"got {rounding_mode!r}"
        )
    if needs_grad(input, other):
        record(output, zero_backward, (input, other))
    return output if out is None else put_out(out, output)


def zero_backward(node: Any, grad: Any) -> tuple:
    """The gradient of piecewise constant functions."""
    return tuple(grad * 0 if node.needs(i) else None for i in range(node.edge_count))


@method()
def floor_divide(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input // other``, rounded towards minus infinity."""
    return _rounded_div(input, other, "floor", out)


@method()
def remainder(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input - other * floor(input / other)``: the sign of the divisor, as in Python's ``%``."""
    output = _C.remainder(input, other)
    if needs_grad(input, other):
        record(output, remainder_backward, (input, other), (input, other))
    return output if out is None else put_out(out, output)


def remainder_backward(node: Any, grad: Any) -> tuple:
    input, other = node.saved
    return grad, -grad * floor_divide(input, other) if node.needs(1) else None


@method()
def fmod(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input - other * trunc(input / other)``: the sign of the dividend, as in C."""
    output = _C.fmod(input, other)
    if needs_grad(input, other):
        record(output, fmod_backward, (input, other), (input, other))
    return output if out is None else put_out(out, output)


def fmod_backward(node: Any, grad: Any) -> tuple:
    input, other = node.saved
    return grad, -grad * div(input, other, rounding_mode="trunc") if node.needs(1) else None


@method()
def pow(input: Any, exponent: Any, *, out: Any = None) -> Any:
    """``input ** exponent``. Integers to a negative integer number raise RuntimeError."""
    _check_exponent(input, exponent)
    output = _C.pow(input, exponent)
    if needs_grad(input, exponent):
        record(output, pow_backward, (input, exponent), (input, exponent, output))
    return output if out is None else put_out(out, output)


def _check_exponent(input: Any, exponent: Any) -> None:
    if not isinstance(exponent, (int, np.integer)) or exponent >= 0:
        return
    dtype = getattr(input, "dtype", _C.float32)
    if not (dtype.is_floating_point or dtype.is_complex):
        raise RuntimeError("Integers to negative integer powers are not allowed.")


def _pow_raw(tensor: Any, exponent: Any) -> None:
    _check_exponent(tensor, exponent)
    _C.pow_(tensor, exponent)


def pow_backward(node: Any, grad: Any) -> tuple:
    input, exponent, output = node.saved
    grad_input = grad_exponent = None
    if node.needs(0):
        if isinstance(exponent, (int, float, complex)):
            zero = exponent == 0  # d/dx x**0 is 0 also where x**-1 is infinite
            grad_input = grad * 0 if zero else grad * (exponent * pow(input, exponent - 1))
        else:
            slope = exponent * pow(input, exponent - 1)
            grad_input = grad * _where(exponent == 0, 0.0, slope)
    if node.needs(1):  # 0**y is flat for y >= 0
        base = input if hasattr(input, "log") else _as_tensor(input, output)
        exponent = getattr(exponent, "real", exponent)
        flat = (base == 0) & (exponent >= 0)
        grad_exponent = grad * _where(flat, 0.0, output * base.to(output.dtype).log())
    return grad_input, grad_exponent


def _where(condition: Any, input: Any, other: Any) -> Any:
    from .where import where

    return where(condition, input, other)


def _as_tensor(number: Any, like: Any) -> Any:
    return _C.full((), number, like.dtype, like.device)


@method()
def maximum(input: Any, other: Any, *, out: Any = None) -> Any:
    """The larger of each pair; NaN if either is NaN. Ties share the gradient equally."""
    expect_tensors("maximum", input, other)
    output = _C.maximum(input, other)
    if needs_grad(input, other):
        record(output, maximum_backward, (input, other), (input, other))
    return output if out is None else put_out(out, output)


def maximum_backward(node: Any, grad: Any) -> tuple:
    input, other = node.saved
    return _split_by(node, grad, input, other, input < other, input > other)


@method()
def minimum(input: Any, other: Any, *, out: Any = None) -> Any:
    """The smaller of each pair; NaN if either is NaN. Ties share the gradient equally."""
    expect_tensors("minimum", input, other)
    output = _C.minimum(input, other)
    if needs_grad(input, other):
        record(output, minimum_backward, (input, other), (input, other))
    return output if out is None else put_out(out, output)


def minimum_backward(node: Any, grad: Any) -> tuple:
    input, other = node.saved
    return _split_by(node, grad, input, other, input > other, input < other)


def _split_by(node: Any, grad: Any, input: Any, other: Any, lost: Any, won: Any) -> tuple:
    """Half of the gradient to each where they tie; all of it to both beside a NaN."""
    shared = _where(input == other, grad / 2, grad)
    return (
        _where(lost, 0.0, shared) if node.needs(0) else None,
        _where(won, 0.0, shared) if node.needs(1) else None,
    )


@method("atan2", "arctan2")
def atan2(input: Any, other: Any, *, out: Any = None) -> Any:
    """The angle of the point (other, input), in radians from -pi to pi."""
    expect_tensors("atan2", input, other)
    output = _C.atan2(input, other)
    if needs_grad(input, other):
        record(output, atan2_backward, (input, other), (input, other))
    return output if out is None else put_out(out, output)


def atan2_backward(node: Any, grad: Any) -> tuple:
    input, other = node.saved
    scaled = grad / (input * input + other * other)
    return scaled * other, scaled * -input if node.needs(1) else None


@method()
def bitwise_and(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input & other`` of bools or integers."""
    output = _C.bitwise_and(input, other)
    return output if out is None else put_out(out, output)


@method()
def bitwise_or(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input | other`` of bools or integers."""
    output = _C.bitwise_or(input, other)
    return output if out is None else put_out(out, output)


@method()
def bitwise_xor(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input ^ other`` of bools or integers."""
    output = _C.bitwise_xor(input, other)
    return output if out is None else put_out(out, output)


subtract = method("subtract")(sub)
multiply = method("multiply")(mul)
divide = method("divide")(div)
true_divide = method("true_divide")(div)


def _add_raw(tensor: Any, other: Any, *scaled: Any, alpha: Any = 1) -> None:
    if scaled:
        other, alpha = factor_first("add_", other, scaled, alpha)
    if alpha == 1:
        _C.add_(tensor, other)
    else:
        _C.add_scaled_(tensor, other, _number(alpha))


def _sub_raw(tensor: Any, other: Any, *scaled: Any, alpha: Any = 1) -> None:
    if scaled:
        other, alpha = factor_first("sub_", other, scaled, alpha)
    if alpha == 1:
        _C.sub_(tensor, other)
    else:
        _sub_scaled(_C.add_scaled_, tensor, other, alpha)


def _div_raw(tensor: Any, other: Any, *, rounding_mode: str | None = None) -> None:
    kernels = {None: _C.div_, "trunc": _C.trunc_divide_, "floor": _C.floor_divide_}
    if rounding_mode not in kernels:
        raise RuntimeError(
            "div_: argument 'rounding_mode': expected None, 'trunc' or 'floor', "
            f"got {rounding_mode!r}"
        )
    kernels[rounding_mode](tensor, other)


def _attach_operators() -> None:
    for name, function in {
        "add": add,
        "sub": sub,
        "mul": mul,
        "truediv": div,
        "floordiv": floor_divide,
        "mod": remainder,
        "pow": pow,
        "and": bitwise_and,
        "or": bitwise_or,
        "xor": bitwise_xor,
    }.items():
        operator(f"__{name}__", function)
        operator(f"__r{name}__", function, reflected=True)
    for name, function, raw, symbol in [
        ("add_", add, _add_raw, "__iadd__"),
        ("sub_", sub, _sub_raw, "__isub__"),
        ("mul_", mul, _C.mul_, "__imul__"),
        ("div_", div, _div_raw, "__itruediv__"),
        ("floor_divide_", floor_divide, _C.floor_divide_, "__ifloordiv__"),
        ("remainder_", remainder, _C.remainder_, "__imod__"),
        ("fmod_", fmod, _C.fmod_, None),
        ("pow_", pow, _pow_raw, "__ipow__"),
        ("bitwise_and_", bitwise_and, _C.bitwise_and_, "__iand__"),
        ("bitwise_or_", bitwise_or, _C.bitwise_or_, "__ior__"),
        ("bitwise_xor_", bitwise_xor, _C.bitwise_xor_, "__ixor__"),
    ]:
        in_place_method(name, function, raw, operator_name=symbol)


_attach_operators()
