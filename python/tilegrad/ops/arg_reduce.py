"""max and min, with the positions of the extremes; argmax and argmin.

NaN counts as the largest (for minima: the smallest) number; of equal elements the first is taken.
All raise IndexError for a dimension out of range or one of size 0.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from .. import _C
from ..autograd.graph import needs_grad, record
from ..tensor import Tensor
from ._dims import numpy_names, with_kept_dims
from ._register import method, put_out
from .binary import maximum, minimum
from .reduce import sum

__all__ = ["argmax", "argmin", "max", "min"]

MaxResult: Any = namedtuple("max", ["values", "indices"])  # type: ignore[name-match]
MinResult: Any = namedtuple("min", ["values", "indices"])  # type: ignore[name-match]


@method()
def max(
    input: Any, dim: Any = None, keepdim: bool = False, *, out: Any = None, **names: Any
) -> Any:
    """The maximum, in three forms.

    ``max(input)`` is the largest element; equal ones share the gradient evenly. ``max(input, dim)``
    is the named tuple ``(values, indices)`` along ``dim``; the gradient goes to the index.
    ``max(input, other)`` is :func:`maximum`. Raises RuntimeError for an empty input without
    ``dim``.
    """
    other = names.pop("other", dim)
    if isinstance(other, Tensor):
        return maximum(input, other, out=out)
    if names:
        dim, keepdim = numpy_names("max", dim, keepdim, names)
    if dim is None:
        output = _full(input, _C.max, max_backward)
        return output if out is None else put_out(out, output)
    return _along(_C.max_dim(input, dim, keepdim), input, dim, keepdim, MaxResult, out)


@method()
def min(
    input: Any, dim: Any = None, keepdim: bool = False, *, out: Any = None, **names: Any
) -> Any:
    """The minimum, in the three forms of :func:`max`."""
    other = names.pop("other", dim)
    if isinstance(other, Tensor):
        return minimum(input, other, out=out)
    if names:
        dim, keepdim = numpy_names("min", dim, keepdim, names)
    if dim is None:
        output = _full(input, _C.min, min_backward)
        return output if out is None else put_out(out, output)
    return _along(_C.min_dim(input, dim, keepdim), input, dim, keepdim, MinResult, out)


def _full(input: Any, kernel: Any, backward: Any) -> Any:
    output = kernel(input, None, False)
    if needs_grad(input):
        record(output, backward, (input,), (input, output))
    return output


def max_backward(node: Any, grad: Any) -> Any:
    input, output = node.saved
    chosen = input == output
    if output.isnan().item():
        chosen = input.isnan()
    return grad / sum(chosen) * chosen


min_backward = max_backward


def _along(result: tuple, input: Any, dim: int, keepdim: bool, kind: Any, out: Any) -> Any:
    values, indices = result
    if needs_grad(input):
        record(values, select_extreme_backward, (input,), (input.shape, indices, dim, keepdim))
    if out is not None:
        values, indices = put_out(out[0], values), put_out(out[1], indices)
    return kind(values, indices)


def select_extreme_backward(node: Any, grad: Any) -> Any:
    """The gradient at the index of each extreme, zero elsewhere."""
    shape, indices, dim, keepdim = node.saved
    if not shape:
        return grad
    indices = with_kept_dims(indices, shape, dim, keepdim)
    places = [1] * len(shape)
    places[dim] = shape[dim]
    position = _C.arange(0, shape[dim], 1, _C.int64, grad.device).reshape(places)
    return with_kept_dims(grad, shape, dim, keepdim) * (position == indices)


@method()
def argmax(
    input: Any, dim: int | None = None, keepdim: bool = False, *, out: Any = None, **names: Any
) -> Any:
    """The index of the maximum along ``dim``, or in the flattened input; int64.

    Raises RuntimeError for bool, IndexError for no elements.
    """
    if names:
        dim, keepdim = numpy_names("argmax", dim, keepdim, names)
    output = _C.argmax(input, dim, keepdim)
    return output if out is None else put_out(out, output)


@method()
def argmin(
    input: Any, dim: int | None = None, keepdim: bool = False, *, out: Any = None, **names: Any
) -> Any:
    """The index of the minimum along ``dim``, or in the flattened input; int64.

    Raises RuntimeError for bool, IndexError for no elements.
    """
    if names:
        dim, keepdim = numpy_names("argmin", dim, keepdim, names)
    output = _C.argmin(input, dim, keepdim)
    return output if out is None else put_out(out, output)
