"""Selection along a dimension without sorting it: topk, kthvalue, median.

All follow the PyTorch functions of the same names. NaN counts as larger than every number. Errors:
IndexError for a dimension out of range, RuntimeError for counts and positions that do not fit.
"""

from __future__ import annotations

from typing import Any

from .. import _C
from ._register import method, takes_tensors
from .sort import ValuesIndices, finish_selection, record_selection
from .view import _dim, reshape

__all__ = ["kthvalue", "median", "topk"]


@method()
@takes_tensors
def topk(
    input: Any,
    k: int,
    dim: int = -1,
    largest: bool = True,
    sorted: bool = True,
    *,
    out: Any = None,
) -> ValuesIndices:
    """The ``k`` largest (or smallest) elements along ``dim`` and their indices, best first.

    Of equal elements the first ones are taken.
    """
    at = _dim(dim, input.ndim, "topk")
    size = input.shape[at] if input.ndim else 1
    if not 0 <= k <= size:
        raise RuntimeError(f"selected index k out of range: got {k} for a dimension of size {size}")
    if input.ndim == 0 and k == 0:
        raise RuntimeError("topk: cannot take 0 elements of a 0-dimensional tensor")
    values, indices = _C.topk(input, k, at, largest)
    record_selection(input, values, indices, at)
    return finish_selection(values, indices, out)


@method()
@takes_tensors
def kthvalue(
    input: Any, k: int, dim: int = -1, keepdim: bool = False, *, out: Any = None
) -> ValuesIndices:
    """The ``k``-th smallest element along ``dim``, counted from 1, and its index."""
    at = _dim(dim, input.ndim, "kthvalue")
    size = input.shape[at] if input.ndim else 1
    if not 1 <= k <= size:
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {dim}")
    return _select_at(input, k - 1, at, False, keepdim, out)


def _select_at(
    input: Any, position: int, dim: int, nan_wins: bool, keepdim: bool, out: Any
) -> ValuesIndices:
    """The element at ``position`` of each sorted row; with ``nan_wins`` the first NaN instead."""
    values, indices = _C.select_at(input, position, dim, nan_wins)
    record_selection(input, values, indices, dim)
    if input.ndim and not keepdim:
        values, indices = values.squeeze(dim), indices.squeeze(dim)
    return finish_selection(values, indices, out, (input,))


@method()
@takes_tensors
def median(input: Any, dim: int | None = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """The median; of an even number of elements the lower middle one. NaN if there is a NaN.

    Without ``dim`` of all elements, a scalar; with it (values, indices) along the dimension.
    """
    if dim is None:
        flat = reshape(input, (-1,))
        if flat.shape[0] == 0:
            if not input.dtype.is_floating_point:
                raise RuntimeError("median() operation does not have an identity.")
            return input.new_full((), float("nan"))
        return median(flat, 0).values
    at = _dim(dim, input.ndim, "median")
    size = input.shape[at] if input.ndim else 1
    if size == 0:
        raise IndexError(f"median(): Expected reduction dim {dim} to have non-zero size.")
    return _select_at(input, (size - 1) // 2, at, True, keepdim, out)
