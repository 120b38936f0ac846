"""Sorting and what follows from it: sort, argsort, unique, searchsorted.

All follow the PyTorch functions of the same names. Sorting is always stable; NaN counts as larger
than every number. Errors: IndexError for a dimension out of range, RuntimeError for counts and
positions that do not fit.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import _C
from ..autograd.graph import needs_grad, record
from ..tensor import Tensor, as_array
from ._register import method, put_out, takes_tensors
from .fill import as_tensor
from .scatter import scatter
from .view import _dim

__all__ = [
    "argsort",
    "bucketize",
    "msort",
    "searchsorted",
    "sort",
    "unique",
]


class ValuesIndices(NamedTuple):
    """What selections along a dimension return."""

    values: Any
    indices: Any


def finish_selection(values: Any, indices: Any, out: Any, apart_from: Any = ()) -> ValuesIndices:
    if out is None:
        return ValuesIndices(values, indices)
    pairs = zip(out, (values, indices), strict=True)
    return ValuesIndices(*(put_out(to, x, apart_from=apart_from) for to, x in pairs))


def record_selection(input: Any, values: Any, indices: Any, dim: int) -> None:
    """``values`` are the elements of ``input`` at ``indices`` along ``dim``."""
    if needs_grad(input):
        record(values, sort_backward, (input,), (input.shape, dim, indices))


def sort_backward(node: Any, grad: Any) -> Any:
    shape, dim, indices = node.saved
    return scatter(grad.new_zeros(shape), dim, indices, grad)


@method()
@takes_tensors
def sort(
    input: Any, dim: int = -1, descending: bool = False, stable: bool = False, *, out: Any = None
) -> ValuesIndices:
    """(values, indices) of the input sorted along ``dim``, ascending unless ``descending``."""
    values, indices = _C.sort(input, dim, descending)
    record_selection(input, values, indices, dim)
    return finish_selection(values, indices, out)


@method()
@takes_tensors
def argsort(input: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """The indices that sort the input along ``dim``."""
    return _C.sort(input, dim, descending)[1]


@method()
def msort(input: Any) -> Any:
    """The input sorted along its first dimension."""
    return sort(input, 0).values


@method()
@takes_tensors
def unique(
    input: Any,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The distinct elements in ascending order, a vector; every NaN counts as distinct.

    With ``return_inverse`` also the position there of each input element (the input's shape), with
    ``return_counts`` also how often each occurs. With ``dim`` the distinct slices along it, in
    lexicographic order. Raises IndexError for a dimension out of range.
    """
    if dim is not None:
        return _unique_slices(input, _dim(dim, input.ndim, "unique"), return_inverse, return_counts)
    flat = _C.contiguous(input.detach()).view(-1)
    values, inverse, counts = _C.unique(*_C.sort(flat, 0, False))
    results = [values]
    if return_inverse:
        results.append(inverse.view(input.shape))
    if return_counts:
        results.append(counts)
    return results[0] if len(results) == 1 else tuple(results)


def _unique_slices(input: Any, dim: int, return_inverse: bool, return_counts: bool) -> Any:
    if (
        input.shape[dim] == 0
        and input.numel() == 0
        and 0 in (*input.shape[:dim], *input.shape[dim + 1 :])
    ):
        raise RuntimeError(
            "There are 0 sized dimensions, and they aren't selected, so unique cannot be applied"
        )
    values = np.moveaxis(as_array(input), dim, 0)
    rows = values.reshape(values.shape[0], math.prod(values.shape[1:]))
    _, first, inverse, counts = np.unique(
        rows, return_index=True, return_inverse=True, return_counts=True, axis=0, equal_nan=False
    )
    results = [input.detach().index_select(dim, _C.from_numpy(first).to(input.device))]
    if return_inverse:
        results.append(_C.from_numpy(inverse.reshape(-1)).to(input.device))
    if return_counts:
        results.append(_C.from_numpy(counts).to(input.device))
    return results[0] if len(results) == 1 else tuple(results)


@takes_tensors
def searchsorted(
    sorted_sequence: Any,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    out: Any = None,
    sorter: Any = None,
) -> Any:
    """Where each element of ``input`` would be inserted into the sorted last dimension.

    ``sorted_sequence`` is a vector, or has the leading sizes of ``input``. Of equal elements the
    place before the first, or with ``right`` (``side='right'``) after the last. int64, or int32.

    The result has the shape of ``input``. Raises RuntimeError for leading sizes that differ,
    another ``side`` or one that contradicts ``right``, and a ``sorter`` of another shape.
    """
    if side not in (None, "left", "right"):
        raise RuntimeError(f"searchsorted(): side can only be 'left' or 'right' but got {side}")
    if side == "left" and right:
        raise RuntimeError(
            "searchsorted(): side and right can't be set to opposites, got side of left while "
            "right was True"
        )
    if sorter is not None:
        if sorter.shape != sorted_sequence.shape:
            raise RuntimeError(
                "searchsorted(): boundary and sorter must have the same size, but got boundary "
                f"tensor {list(sorted_sequence.shape)} and got sorter tensor {list(sorter.shape)}"
            )
        sorted_sequence = _C.gather(sorted_sequence, -1, sorter)
    if not isinstance(input, Tensor):
        if sorted_sequence.ndim != 1:
            raise RuntimeError(
                "searchsorted(): input value can be a scalar only when boundaries tensor dimension "
                "is 1"
            )
        input = as_tensor(input)
    output = _C.search_sorted(sorted_sequence, input, right or side == "right")
    output = _C.to_dtype(output, _C.int32) if out_int32 else output
    return output if out is None else put_out(out, output)


@takes_tensors
def bucketize(
    input: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False, out: Any = None
) -> Any:
    """The number of the bucket of each element between the sorted vector ``boundaries``.

    Any shape, which is kept; int64, or int32 with ``out_int32``. Raises RuntimeError if
    ``boundaries`` is not a vector.
    """
    if boundaries.ndim != 1:
        raise RuntimeError(
            f"bucketize(): boundaries tensor must be 1 dimension, but got dim({boundaries.ndim})"
        )
    return searchsorted(boundaries, input, out_int32=out_int32, right=right, out=out)
