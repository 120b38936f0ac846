"""Functions of one tensor, element by element: neg, abs, exp, log, sqrt, sin, round, isnan, ...

Every function follows the function of the same name in PyTorch and keeps the shape. Floating-point
functions convert integers and bools to the default floating dtype; ``neg``, ``abs``, ``sign``,
``square`` and the roundings keep integers. Outside a function's domain the result is NaN. In-place
forms (``x.exp_()``) raise RuntimeError if the result's dtype does not fit the tensor's.
"""

from __future__ import annotations

import math
from typing import Any

from .. import _C
from ..autograd.graph import needs_grad, record
from ..tensor import Tensor
from ._register import in_place_method, method, put_out, takes_tensors
from .binary import zero_backward

__all__ = [
    "abs",
    "absolute",
    "acos",
    "acosh",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "bitwise_not",
    "ceil",
    "cos",
    "cosh",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "fix",
    "floor",
    "frac",
    "isfinite",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "log",
    "log1p",
    "log2",
    "log10",
    "logical_not",
    "neg",
    "negative",
    "positive",
    "reciprocal",
    "round",
    "rsqrt",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "tan",
    "trunc",
]


def _function(name: str, doc: str, backward: Any, saves: str = "input") -> Any:
    """One public function: its kernel is ``_C.<name>``; ``backward`` needs its input or output."""
    kernel = getattr(_C, name)
    saves_input = saves == "input"

    def function(input: Any, *, out: Any = None) -> Any:
        output = kernel(input)
        if needs_grad(input):
            record(output, backward, (input,), (input if saves_input else output,))
        return output if out is None else put_out(out, output)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    if backward is not zero_backward:
        backward.__name__ = f"{name}_backward"  # shown as grad_fn's name
    return method()(function)


def _slope(derivative: Any) -> Any:
    """The backward function of an op with this derivative, a function of what the op saved."""

    def backward(node: Any, grad: Any) -> Any:
        (value,) = node.saved
        return grad * derivative(value)

    return backward


def _quotient(divisor: Any) -> Any:
    """The same for a derivative that is one over ``divisor``."""

    def backward(node: Any, grad: Any) -> Any:
        (value,) = node.saved
        return grad / divisor(value)

    return backward


neg = _function("neg", "``-input``. Raises RuntimeError for bool.", _slope(lambda x: -1))
abs = _function("abs", "The absolute value; its gradient at 0 is 0.", _slope(lambda x: x.sgn()))
sign: Any = _function(
    "sign", "-1, 0 or 1 as the input is negative, zero or positive.", zero_backward
)
square = _function("square", "``input * input``.", _slope(lambda x: 2 * x))
exp = _function("exp", "e to the power of the input.", _slope(lambda y: y), "output")
exp2 = _function(
    "exp2", "2 to the power of the input.", _slope(lambda y: y * math.log(2)), "output"
)
expm1 = _function(
    "expm1", "``exp(input) - 1``, accurate near 0.", _slope(lambda y: y + 1), "output"
)
log = _function("log", "The natural logarithm.", _quotient(lambda x: x))
log2 = _function("log2", "The logarithm to base 2.", _quotient(lambda x: x * math.log(2)))
log10 = _function("log10", "The logarithm to base 10.", _quotient(lambda x: x * math.log(10)))
log1p = _function("log1p", "``log(1 + input)``, accurate near 0.", _quotient(lambda x: x + 1))
sqrt = _function("sqrt", "The square root.", _quotient(lambda y: 2 * y), "output")
rsqrt = _function("rsqrt", "``1 / sqrt(input)``.", _slope(lambda y: -0.5 * y * y * y), "output")
reciprocal = _function("reciprocal", "``1 / input``.", _slope(lambda y: -(y * y)), "output")
sin = _function("sin", "The sine, of radians.", _slope(lambda x: cos(x)))
cos: Any = _function("cos", "The cosine, of radians.", _slope(lambda x: -sin(x)))
tan = _function("tan", "The tangent, of radians.", _slope(lambda y: y * y + 1), "output")
asin = _function("asin", "The inverse sine, in radians.", _slope(lambda x: rsqrt(1 - x * x)))
acos = _function("acos", "The inverse cosine, in radians.", _slope(lambda x: -rsqrt(1 - x * x)))
atan = _function("atan", "The inverse tangent, in radians.", _quotient(lambda x: x * x + 1))
sinh = _function("sinh", "The hyperbolic sine.", _slope(lambda x: cosh(x)))
cosh: Any = _function("cosh", "The hyperbolic cosine.", _slope(lambda x: sinh(x)))
asinh = _function("asinh", "The inverse hyperbolic sine.", _slope(lambda x: rsqrt(x * x + 1)))
acosh = _function("acosh", "The inverse hyperbolic cosine.", _slope(lambda x: rsqrt(x * x - 1)))
atanh = _function("atanh", "The inverse hyperbolic tangent.", _quotient(lambda x: 1 - x * x))
erf = _function(
    "erf",
    "The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to the input.",
    _slope(lambda x: exp(-(x * x)) * (2 / math.sqrt(math.pi))),
)
erfc = _function(
    "erfc",
    "``1 - erf(input)``, accurate where it is small.",
    _slope(lambda x: exp(-(x * x)) * (-2 / math.sqrt(math.pi))),
)
floor = _function("floor", "The largest whole number not above the input.", zero_backward)
ceil = _function("ceil", "The smallest whole number not below the input.", zero_backward)
trunc = _function("trunc", "The input without its fractional part.", zero_backward)
frac = _function(
    "frac", "The fractional part, with the input's sign. Floating dtypes only.", _slope(lambda x: 1)
)


@method()
@takes_tensors
def round(input: Any, *, decimals: int = 0, out: Any = None) -> Any:
    """The nearest number with ``decimals`` decimals; halves go to the even neighbour.

    Raises NotImplementedError for nonzero ``decimals`` with integers.
    """
    if decimals == 0:
        output = _C.round(input)
    elif not input.dtype.is_floating_point:
        raise NotImplementedError(f"round: decimals are not implemented for dtype {input.dtype}")
    elif decimals > 0:
        output = _C.div(_C.round(_C.mul(input, 10.0**decimals)), 10.0**decimals)
    else:
        output = _C.mul(_C.round(_C.div(input, 10.0**-decimals)), 10.0**-decimals)
    if needs_grad(input):
        record(output, zero_backward, (input,))
    return output if out is None else put_out(out, output)


@method()
def bitwise_not(input: Any, *, out: Any = None) -> Any:
    """``~input``: the complement of bools or of integers' bits."""
    output = _C.bitwise_not(input)
    return output if out is None else put_out(out, output)


@method()
def logical_not(input: Any, *, out: Any = None) -> Any:
    """Whether the input is zero."""
    output = _C.eq(input, False)
    return output if out is None else put_out(out, output)


@method()
def isnan(input: Any) -> Any:
    """Whether the input is NaN."""
    return _C.ne(input, input)


@method()
@takes_tensors
def isinf(input: Any) -> Any:
    """Whether the input is inf or -inf; of complex numbers, whether a part is."""
    if input.dtype.is_complex:
        return _C.any(isinf(_C.view_as_real(input.detach())), [-1], False)
    if not input.dtype.is_floating_point:
        return _C.ne(input, input)
    return _C.eq(_C.abs(input), math.inf)


@method()
@takes_tensors
def isfinite(input: Any) -> Any:
    """Whether the input is neither infinite nor NaN; of complex numbers, whether both parts are."""
    if input.dtype.is_complex:
        return _C.all(isfinite(_C.view_as_real(input.detach())), [-1], False)
    if not input.dtype.is_floating_point:
        return _C.eq(input, input)
    return _C.lt(_C.abs(input), math.inf)


def _refuse_complex(op: str, input: Any) -> None:
    if input.dtype.is_complex:
        raise RuntimeError(f"{op} does not support complex inputs.")


@method()
@takes_tensors
def isposinf(input: Any, *, out: Any = None) -> Any:
    """Whether the input is inf. Raises RuntimeError for complex numbers."""
    _refuse_complex("isposinf", input)
    floating = input.dtype.is_floating_point
    output = _C.eq(input, math.inf) if floating else _C.ne(input, input)
    return output if out is None else put_out(out, output)


@method()
@takes_tensors
def isneginf(input: Any, *, out: Any = None) -> Any:
    """Whether the input is -inf. Raises RuntimeError for complex numbers."""
    _refuse_complex("isneginf", input)
    floating = input.dtype.is_floating_point
    output = _C.eq(input, -math.inf) if floating else _C.ne(input, input)
    return output if out is None else put_out(out, output)


@method()
@takes_tensors
def positive(input: Any) -> Any:
    """The input itself. Raises RuntimeError for bool."""
    if input.dtype is _C.boolean:
        raise RuntimeError("positive: The `+` operator, on a bool tensor is not supported.")
    return input


def _alias(name: str, function: Any) -> Any:
    return method(name)(function)


absolute = _alias("absolute", abs)
negative = _alias("negative", neg)
fix = _alias("fix", trunc)
arcsin, arccos, arctan = _alias("arcsin", asin), _alias("arccos", acos), _alias("arctan", atan)
arcsinh, arccosh = _alias("arcsinh", asinh), _alias("arccosh", acosh)
arctanh = _alias("arctanh", atanh)


def _round_raw(tensor: Any, *, decimals: int = 0) -> None:
    if decimals == 0:
        _C.round_(tensor)
    else:
        _C.copy_(tensor, round(tensor.detach(), decimals=decimals))


def _logical_not_raw(tensor: Any) -> None:
    _C.copy_(tensor, _C.eq(tensor, False))


def _invert(self: Any) -> Any:
    """``~self`` of bools or integers."""
    if self.dtype.is_floating_point or self.dtype.is_complex:
        raise TypeError(
            "~ (operator.invert) is only implemented on integer and Boolean-type tensors"
        )
    return bitwise_not(self)


def _attach() -> None:
    functions = [
        *(neg, abs, sign, square, exp, exp2, expm1, log, log2, log10, log1p, sqrt, rsqrt),
        *(reciprocal, sin, cos, tan, asin, acos, atan, sinh, cosh, asinh, acosh, atanh, erf, erfc),
        *(floor, ceil, trunc, frac, bitwise_not),
    ]
    for function in functions:
        in_place_method(f"{function.__name__}_", function, getattr(_C, f"{function.__name__}_"))
    in_place_method("round_", round, _round_raw)
    in_place_method("logical_not_", logical_not, _logical_not_raw)
    for alias, name in {
        "absolute_": "abs_",
        "negative_": "neg_",
        "fix_": "trunc_",
        "arcsin_": "asin_",
        "arccos_": "acos_",
        "arctan_": "atan_",
        "arcsinh_": "asinh_",
        "arccosh_": "acosh_",
        "arctanh_": "atanh_",
    }.items():
        setattr(Tensor, alias, getattr(Tensor, name))
    for symbol, function in {
        "__neg__": neg,
        "__abs__": abs,
        "__pos__": positive,
        "__invert__": _invert,
    }.items():
        setattr(Tensor, symbol, function)


_attach()
