"""Element by element: arithmetic, comparisons, roots, logarithms, rounding."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ..dtypes import cast, convert_to_tensor
from ..op import both, op, table, to_float

_FLOATING = {
    "arccos": tg.acos, "arccosh": tg.acosh, "arcsin": tg.asin, "arcsinh": tg.asinh,
    "arctan": tg.atan, "arctanh": tg.atanh, "cos": tg.cos, "cosh": tg.cosh, "sin": tg.sin,
    "sinh": tg.sinh, "tan": tg.tan, "tanh": tg.tanh, "exp": tg.exp, "exp2": tg.exp2,
    "expm1": tg.expm1, "log": tg.log, "log10": tg.log10, "log1p": tg.log1p, "log2": tg.log2,
    "sqrt": tg.sqrt, "rsqrt": tg.rsqrt, "erf": tg.erf, "erfinv": tg.erfinv, "sinc": tg.sinc,
    "deg2rad": tg.deg2rad, "reciprocal": tg.reciprocal, "ceil": tg.ceil, "floor": tg.floor,
    "i0": tg.i0, "lgamma": tg.lgamma, "digamma": tg.digamma,
}  # fmt: skip
_ANY = {
    "negative": tg.neg, "sign": tg.sign, "square": tg.square, "trunc": tg.trunc,
    "isfinite": tg.isfinite, "isinf": tg.isinf, "isnan": tg.isnan, "isneginf": tg.isneginf,
    "isposinf": tg.isposinf, "signbit": tg.signbit, "conjugate": tg.conj, "real": tg.real,
    "bitwise_not": tg.bitwise_not,
}  # fmt: skip
_COMPARISONS = {
    "equal": tg.eq, "not_equal": tg.ne, "less": tg.lt, "less_equal": tg.le, "greater": tg.gt,
    "greater_equal": tg.ge,
}  # fmt: skip
_BINARY = {
    "add": tg.add, "subtract": tg.sub, "multiply": tg.mul, "divide": tg.true_divide,
    "true_divide": tg.true_divide, "floor_divide": tg.floor_divide, "mod": tg.remainder,
    "gcd": tg.gcd, "lcm": tg.lcm,
}  # fmt: skip
_BITS = {
    "bitwise_and": tg.bitwise_and, "bitwise_or": tg.bitwise_or, "bitwise_xor": tg.bitwise_xor,
    "bitwise_left_shift": tg.bitwise_left_shift, "left_shift": tg.bitwise_left_shift,
    "bitwise_right_shift": tg.bitwise_right_shift, "right_shift": tg.bitwise_right_shift,
}  # fmt: skip
_TENSORS = {
    "maximum": tg.maximum, "minimum": tg.minimum, "arctan2": tg.atan2, "hypot": tg.hypot,
    "logaddexp": tg.logaddexp, "logaddexp2": tg.logaddexp2, "copysign": tg.copysign,
    "heaviside": tg.heaviside, "nextafter": tg.nextafter, "fmax": tg.fmax, "fmin": tg.fmin,
}  # fmt: skip

__all__ = [
    *_FLOATING, *_ANY, *_BITS, *_COMPARISONS, *_BINARY, *_TENSORS, "abs", "absolute", "angle",
    "cbrt", "clip", "divide_no_nan", "isclose", "ldexp", "logical_and", "logical_not", "logical_or",
    "logical_xor", "nan_to_num", "power", "round", "saturate_cast", "where",
]  # fmt: skip

table(_FLOATING, globals(), True, "NumPy's ``{}`` of each element; integers become floating.")
table(_ANY, globals(), False, "NumPy's ``{}`` of each element.")


def _two(names: dict[str, Any], scalars: bool) -> None:
    """Puts functions of two tensors into this module; Python numbers go on as they are if they may
    be ``scalars``."""
    for name, function in names.items():

        def made(x1: Any, x2: Any, _function: Any = function) -> Any:
            x1, x2 = both(x1, x2)
            if scalars:
                if not isinstance(x1, tg.Tensor):
                    x1 = tg.asarray(x1, dtype=_scalar_dtype(x1, x2))
                return _function(x1, x2)
            x1, x2 = _tensors(x1, x2)
            return _function(x1, x2)

        _place(name, made)


def _of_bits(names: dict[str, Any]) -> None:
    """The same for functions whose arguments are called x and y."""
    for name, function in names.items():

        def made(x: Any, y: Any, _function: Any = function) -> Any:
            x, y = both(x, y)
            if not isinstance(x, tg.Tensor):
                x = tg.asarray(x, dtype=_scalar_dtype(x, y))
            return _function(x, y)

        _place(name, made)


def _place(name: str, made: Any) -> None:
    made.__name__ = made.__qualname__ = name
    made.__module__ = __name__
    made.__doc__ = (
        f"NumPy's ``{name}`` of each pair of elements, broadcast. Raises RuntimeError for shapes "
        "that do not fit."
    )
    globals()[name] = op(made)


def _scalar_dtype(number: Any, tensor: Any) -> Any:
    """What a Python number becomes beside a tensor: it does not widen the tensor."""
    if isinstance(number, float) and not tensor.dtype.is_floating_point:
        return convert_to_tensor(number).dtype
    if isinstance(number, int) and tensor.dtype is tg.bool and not isinstance(number, bool):
        return tg.int32
    return tensor.dtype


def _tensors(x1: Any, x2: Any) -> tuple[Any, Any]:
    """Both as tensors of one dtype."""
    if not isinstance(x1, tg.Tensor):
        x1 = tg.asarray(x1, dtype=_scalar_dtype(x1, x2))
    if not isinstance(x2, tg.Tensor):
        x2 = tg.asarray(x2, dtype=_scalar_dtype(x2, x1))
    if x1.dtype is not x2.dtype:
        dtype = tg.promote_types(x1.dtype, x2.dtype)
        x1, x2 = x1.to(dtype), x2.to(dtype)
    return x1, x2


_two(_COMPARISONS, True)
_two(_BINARY, True)
_two(_TENSORS, False)
_of_bits(_BITS)


@op
def absolute(x: Any) -> Any:
    """The magnitude of each element."""
    return tg.abs(convert_to_tensor(x))


abs = absolute


@op
def angle(x: Any) -> Any:
    """0 for positive numbers, pi for negative ones."""
    return tg.angle(to_float(x))


@op
def cbrt(x: Any) -> Any:
    """The cube root of each element."""
    x = to_float(x)
    return tg.sign(x) * tg.abs(x) ** (1 / 3)


@op
def power(x1: Any, x2: Any) -> Any:
    """``x1`` to the power ``x2``. Raises RuntimeError for shapes that do not fit."""
    x1, x2 = both(x1, x2)
    return tg.pow(x1, x2)


@op
def clip(x: Any, x_min: Any = None, x_max: Any = None) -> Any:
    """Each element moved into the interval; None is no bound."""
    x = convert_to_tensor(x)
    if isinstance(x_min, (tg.Tensor, float, int)) or isinstance(x_max, (tg.Tensor, float, int)):
        return tg.clamp(x, x_min, x_max)
    return tg.clamp(
        x,
        None if x_min is None else convert_to_tensor(x_min),
        None if x_max is None else convert_to_tensor(x_max),
    )


@op
def divide_no_nan(x1: Any, x2: Any) -> Any:
    """The quotient, zero where the divisor is zero."""
    x1, x2 = _tensors(*both(x1, x2))
    x1, x2 = to_float(x1), to_float(x2)
    zero = x2 == 0
    return tg.where(zero, tg.zeros_like(x2), x1 / tg.where(zero, tg.ones_like(x2), x2))


@op
def isclose(
    x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """Where two tensors are equal within tolerances."""
    x1, x2 = _tensors(convert_to_tensor(x1), convert_to_tensor(x2))
    return tg.isclose(x1, x2, rtol, atol, equal_nan)


@op
def ldexp(x1: Any, x2: Any) -> Any:
    """``x1 * 2**x2``."""
    return tg.ldexp(convert_to_tensor(x1), convert_to_tensor(x2))


def _logical(name: str, function: Any) -> Any:
    def made(x1: Any, x2: Any) -> Any:
        return function(cast(x1, "bool"), cast(x2, "bool"))

    made.__name__ = made.__qualname__ = name
    made.__doc__ = f"NumPy's ``{name}`` of each pair of elements, zero being False."
    return op(made)


logical_and = _logical("logical_and", tg.logical_and)
logical_or = _logical("logical_or", tg.logical_or)
logical_xor = _logical("logical_xor", tg.logical_xor)


@op
def logical_not(x: Any) -> Any:
    """True for zeros."""
    return tg.logical_not(convert_to_tensor(x))


@op
def nan_to_num(x: Any, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """Numbers in place of NaN and infinities."""
    return tg.nan_to_num(convert_to_tensor(x), nan, posinf, neginf)


@op
def round(x: Any, decimals: int = 0) -> Any:
    """The nearest integer, or multiple of ``10**-decimals``; halves go to the even one."""
    x = convert_to_tensor(x)
    return tg.round(x, decimals=decimals) if x.dtype.is_floating_point else x


@op
def where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """``x1`` where the condition holds, ``x2`` elsewhere; alone, the indices where it holds."""
    condition = cast(convert_to_tensor(condition), "bool")
    if x1 is None or x2 is None:
        return tg.where(condition)
    return tg.where(condition, *_tensors(*both(x1, x2)))


@op
def saturate_cast(x: Any, dtype: Any) -> Any:
    """``x`` in another dtype, out-of-range values moved to its bounds."""
    from ..dtypes import dtype_of

    x, wanted = convert_to_tensor(x), dtype_of(dtype)
    limits = tg.finfo(wanted) if wanted.is_floating_point else tg.iinfo(wanted)
    return tg.clamp(x, limits.min, limits.max).to(wanted)
