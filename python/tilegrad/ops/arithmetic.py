"""Arithmetic composed of other operations: addcmul, hypot, copysign, logaddexp, xlogy, fmax, ...

Shapes broadcast and dtypes are promoted as in :mod:`tilegrad.ops.binary`. What works on the digits
of numbers (nextafter, frexp, gcd, shifts) goes through NumPy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import _C
from ..autograd.graph import needs_grad, record
from ..tensor import Tensor, as_array
from ._deprecated import factors_first
from ._register import (
    composed_in_place,
    expect_tensors,
    method,
    operator,
    put_out,
    rounded_once,
    takes_tensors,
)
from .binary import add, atan2, div, mul, pow
from .complex import is_complex
from .fill import as_tensor
from .unary import abs, log, log1p
from .view import broadcast_tensors
from .where import where

__all__ = [
    "addcdiv",
    "addcmul",
    "bitwise_left_shift",
    "bitwise_right_shift",
    "copysign",
    "deg2rad",
    "float_power",
    "fmax",
    "fmin",
    "gcd",
    "heaviside",
    "hypot",
    "lcm",
    "ldexp",
    "logaddexp",
    "logaddexp2",
    "nextafter",
    "rad2deg",
    "signbit",
    "xlogy",
]


def finish(output: Any, out: Any) -> Any:
    """The result, or ``out`` with the result written to it."""
    return output if out is None else put_out(out, output)


def floating(x: Any) -> Any:
    """Integers and bools in the default floating dtype, other tensors and numbers as they are."""
    if isinstance(x, Tensor) and not (x.dtype.is_floating_point or x.dtype.is_complex):
        return x.to(_C.get_default_dtype())
    return x


def _same_dtype(input: Any, other: Any) -> tuple[Any, Any]:
    """Both tensors in their promoted dtype, broadcast. One without dimensions may be on the CPU
    beside one on a card, where it is moved."""
    for x in (input, other):
        if not isinstance(x, Tensor):
            raise TypeError(f"expected a Tensor, got {type(x).__name__}")
    dtype = add(input, other).dtype if not _both_bool(input, other) else _C.boolean
    pair = [as_tensor(x).to(dtype) for x in (input, other)]
    if input.device != other.device:
        pair = [beside(pair[0], pair[1]), beside(pair[1], pair[0])]
    return broadcast_tensors(*pair)


def beside(number: Any, tensor: Any) -> Any:
    """A CPU tensor without dimensions where the other one is; whatever else as it is."""
    is_number = isinstance(number, Tensor) and number.ndim == 0 and number.is_cpu
    return number.to(tensor.device) if is_number else number


def _both_bool(*values: Any) -> bool:
    return all(isinstance(x, Tensor) and x.dtype is _C.boolean for x in values)


def elementwise_numpy(function: Any, *tensors: Any) -> Any:
    """A function of NumPy's applied to the values, without gradient."""
    result = np.asarray(function(*(as_array(x) for x in tensors)))
    return from_values(result).to(tensors[0].device)


def from_values(array: np.ndarray) -> Any:
    """A tensor of an array of any strides; a 0-dimensional one stays so."""
    return _C.from_numpy(np.ascontiguousarray(array).reshape(np.shape(array)))


# --- fused ----------------------------------------------------------------------------------------


@method()
@factors_first("value")
@takes_tensors
@rounded_once
def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1, out: Any = None) -> Any:
    """``input + value * tensor1 * tensor2``.

    Shapes broadcast, dtypes are promoted. Raises RuntimeError for shapes that do not broadcast,
    TypeError for what is not a tensor.
    """
    product = mul(tensor1, tensor2)
    return finish(add(input, product if value == 1 else mul(product, value)), out)


@method()
@factors_first("value")
@takes_tensors
@rounded_once
def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1, out: Any = None) -> Any:
    """``input + value * tensor1 / tensor2``.

    Shapes broadcast, dtypes are promoted. Raises RuntimeError for two integer tensors and shapes
    that do not broadcast, TypeError for what is not a tensor.
    """
    if not any(x.dtype.is_floating_point or x.dtype.is_complex for x in (tensor1, tensor2)):
        raise RuntimeError(
            "addcdiv: Integer division with addcdiv is no longer supported, got "
            f"{tensor1.dtype} and {tensor2.dtype}"
        )
    quotient = div(tensor1, tensor2)
    return finish(add(input, quotient if value == 1 else mul(quotient, value)), out)


# --- angles and signs -----------------------------------------------------------------------------


@method()
@takes_tensors
def deg2rad(input: Any, *, out: Any = None) -> Any:
    """Degrees as radians; integers become the default dtype."""
    return finish(mul(floating(input), math.pi / 180), out)


@method()
@takes_tensors
def rad2deg(input: Any, *, out: Any = None) -> Any:
    """Radians as degrees; integers become the default dtype."""
    return finish(mul(floating(input), 180 / math.pi), out)


@method()
@takes_tensors
def signbit(input: Any, *, out: Any = None) -> Any:
    """Whether the sign bit is set, that of -0.0 and of NaN too; a bool tensor."""
    if not input.dtype.is_floating_point:
        return finish(_C.lt(input, 0), out)
    bits = {8: _C.int64, 4: _C.int32, 2: _C.int16}[input.dtype.itemsize]
    return finish(_C.lt(_C.reinterpret(_C.contiguous(input.detach()), bits), 0), out)


@method()
@takes_tensors
def copysign(input: Any, other: Any, *, out: Any = None) -> Any:
    """The magnitude of ``input`` with the sign of ``other``, -0.0 included."""
    magnitude = abs(floating(input))
    if isinstance(other, Tensor):
        magnitude, other = beside(magnitude, other), beside(other, magnitude)
        output = where(signbit(other), -magnitude, magnitude)
        output = output.to(add(floating(input), other).dtype)
        if needs_grad(other):
            result = output.detach()
            record(result, copysign_backward, (output, other))
            output = result
        return finish(output, out)
    return finish(-magnitude if math.copysign(1, other) < 0 else magnitude, out)


def copysign_backward(node: Any, grad: Any) -> tuple:
    return grad, grad * 0


@method()
@takes_tensors
def heaviside(input: Any, values: Any, *, out: Any = None) -> Any:
    """0 below zero, 1 above, ``values`` at zero. Both have one dtype, else RuntimeError."""
    if input.dtype is not values.dtype:
        raise RuntimeError(
            "heaviside is not yet implemented for tensors with different dtypes, got "
            f"{input.dtype} and {values.dtype}"
        )
    input, values = beside(input, values), beside(values, input)
    above = _C.to_dtype(_C.gt(input, 0), input.dtype)
    return finish(_C.where(_C.eq(input, 0), values, above), out)


# --- powers and logarithms ------------------------------------------------------------------------


@method()
def float_power(input: Any, exponent: Any, *, out: Any = None) -> Any:
    """``input ** exponent`` in float64, or complex128. One of them is a tensor, else TypeError."""
    given = (input, exponent)
    if not any(isinstance(x, Tensor) for x in given):
        raise TypeError(
            f"float_power: expected a Tensor, got {type(input).__name__} and "
            f"{type(exponent).__name__}"
        )
    dtype = _C.complex128 if any(map(is_complex, given)) else _C.float64
    base, power = (x.to(dtype) if isinstance(x, Tensor) else x for x in given)
    return finish(base**power, out)


@method()
@takes_tensors
def hypot(input: Any, other: Any, *, out: Any = None) -> Any:
    """``sqrt(input**2 + other**2)`` without overflow on the way."""
    input, other = _same_dtype(input, other)
    larger = _C.maximum(_C.abs(input), _C.abs(other))
    plain = _C.logical_or(_C.eq(larger, 0), _C.eq(larger, math.inf))
    scale = _C.where(plain, 1.0, larger).to(larger.dtype)
    x, y = _C.div(input, scale), _C.div(other, scale)
    output = _C.mul(_C.sqrt(_C.add(_C.mul(x, x), _C.mul(y, y))), scale)
    infinite = _C.logical_or(
        _C.eq(_C.abs(input), math.inf), _C.eq(_C.abs(other), math.inf)
    )  # even beside a NaN
    output = _C.where(infinite, math.inf, output).to(output.dtype)
    if needs_grad(input, other):
        record(output, hypot_backward, (input, other), (input, other, output))
    return finish(output, out)


def hypot_backward(node: Any, grad: Any) -> tuple:
    input, other, output = node.saved
    return grad * (input / output), grad * (other / output)


def _log_add(name: str, exp: str, log1p_of: Any) -> Any:
    @takes_tensors
    @rounded_once
    def function(input: Any, other: Any, *, out: Any = None) -> Any:
        power = getattr(_C, exp)
        input, other = _same_dtype(input, other)
        larger = _C.maximum(input, other)
        distance = _C.neg(_C.abs(_C.sub(input, other)))
        output = _C.add(larger, log1p_of(power(distance)))
        same = _C.logical_and(_C.eq(input, other), _C.eq(_C.abs(input), math.inf))
        output = _C.where(same, input, output)
        if needs_grad(input, other):
            record(output, backward, (input, other), (input, other))
        return finish(output, out)

    def backward(node: Any, grad: Any) -> tuple:
        input, other = node.saved
        return (
            grad / (getattr(other - input, exp)() + 1) if node.needs(0) else None,
            grad / (getattr(input - other, exp)() + 1) if node.needs(1) else None,
        )

    function.__name__ = function.__qualname__ = name
    backward.__name__ = f"{name}_backward"
    return method(name)(function)


logaddexp = _log_add("logaddexp", "exp", _C.log1p)
logaddexp.__doc__ = """``log(exp(input) + exp(other))`` without overflow on the way."""
logaddexp2 = _log_add("logaddexp2", "exp2", lambda x: _C.div(_C.log1p(x), math.log(2)))
logaddexp2.__doc__ = """``log2(2**input + 2**other)`` without overflow on the way."""


@method()
def xlogy(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input * log(other)``, and 0 where ``input`` is 0, whatever the logarithm.

    Shapes broadcast; integers become the default dtype; one of both may be a number. Raises
    RuntimeError for shapes that do not broadcast, TypeError for what is neither tensor nor number.
    """
    return finish(_times_log(input, other, log, _C.log, 0), out)


def _times_log(input: Any, other: Any, log_of: Any, raw: Any, shift: int) -> Any:
    input, other = _operands("xlogy", input, other)
    value = _C.mul(input, raw(other))
    output = _C.where(_C.logical_and(_C.eq(input, 0), _C.eq(other, other)), 0.0, value)
    if needs_grad(input, other):
        record(output, xlogy_backward, (input, other), (input, other, log_of, shift))
    return output


def xlogy_backward(node: Any, grad: Any) -> tuple:
    input, other, log_of, shift = node.saved
    grad_input = None
    if node.needs(0):
        outside = (input == 0) & (other <= -shift)
        grad_input = where(outside, 0.0, grad * log_of(other))
    return grad_input, grad * input / (other + shift) if node.needs(1) else None


def xlog1py(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input * log1p(other)``, and 0 where ``input`` is 0. Errors are those of :func:`xlogy`."""
    return finish(_times_log(input, other, log1p, _C.log1p, 1), out)


def _operands(op: str, input: Any, other: Any) -> tuple[Any, Any]:
    """Two floating tensors of one dtype; numbers take the dtype of the other operand."""
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        raise TypeError(f"{op}: expected a Tensor, got {type(input).__name__}")
    dtype = floating(add(input, other) if not _both_bool(input, other) else input).dtype
    made = [x if isinstance(x, Tensor) else as_tensor(x) for x in (input, other)]
    return tuple(x.to(dtype) for x in made)


@method()
@takes_tensors
def ldexp(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input * 2**other``, both tensors."""
    expect_tensors("ldexp", input, other)
    return finish(mul(input, pow(2.0, other)), out)


# --- larger and smaller ---------------------------------------------------------------------------


@method()
@takes_tensors
def fmax(input: Any, other: Any, *, out: Any = None) -> Any:
    """The larger of two tensors' elements; a number where the other is NaN."""
    chosen = _C.logical_or(_C.ge(input, other), _C.ne(other, other))
    return finish(where(chosen, input, other), out)


@method()
@takes_tensors
def fmin(input: Any, other: Any, *, out: Any = None) -> Any:
    """The smaller of two tensors' elements; a number where the other is NaN."""
    chosen = _C.logical_or(_C.le(input, other), _C.ne(other, other))
    return finish(where(chosen, input, other), out)


# --- digits ---------------------------------------------------------------------------------------


@method()
@takes_tensors
def nextafter(input: Any, other: Any, *, out: Any = None) -> Any:
    """The next representable number after ``input`` towards ``other``. Floating dtypes only, else
    NotImplementedError."""
    input, other = _same_dtype(input, other)
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f"nextafter is not implemented for {input.dtype}")
    if input.dtype is _C.bfloat16:
        output = _next_bfloat16(input, other)
    else:
        output = elementwise_numpy(np.nextafter, input, other)
    if needs_grad(input, other):
        record(output, nextafter_backward, (input, other))
    return finish(output, out)


def _next_bfloat16(input: Any, other: Any) -> Any:
    """NumPy has no such dtype: the bits are an integer that grows with the size of the number."""
    x, goal = input.detach(), other.detach()
    bits = x.contiguous().view(_C.int16).int() & 0xFFFF
    grows = (x < goal) == (x > 0)
    smallest = where(goal > 0, 1, 0x8001)
    moved = where(x == 0, smallest, where(grows, bits + 1, bits - 1)).to(_C.int16)
    found = where(x == goal, goal, moved.view(_C.bfloat16))
    return where(x.isnan() | goal.isnan(), math.nan, found)


nextafter_backward = copysign_backward


def _integers(op: str, function: Any, input: Any, other: Any, numbers: bool = False) -> Any:
    if numbers and (isinstance(input, Tensor) or isinstance(other, Tensor)):
        input, other = as_tensor(input), as_tensor(other)
    input, other = _same_dtype(input, other)
    if input.dtype.is_floating_point or input.dtype is _C.boolean:
        raise NotImplementedError(f"{op} is not implemented for {input.dtype}")
    with np.errstate(all="ignore"):
        return elementwise_numpy(function, input, other)


@method()
@takes_tensors
def gcd(input: Any, other: Any, *, out: Any = None) -> Any:
    """The greatest common divisor of integers, not negative. Others: NotImplementedError."""
    return finish(_integers("gcd", np.gcd, input, other), out)


@method()
@takes_tensors
def lcm(input: Any, other: Any, *, out: Any = None) -> Any:
    """The least common multiple of integers, not negative. Others: NotImplementedError."""
    return finish(_integers("lcm", np.lcm, input, other), out)


def _shift(function: Any) -> Any:
    def shift(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
        bits = 8 * values.dtype.itemsize
        outside = (counts < 0) | (counts >= bits)
        if function is np.right_shift:  # all bits become copies of the sign
            return function(values, np.where(outside, bits - 1, counts).astype(values.dtype))
        return np.where(outside, 0, function(values, np.where(outside, 0, counts))).astype(
            values.dtype
        )

    return shift


@method()
def bitwise_left_shift(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input << other`` for integers; shifts of all bits and negative ones give 0. Other dtypes
    raise NotImplementedError, what is neither tensor nor number TypeError."""
    return finish(_integers("lshift", _shift(np.left_shift), input, other, True), out)


@method()
def bitwise_right_shift(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input >> other`` for integers, filled up with the sign. Other dtypes raise
    NotImplementedError, what is neither tensor nor number TypeError."""
    return finish(_integers("rshift", _shift(np.right_shift), input, other, True), out)


def _attach() -> None:
    operator("__lshift__", bitwise_left_shift)
    operator("__rshift__", bitwise_right_shift)
    operator("__rlshift__", bitwise_left_shift, reflected=True)
    operator("__rrshift__", bitwise_right_shift, reflected=True)
    operator("__rdiv__", div, reflected=True)
    for op in (
        *(addcmul, addcdiv, deg2rad, rad2deg, copysign, heaviside, ldexp),
        *(atan2, float_power, hypot, xlogy, nextafter, gcd, lcm),
        *(bitwise_left_shift, bitwise_right_shift),
    ):
        composed_in_place(op)
    Tensor.true_divide_, Tensor.arctan2_ = Tensor.div_, Tensor.atan2_


_attach()
