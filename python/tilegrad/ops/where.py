"""Choices by a condition: where, masked_fill, clamp, lerp, nan_to_num, tril and triu."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import _C
from ..autograd.graph import needs_grad, record
from ..tensor import Tensor
from ._register import expect_tensors, in_place_method, method, put_out, takes_tensors
from .activation import _backward_op

__all__ = [
    "clamp",
    "clamp_max",
    "clamp_min",
    "clip",
    "lerp",
    "masked_fill",
    "nan_to_num",
    "tril",
    "triu",
    "where",
]


@takes_tensors
def where(condition: Any, input: Any = None, other: Any = None, *, out: Any = None) -> Any:
    """``input`` where the condition holds, ``other`` elsewhere; all three broadcast.

    ``condition`` is a bool tensor; ``input`` and ``other`` are tensors or numbers, whose promotion
    is the result's dtype. With the condition alone, the indices where it holds: a tuple with one
    int64 tensor per dimension. Raises RuntimeError for other conditions and shapes that do not
    broadcast.
    """
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    output = _C.where(condition, input, other)
    if type(input) is float and type(other) is float:  # no tensor has a say in the dtype
        output = _C.to_dtype(output, _C.get_default_dtype())
    if needs_grad(input, other):
        record(output, where_backward, (input, other), (condition,))
    return output if out is None else put_out(out, output)


def where_backward(node: Any, grad: Any) -> tuple:
    (condition,) = node.saved
    return (
        where(condition, grad, 0) if node.needs(0) else None,
        where(condition, 0, grad) if node.needs(1) else None,
    )


@method("where")
def _where_method(input: Any, condition: Any, other: Any) -> Any:
    """``input`` where the condition holds, ``other`` elsewhere; see :func:`tilegrad.where`."""
    return where(condition, input, other)


@method()
@takes_tensors
def masked_fill(input: Any, mask: Any, value: Any) -> Any:
    """``input`` with ``value`` where ``mask`` holds; both tensors broadcast, the dtype stays.

    ``value`` is a number or a 0-dimensional tensor. Raises RuntimeError for other values and for
    masks that are not bool.
    """
    if mask.dtype is not _C.boolean:
        raise RuntimeError(
            f"masked_fill only supports boolean masks, but got mask with dtype {mask.dtype}"
        )
    _check_fill_value("masked_fill", value)
    if isinstance(value, Tensor):
        if value.dtype.is_complex and not input.dtype.is_complex:
            raise RuntimeError(f"value cannot be converted to type {input.dtype} without overflow")
        if value.dtype is not input.dtype:
            value = value.to(input.dtype)
    else:
        value = _C.full((), value, input.dtype, input.device)
    return where(mask, value, input)


def _check_fill_value(op: str, value: Any) -> None:
    if isinstance(value, Tensor) and value.ndim > 0:
        raise RuntimeError(
            f"{op} only supports a 0-dimensional value tensor, but got tensor with "
            f"{value.ndim} dimension(s)."
        )


def _masked_fill_raw(tensor: Any, mask: Any, value: Any) -> None:
    _check_fill_value("masked_fill_", value)
    _C.masked_fill_(tensor, mask, value)


@method("clamp", "clip")
def clamp(input: Any, min: Any = None, max: Any = None, *, out: Any = None) -> Any:
    """``input`` limited from below by ``min`` and from above by ``max``, which wins if they cross.

    The bounds are numbers or tensors that broadcast with the input; either may be None. NaN stays,
    and a NaN bound gives NaN. The gradient passes where the input lies within the bounds, to a
    tensor bound where that bound took effect. Raises RuntimeError without any bound.
    """
    if min is None and max is None:
        raise RuntimeError("clamp: At least one of 'min' or 'max' must not be None")
    if min is not None and max is not None and isinstance(min, Tensor) != isinstance(max, Tensor):
        min, max = _number_beside("min", min, max), _number_beside("max", max, min)
    if isinstance(input, Tensor) and input.dtype.is_floating_point and _are_bounds(min, max):
        low, high = -math.inf if min is None else min, math.inf if max is None else max
        output = _C.clamp(input, low, high)
        if needs_grad(input):
            record(output, clamp_to_numbers_backward, (input,), (input, low, high))
        return output if out is None else put_out(out, output)
    output = input
    if min is not None:
        output = _C.maximum(output, min)
    if max is not None:
        output = _C.minimum(output, max)
    if needs_grad(input, min, max):
        record(output, clamp_backward, (input, min, max), (input, min, max))
    return output if out is None else put_out(out, output)


def _number_beside(name: str, bound: Any, other: Any) -> Any:
    """A bound as a number, as the other one is: PyTorch takes single elements for numbers."""
    if not isinstance(bound, Tensor):
        return bound
    if bound.ndim > 0 or bound.requires_grad:
        raise TypeError(
            "clamp: expected 'min' and 'max' to be both numbers or both tensors, got the number "
            f"{other!r} beside '{name}', a tensor of shape {tuple(bound.shape)}"
            f"{' that requires a gradient' if bound.requires_grad else ''}"
        )
    return bound.item()


def _are_bounds(*values: Any) -> bool:
    """Each is nothing, or a number that is not NaN."""
    return all(v is None or (isinstance(v, (int, float)) and v == v) for v in values)


_clamp_grad = _backward_op(_C.clamp_backward, None)


def clamp_to_numbers_backward(node: Any, grad: Any) -> Any:
    return _clamp_grad(grad, *node.saved)


def clamp_backward(node: Any, grad: Any) -> tuple:
    input, min, max = node.saved
    grad_input = grad_min = grad_max = None
    if node.needs(0):
        inside = input >= min if min is not None else input <= max
        if min is not None and max is not None:
            inside = inside & (input <= max)
        grad_input = where(inside, grad, 0)
    if node.needs(1):
        below = input < min if max is None else (input < min) & (min < max)
        grad_min = where(below, grad, 0)
    if node.needs(2):
        above = input > max if min is None else (input > max) | (max < min)
        grad_max = where(above, grad, 0)
    return grad_input, grad_min, grad_max


clip = clamp


@method()
def clamp_min(input: Any, min: Any, *, out: Any = None) -> Any:
    """``clamp(input, min=min)``."""
    expect_tensors("clamp_min", input)
    return clamp(input, min, out=out)


@method()
def clamp_max(input: Any, max: Any, *, out: Any = None) -> Any:
    """``clamp(input, max=max)``."""
    expect_tensors("clamp_max", input)
    return clamp(input, None, max, out=out)


def _clamp_raw(tensor: Any, min: Any = None, max: Any = None) -> None:
    if min is None and max is None:
        raise RuntimeError("clamp_: At least one of 'min' or 'max' must not be None")
    if min is not None:
        _C.maximum_(tensor, min)
    if max is not None:
        _C.minimum_(tensor, max)


@method()
@takes_tensors
def lerp(input: Any, end: Any, weight: Any, *, out: Any = None) -> Any:
    """``input + weight * (end - input)``, exact at both ends; all three broadcast.

    ``input``, ``end`` and a tensor ``weight`` have one floating dtype; RuntimeError otherwise.
    """
    if not (input.dtype.is_floating_point or input.dtype.is_complex):
        raise NotImplementedError(f"lerp: not implemented for dtype {input.dtype}")
    for name, tensor in (("end", end), ("weight", weight)):
        if isinstance(tensor, Tensor) and tensor.dtype is not input.dtype:
            raise RuntimeError(
                f"lerp: expected dtype {input.dtype} for `{name}` but got dtype {tensor.dtype}"
            )
    step = end - input
    if isinstance(weight, Tensor):
        if weight.ndim == 0:  # a number, wherever it is
            weight = weight.to(step.device)
        output = where(weight.abs() < 0.5, input + weight * step, end - step * (1 - weight))
    elif abs(weight) < 0.5:
        output = input.add(step, alpha=weight)  # rounded once where the processor can
    else:
        single = input.dtype is not _C.float64 and not isinstance(weight, complex)
        share = float(np.float32(weight) - 1) if single else weight - 1
        output = end.add(step, alpha=share)
    return output if out is None else put_out(out, output)


_LARGEST = {
    "float16": 65504.0,
    "bfloat16": 3.3895313892515355e38,
    "float32": 3.4028234663852886e38,
    "float64": 1.7976931348623157e308,
}


@method()
@takes_tensors
def nan_to_num(
    input: Any,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
    *,
    out: Any = None,
) -> Any:
    """NaN and infinities replaced: by 0, the dtype's largest and smallest number unless given."""
    if input.dtype.is_complex:
        from .complex import view_as_complex, view_as_real

        parts = nan_to_num(view_as_real(input), nan, posinf, neginf)
        return view_as_complex(parts) if out is None else put_out(out, view_as_complex(parts))
    output = input
    if input.dtype.is_floating_point:
        largest = _LARGEST[input.dtype.name]
        output = where(_C.ne(input, input), 0.0 if nan is None else nan, output)
        output = where(_C.eq(input, math.inf), largest if posinf is None else posinf, output)
        output = where(_C.eq(input, -math.inf), -largest if neginf is None else neginf, output)
    else:
        output = input.clone()
    return output if out is None else put_out(out, output)


def _below_diagonal(op: str, input: Any, diagonal: int) -> Any:
    """Of the last two dimensions: whether column - row <= diagonal."""
    if input.ndim < 2:
        raise RuntimeError(f"{op}: input tensor must have at least 2 dimensions, got {input.ndim}")
    rows, columns = input.shape[-2:]
    if rows == 0 or columns == 0:
        return _C.empty((rows, columns), _C.boolean, input.device, op)
    # Each row of the mask is a piece of one line and begins one place before the row above.
    line = _C.le(_C.arange(1 - rows, columns, 1, _C.int64, input.device), diagonal)
    return _C.flip(_C.as_strided(line, (rows, columns), (1, 1), 0), (0,))


@method()
@takes_tensors
def tril(input: Any, diagonal: int = 0, *, out: Any = None) -> Any:
    """The lower triangle of each matrix (..., n, m), up to ``diagonal``; zeros above.

    (..., m, n); shape and dtype are kept. Raises RuntimeError for fewer than two dimensions,
    TypeError for what is not a tensor.
    """
    output = where(_below_diagonal("tril", input, diagonal), input, False)
    return output if out is None else put_out(out, output)


@method()
@takes_tensors
def triu(input: Any, diagonal: int = 0, *, out: Any = None) -> Any:
    """The upper triangle of each matrix (..., n, m), from ``diagonal`` up; zeros below.

    (..., m, n); shape and dtype are kept. Raises RuntimeError for fewer than two dimensions,
    TypeError for what is not a tensor.
    """
    output = where(_below_diagonal("triu", input, diagonal - 1), False, input)
    return output if out is None else put_out(out, output)


def _copied(function: Any) -> Any:
    """Writes the function's result over its first argument."""

    def write(tensor: Any, *args: Any, **kwargs: Any) -> None:
        _C.copy_(tensor, function(tensor, *args, **kwargs))

    return write


in_place_method("masked_fill_", masked_fill, _masked_fill_raw)
in_place_method("clamp_", clamp, _clamp_raw)
in_place_method("clip_", clamp, _clamp_raw)
in_place_method("clamp_min_", clamp_min, lambda tensor, min: _C.maximum_(tensor, min))
in_place_method("clamp_max_", clamp_max, lambda tensor, max: _C.minimum_(tensor, max))
for _function in (lerp, nan_to_num, tril, triu):
    in_place_method(f"{_function.__name__}_", _function, _copied(_function))
