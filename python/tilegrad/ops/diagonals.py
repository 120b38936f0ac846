"""Diagonals, triangles and writing back into a part: diag, diag_embed, trace, select_scatter, ...

All follow the PyTorch functions of the same names. Errors: IndexError for a dimension out of range,
RuntimeError for sizes that do not fit, TypeError for what is not a tensor.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _C
from .._autocast import full_precision_on
from ..autograd.graph import needs_grad, record
from ._register import method, put_out, takes_tensors
from .fill import _device, _finish
from .view import _dim, as_strided, diagonal, reshape

__all__ = [
    "as_strided_scatter",
    "diag",
    "diag_embed",
    "diagflat",
    "diagonal_scatter",
    "select_scatter",
    "slice_scatter",
    "trace",
    "tril_indices",
    "triu_indices",
]


@method()
@takes_tensors
def diag(input: Any, diagonal: int = 0, *, out: Any = None) -> Any:
    """A vector as the diagonal of a square matrix, or the diagonal of a matrix as a vector.

    (n) -> (n + |diagonal|, n + |diagonal|), (n, m) -> (k). Raises RuntimeError for more dimensions.
    """
    if input.ndim not in (1, 2):
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D")
    vector = input.ndim == 1
    output = diag_embed(input, diagonal) if vector else _diagonal(input, diagonal).clone()
    return output if out is None else put_out(out, output)


_diagonal = diagonal  # the name is an argument above


@method()
@takes_tensors
def diag_embed(input: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """The last dimension as the diagonals of square matrices in ``dim1`` and ``dim2``.

    (..., n) -> (..., n + |offset|, n + |offset|). Raises IndexError for dimensions out of range,
    RuntimeError if they are the same.
    """
    ndim = input.ndim + 1
    first, second = _dim(dim1, ndim, "diag_embed"), _dim(dim2, ndim, "diag_embed")
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    if input.ndim == 0:
        raise RuntimeError("diag_embed: expected at least 1 dimension, got a 0-dimensional tensor")
    size = input.shape[-1] + abs(offset)
    shape = list(input.shape[:-1])
    for dim in sorted((first, second)):
        shape.insert(dim, size)
    return diagonal_scatter(input.new_zeros(shape), input, offset, first, second)


@method()
@takes_tensors
def diagflat(input: Any, offset: int = 0) -> Any:
    """The flattened input as the diagonal of a matrix."""
    return diag_embed(reshape(input, (-1,)), offset)


@method()
@takes_tensors
@full_precision_on("cpu")
def trace(input: Any) -> Any:
    """The sum of a matrix's diagonal. Raises RuntimeError unless there are two dimensions."""
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.ndim}")
    return diagonal(input).sum()


# --- a copy with one part replaced ----------------------------------------------------------------


def _scatter(op: str, input: Any, src: Any, part: Any) -> Any:
    """``input`` with ``part(input)`` replaced by ``src``, whose shape must be the part's."""
    expected = part(input.detach()).shape
    if src.shape != expected:
        raise RuntimeError(
            f"{op}: expected src to have a size equal to the slice of self. src size = "
            f"{list(src.shape)}, slice size = {list(expected)}"
        )
    output = _C.clone(_C.contiguous(input))
    _C.copy_(part(output), src)
    if needs_grad(input, src):
        record(output, part_scatter_backward, (input, src), (part,))
    return output


def part_scatter_backward(node: Any, grad: Any) -> tuple:
    (part,) = node.saved
    grad = grad.contiguous()
    zeros = grad.new_zeros(part(grad.detach()).shape)
    return (
        _scatter("scatter", grad, zeros, part) if node.needs(0) else None,
        part(grad) if node.needs(1) else None,
    )


@method()
@takes_tensors
def diagonal_scatter(input: Any, src: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """A copy of ``input`` with a diagonal replaced by ``src``, of that diagonal's shape."""
    return _scatter("diagonal_scatter", input, src, lambda x: _diagonal(x, offset, dim1, dim2))


@method()
@takes_tensors
def select_scatter(input: Any, src: Any, dim: int, index: int) -> Any:
    """A copy of ``input`` with ``input.select(dim, index)`` replaced by ``src``, of its shape."""
    return _scatter("select_scatter", input, src, lambda x: x.select(dim, index))


@method()
@takes_tensors
def slice_scatter(
    input: Any,
    src: Any,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Any:
    """A copy of ``input`` with ``start:end:step`` along ``dim`` replaced by ``src``."""
    key = (slice(None),) * _dim(dim, input.ndim, "slice_scatter") + (slice(start, end, step),)
    return _scatter("slice_scatter", input, src, lambda x: x[key])


@method()
@takes_tensors
def as_strided_scatter(
    input: Any, src: Any, size: Any, stride: Any, storage_offset: int | None = None
) -> Any:
    """A copy of ``input`` with the elements of a strided window replaced by ``src``.

    The window is one of a dense copy of the input. Raises RuntimeError where it reaches outside.
    """
    offset = storage_offset or 0
    return _scatter("as_strided_scatter", input, src, lambda x: as_strided(x, size, stride, offset))


# --- positions ------------------------------------------------------------------------------------


def _triangle(
    op: str, places: tuple[np.ndarray, ...], dtype: Any, device: Any, pin_memory: bool
) -> Any:
    dtype = _C.int64 if dtype is None else dtype
    if not isinstance(dtype, _C.dtype):
        raise TypeError(f"{op}(): argument 'dtype': expected a dtype, got {type(dtype).__name__}")
    made = _C.from_numpy(np.stack(places).astype(np.int64)).to(dtype)
    return _finish(made.to(_device(device)), False, None, pin_memory)


def _check_triangle(op: str, row: Any, col: Any, offset: Any, layout: Any) -> None:
    for name, value in (("row", row), ("col", col), ("offset", offset)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{op}(): argument '{name}' must be int, not {type(value).__name__}")
    if row < 0 or col < 0:
        raise RuntimeError(f"row and col must be non-negative, got {row} and {col}")
    if row * col > 2**28:
        raise RuntimeError(f"{op}: {row} x {col} are too many positions")


def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None,
    layout: Any = None, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """The positions on and below a diagonal of a matrix, (2, n) int64: rows, then columns.

    Raises RuntimeError for negative sizes, TypeError for what is not an integer.
    """
    _check_triangle("tril_indices", row, col, offset, layout)
    reach = max(-row, min(offset, col))
    return _triangle("tril_indices", np.tril_indices(row, reach, col), dtype, device, pin_memory)


def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None,
    layout: Any = None, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """The positions on and above a diagonal of a matrix, (2, n) int64: rows, then columns.

    Raises RuntimeError for negative sizes, TypeError for what is not an integer.
    """
    _check_triangle("triu_indices", row, col, offset, layout)
    reach = max(-row, min(offset, col))
    return _triangle("triu_indices", np.triu_indices(row, reach, col), dtype, device, pin_memory)
