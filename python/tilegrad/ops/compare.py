"""Comparisons and logical operations: bool results, no gradient.

Every function follows the function of the same name in PyTorch. Shapes broadcast; operands of
different dtypes are compared in their promoted dtype. NaN is equal to nothing, itself included. All
raise RuntimeError for shapes that do not broadcast and tensors on different devices, TypeError for
operands of other types.
"""

from __future__ import annotations

from typing import Any

from .. import _C
from ..tensor import Tensor
from ._register import in_place_method, method, operator, put_out, takes_tensors

__all__ = [
    "allclose",
    "eq",
    "equal",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "isclose",
    "le",
    "less",
    "less_equal",
    "logical_and",
    "logical_or",
    "logical_xor",
    "lt",
    "ne",
    "not_equal",
]


@method()
def eq(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input == other``, element by element."""
    output = _C.eq(input, other)
    return output if out is None else put_out(out, output)


@method("ne", "not_equal")
def ne(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input != other``, element by element."""
    output = _C.ne(input, other)
    return output if out is None else put_out(out, output)


@method("lt", "less")
def lt(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input < other``, element by element."""
    output = _C.lt(input, other)
    return output if out is None else put_out(out, output)


@method("le", "less_equal")
def le(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input <= other``, element by element."""
    output = _C.le(input, other)
    return output if out is None else put_out(out, output)


@method("gt", "greater")
def gt(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input > other``, element by element."""
    output = _C.gt(input, other)
    return output if out is None else put_out(out, output)


@method("ge", "greater_equal")
def ge(input: Any, other: Any, *, out: Any = None) -> Any:
    """``input >= other``, element by element."""
    output = _C.ge(input, other)
    return output if out is None else put_out(out, output)


not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge


@method()
def logical_and(input: Any, other: Any, *, out: Any = None) -> Any:
    """Whether both tensors are nonzero."""
    output = _C.logical_and(input, other)
    return output if out is None else put_out(out, output)


@method()
def logical_or(input: Any, other: Any, *, out: Any = None) -> Any:
    """Whether at least one of the tensors is nonzero."""
    output = _C.logical_or(input, other)
    return output if out is None else put_out(out, output)


@method()
def logical_xor(input: Any, other: Any, *, out: Any = None) -> Any:
    """Whether exactly one of the tensors is nonzero."""
    output = _C.logical_xor(input, other)
    return output if out is None else put_out(out, output)


@method()
def equal(input: Any, other: Any) -> bool:
    """True if both tensors have one shape and equal elements. A Python bool.

    Any shapes; dtypes are promoted. Raises TypeError for what is not a tensor, RuntimeError for
    different devices.
    """
    return _C.equal(input, other)


@method()
@takes_tensors
def isclose(
    input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Any:
    """``|input - other| <= atol + rtol * |other|``, element by element.

    Infinities are close only to themselves; NaN to nothing, or with ``equal_nan`` to NaN. Both
    tensors have one dtype. Raises RuntimeError for other dtypes and negative tolerances.
    """
    if input.dtype is not other.dtype:
        raise RuntimeError(
            f"isclose: expected both tensors to have one dtype: {input.dtype} did not match "
            f"{other.dtype}"
        )
    for name, tolerance in (("rtol", rtol), ("atol", atol)):
        if tolerance < 0:
            raise RuntimeError(
                f"isclose: {name} must be greater than or equal to zero, but got {tolerance}"
            )
    input, other = input.detach(), other.detach()
    close = _C.eq(input, other)
    floating = input.dtype.is_floating_point or input.dtype.is_complex
    if equal_nan and floating:
        close = _C.logical_or(close, _C.logical_and(_C.ne(input, input), _C.ne(other, other)))
    if rtol == 0 and atol == 0:
        return close
    if not floating:  # the tolerance is a fraction
        input, other = (_C.to_dtype(x, _C.get_default_dtype()) for x in (input, other))
    distance = (input - other).abs()
    near = _C.logical_and(_C.lt(distance, float("inf")), distance <= atol + (rtol * other).abs())
    return _C.logical_or(close, near)


@method()
@takes_tensors
def allclose(
    input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    """True if :func:`isclose` holds for all elements. A Python bool."""
    close = isclose(input, other, rtol, atol, equal_nan)
    return _C.equal(close, _C.full(close.shape, True, _C.boolean, close.device))


def _attach() -> None:
    for function in (eq, ne, lt, le, gt, ge):
        operator(f"__{function.__name__}__", function)
    for names, function in {
        ("eq_",): eq,
        ("ne_", "not_equal_"): ne,
        ("lt_", "less_"): lt,
        ("le_", "less_equal_"): le,
        ("gt_", "greater_"): gt,
        ("ge_", "greater_equal_"): ge,
        ("logical_and_",): logical_and,
        ("logical_or_",): logical_or,
        ("logical_xor_",): logical_xor,
    }.items():
        for name in names:
            in_place_method(name, function, _writer(function))


def _writer(function: Any) -> Any:
    """The form that writes 0 and 1 into the first operand, whatever its dtype."""

    def write(tensor: Any, other: Any) -> None:
        output = function(tensor, other)
        if output.shape != tensor.shape:
            raise RuntimeError(
                f"{function.__name__}_: output with shape {list(tensor.shape)} doesn't match "
                f"the broadcast shape {list(output.shape)}"
            )
        _C.copy_(tensor, output)

    return write


_attach()
# By identity, although == compares elements.
Tensor.__hash__ = object.__hash__  # type: ignore[assignment, method-assign]
