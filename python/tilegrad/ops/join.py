"""Joining, splitting and repeating: cat, stack, split, chunk, unbind, repeat, flip, roll, meshgrid.

All follow the PyTorch functions of the same names. Joined tensors may have different dtypes, which
are promoted; splitting gives views. Errors: RuntimeError for sizes that do not match, IndexError
for a dimension out of range, ValueError for nothing to join.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _C
from ..autograd.graph import needs_grad, record
from ..tensor import Tensor
from ._register import method, put_out, takes_tensors
from .view import _dim, _named, _sizes, expand, flatten, narrow, reshape, unsqueeze

__all__ = [
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "block_diag",
    "cat",
    "chunk",
    "column_stack",
    "concat",
    "concatenate",
    "dstack",
    "flip",
    "hstack",
    "meshgrid",
    "repeat_interleave",
    "roll",
    "rot90",
    "split",
    "stack",
    "tensor_split",
    "tile",
    "unbind",
    "vstack",
]


def _tensor_sequence(op: str, tensors: Any) -> tuple:
    """The argument as a tuple; a single tensor is refused instead of being iterated over."""
    if not isinstance(tensors, (tuple, list)):
        raise TypeError(f"{op}: expected a tuple or list of Tensors, got {type(tensors).__name__}")
    return tuple(tensors)


def cat(tensors: Sequence[Any], dim: int = 0, *, out: Any = None, axis: Any = None) -> Any:
    """The tensors one after another along ``dim``; their other sizes are equal.

    The result has the promoted dtype. Raises ValueError for an empty list, TypeError for what is
    not a sequence of tensors, RuntimeError for sizes that differ elsewhere or 0-dimensional
    tensors, IndexError for a dimension out of range.
    """
    tensors = _tensor_sequence("cat", tensors)
    dim = dim if axis is None else axis
    output = _C.cat(tensors, dim)
    if needs_grad(*tensors):
        record(output, cat_backward, tensors, (dim, [t.shape for t in tensors]))
    return output if out is None else put_out(out, output, apart_from=tensors)


def cat_backward(node: Any, grad: Any) -> tuple:
    dim, shapes = node.saved
    grads, start = [], 0
    for i, shape in enumerate(shapes):
        if shape == (0,) and grad.ndim != 1:  # joined with anything, added nothing
            grads.append(grad.new_zeros(shape) if node.needs(i) else None)
            continue
        grads.append(narrow(grad, dim, start, shape[dim]) if node.needs(i) else None)
        start += shape[dim]
    return tuple(grads)


concat = concatenate = cat


def stack(tensors: Sequence[Any], dim: int = 0, *, out: Any = None, axis: Any = None) -> Any:
    """The tensors, all of one shape, along a new dimension at ``dim``.

    n tensors (A, B) give (n, A, B), of the promoted dtype. Raises RuntimeError for no tensors and
    for shapes that differ, TypeError for what is not a sequence of tensors, IndexError for a
    dimension out of range.
    """
    tensors = _tensor_sequence("stack", tensors)
    dim = dim if axis is None else axis
    output = _C.stack(tensors, dim)
    if needs_grad(*tensors):
        record(output, stack_backward, tensors, (dim,))
    return output if out is None else put_out(out, output)


def stack_backward(node: Any, grad: Any) -> tuple:
    return unbind(grad, *node.saved)


@takes_tensors
def atleast_1d(*tensors: Any) -> Any:
    """Each tensor with at least one dimension.

    One tensor or a sequence; dtypes are kept, views are returned. Raises TypeError for what is not
    a tensor.
    """
    return _each(tensors, lambda x: reshape(x, (1,)) if x.ndim == 0 else x)


@takes_tensors
def atleast_2d(*tensors: Any) -> Any:
    """Each tensor with at least two dimensions; a vector becomes a row. See :func:`atleast_1d`."""
    return _each(
        tensors,
        lambda x: reshape(x, (1, 1)) if x.ndim == 0 else unsqueeze(x, 0) if x.ndim == 1 else x,
    )


@takes_tensors
def atleast_3d(*tensors: Any) -> Any:
    """Each tensor with at least three dimensions; a vector becomes (1, n, 1), a matrix (m, n, 1).
    See :func:`atleast_1d`.
    """

    def convert(x: Any) -> Any:
        if x.ndim == 0:
            return reshape(x, (1, 1, 1))
        if x.ndim == 1:
            return unsqueeze(unsqueeze(x, 0), -1)
        return unsqueeze(x, -1) if x.ndim == 2 else x

    return _each(tensors, convert)


def _each(tensors: tuple, convert: Any) -> Any:
    if len(tensors) == 1 and isinstance(tensors[0], Tensor):
        return convert(tensors[0])
    if len(tensors) == 1:
        tensors = _tensor_sequence("atleast", tensors[0])
    return tuple(convert(x) for x in tensors)


@takes_tensors
def hstack(tensors: Sequence[Any], *, out: Any = None) -> Any:
    """Joins along the second dimension, vectors along the first. See :func:`cat` for errors."""
    tensors = atleast_1d(_listed("hstack", tensors))
    return cat(tensors, 0 if tensors[0].ndim == 1 else 1, out=out)


def vstack(tensors: Sequence[Any], *, out: Any = None) -> Any:
    """Joins along the first dimension; vectors count as rows. Errors as for :func:`hstack`."""
    return cat(atleast_2d(_listed("vstack", tensors)), 0, out=out)


@takes_tensors
def dstack(tensors: Sequence[Any], *, out: Any = None) -> Any:
    """Joins along the third dimension. Errors as for :func:`hstack`."""
    return cat(atleast_3d(_listed("dstack", tensors)), 2, out=out)


@takes_tensors
def column_stack(tensors: Sequence[Any], *, out: Any = None) -> Any:
    """Joins along the second dimension; vectors count as columns. Errors as for :func:`hstack`."""
    columns = [
        reshape(x, (x.numel(), 1)) if x.ndim <= 1 else x for x in _listed("column_stack", tensors)
    ]
    return cat(columns, 1, out=out)


def _listed(op: str, tensors: Sequence[Any]) -> tuple:
    tensors = _tensor_sequence(op, tensors)
    if not tensors:
        raise RuntimeError(f"{op} expects a non-empty TensorList")
    return tensors


# --- splitting ------------------------------------------------------------------------------------


@method()
@takes_tensors
def unbind(input: Any, dim: int = 0) -> tuple:
    """The slices along ``dim`` without that dimension, as views."""
    outputs = _C.unbind(input, dim)
    if outputs and needs_grad(input):
        record(outputs, unbind_backward, (input,), (dim, outputs[0].shape))
    return outputs


def unbind_backward(node: Any, *grads: Any) -> Any:
    dim, shape = node.saved
    return _joined(grads, [shape] * len(grads), dim, True)


def _joined(grads: tuple, shapes: Sequence[Any], dim: int, unbound: bool) -> Any:
    """All gradients in one, zeros for None: as a view where they lie side by side."""
    like = next(g for g in grads if g is not None)
    parts = [like.new_zeros(s) if g is None else g for g, s in zip(grads, shapes, strict=True)]
    whole = None if needs_grad(*parts) else _C.rejoin(parts, dim, unbound)
    return whole if whole is not None else (stack if unbound else cat)(parts, dim)


def _split(input: Any, lengths: Sequence[int], dim: int) -> tuple:
    outputs = _C.split(input, lengths, dim)
    if outputs and needs_grad(input):
        record(outputs, split_backward, (input,), (dim, [y.shape for y in outputs]))
    return outputs


def split_backward(node: Any, *grads: Any) -> Any:
    dim, shapes = node.saved
    return _joined(grads, shapes, dim, False)


@takes_tensors
def split(tensor: Any, split_size_or_sections: Any, dim: int = 0) -> tuple:
    """Views of a fixed length along ``dim`` (the last may be shorter), or of the lengths listed."""
    if tensor.ndim == 0:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    if not isinstance(split_size_or_sections, (int, np.integer)):
        return _split(tensor, [int(length) for length in split_size_or_sections], dim)
    step = int(split_size_or_sections)
    size = tensor.shape[_dim(dim, tensor.ndim, "split")]
    if step < 0:
        raise RuntimeError(f"split expects split_size be non-negative, but got split_size={step}")
    if step == 0 and size != 0:
        raise RuntimeError(
            "split: split_size can only be 0 if dimension size is 0, but got dimension size of "
            + str(size)
        )
    starts = range(0, size, step) if step else ()
    return _split(tensor, [min(step, size - start) for start in starts] or [0], dim)


@method("split")
def _split_method(self: Any, split_size: Any, dim: int = 0) -> tuple:
    """See :func:`tilegrad.split`."""
    return split(self, split_size, dim)


@method()
@takes_tensors
def chunk(input: Any, chunks: int, dim: int = 0) -> tuple:
    """At most ``chunks`` views of equal length along ``dim``; the last may be shorter."""
    if input.ndim == 0:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    size = input.shape[_dim(dim, input.ndim, "chunk")]
    if size == 0:
        return _split(input, [0] * chunks, dim)
    return split(input, -(-size // chunks), dim)


@method()
@takes_tensors
def tensor_split(input: Any, indices_or_sections: Any, dim: int = 0) -> tuple:
    """Views along ``dim``: a number of nearly equal ones, or cut at the positions listed."""
    if input.ndim == 0:
        raise RuntimeError(
            "tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims"
        )
    size = input.shape[_dim(dim, input.ndim, "tensor_split")]
    if isinstance(indices_or_sections, Tensor):
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        sections = indices_or_sections
        if sections <= 0 or sections > 2**31:
            raise RuntimeError(
                f"tensor_split: number of sections must be from 1 to 2**31, got {sections}"
            )
        longer = size % sections
        return _split(input, [size // sections + (i < longer) for i in range(sections)], dim)
    outputs, start = [], 0
    for stop in [*indices_or_sections, size]:
        key = [slice(None)] * _dim(dim, input.ndim, "tensor_split") + [slice(start, stop)]
        outputs.append(input[tuple(key)])
        start = stop
    return tuple(outputs)


# --- repeating ------------------------------------------------------------------------------------


@method("repeat")
def repeat(input: Any, *counts: Any, repeats: Any = None) -> Any:
    """Copies side by side, ``repeats[d]`` times along dimension d; new dimensions come first."""
    given = counts if repeats is None else _named("repeat", counts, repeats)
    sizes = [int(n) for n in _sizes(given)]
    if len(sizes) < input.ndim:
        raise RuntimeError(
            "repeat: Number of dimensions of repeat dims can not be smaller than number of "
            f"dimensions of tensor, got {sizes} for shape {list(input.shape)}"
        )
    if any(n < 0 for n in sizes):
        raise RuntimeError(f"repeat: Trying to create tensor with negative dimension, got {sizes}")
    shape = [1] * (len(sizes) - input.ndim) + list(input.shape)
    paired = [size for n in shape for size in (1, n)]
    wide = [size for n, m in zip(sizes, shape, strict=True) for size in (n, m)]
    total = [n * m for n, m in zip(sizes, shape, strict=True)]
    return reshape(expand(reshape(input, paired), wide).contiguous().clone(), total)


@takes_tensors
def tile(input: Any, dims: Sequence[int]) -> Any:
    """``input.repeat``, missing leading counts taken as 1. RuntimeError for a negative count."""
    counts = [1] * (input.ndim - len(dims)) + list(dims)
    return repeat(input, counts)


@method("tile")
def _tile_method(input: Any, *counts: Any, dims: Any = None) -> Any:
    """See :func:`tilegrad.tile`."""
    return tile(input, _sizes(counts if dims is None else _named("tile", counts, dims)))


@method()
@takes_tensors
def repeat_interleave(
    input: Any, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Any:
    """Each entry along ``dim`` repeated: ``repeats`` times, or ``repeats[i]`` times entry i.

    Without ``dim`` the input is flattened. With one argument: the positions 0, 1, ... so repeated.
    Raises RuntimeError for a tensor of ``repeats`` on another device or of another length.
    """
    if repeats is None:
        return _C.from_numpy(_repeated_positions(input, input.numel())).to(input.device)
    if dim is None:
        input, dim = flatten(input), 0
    size = input.shape[_dim(dim, input.ndim, "repeat_interleave")]
    if isinstance(repeats, int):
        repeats = _C.full((size,), repeats, _C.int64, _C.device("cpu"))
    elif repeats.device != input.device:
        raise RuntimeError(
            "repeat_interleave: repeats and input must be on the same device, but got repeats on "
            f"{repeats.device} and input on {input.device}"
        )
    positions = _C.from_numpy(_repeated_positions(repeats, size))
    if output_size is not None and output_size != positions.numel():
        raise RuntimeError(
            f"repeat_interleave: output_size {output_size} does not match the sum of repeats "
            f"{positions.numel()}"
        )
    return input.index_select(dim, positions.to(input.device))


def _repeated_positions(repeats: Any, size: int) -> np.ndarray:
    def refuse(rule: str, actual: Any) -> RuntimeError:
        return RuntimeError(f"repeat_interleave: {rule}, got {actual}")

    if repeats.dtype not in (_C.int64, _C.int32):
        raise refuse("repeats has to be Long or Int tensor", repeats.dtype)
    if repeats.ndim > 1:
        raise refuse("only accept 1D vector as repeat", list(repeats.shape))
    counts = _C.to_numpy(repeats.detach().cpu())
    if (counts < 0).any():
        raise refuse("repeats can not be negative", counts.min())
    if counts.size != size and counts.size != 1:
        raise refuse(f"repeats must have the same size as input along dim, {size}", counts.size)
    return np.repeat(np.arange(size, dtype=np.int64), counts)


# --- reordering -----------------------------------------------------------------------------------


def flip(input: Any, dims: Sequence[int]) -> Any:
    """A copy with the order along each of ``dims`` reversed; shape and dtype are kept.

    Raises IndexError for a dimension out of range, RuntimeError for one given twice.
    """
    output = _C.flip(input, dims)
    if needs_grad(input):
        record(output, flip_backward, (input,), (dims,))
    return output


def flip_backward(node: Any, grad: Any) -> Any:
    return flip(grad, *node.saved)


@method("flip")
def _flip_method(input: Any, *sizes: Any, dims: Any = None) -> Any:
    """See :func:`tilegrad.flip`."""
    return flip(input, _sizes(sizes) if dims is None else dims)


@method()
@takes_tensors
def roll(input: Any, shifts: Any, dims: Any = None) -> Any:
    """Shifts entries along ``dims``, those pushed out returning on the other side.

    Without ``dims`` the flattened input is rolled and gets its shape back.
    """
    shifts = [shifts] if isinstance(shifts, int) else list(shifts)
    if dims is None or (not isinstance(dims, int) and len(dims) == 0):
        if len(shifts) != 1:
            raise RuntimeError(f"roll: shifts and dimensions must align, got {len(shifts)} and 0")
        return reshape(roll(flatten(input), shifts, 0), input.shape)
    dims = [dims] if isinstance(dims, int) else list(dims)
    if len(shifts) != len(dims):
        raise RuntimeError(f"roll: shifts and dimensions must align, got {shifts} and {dims}")
    for shift, dim in zip(shifts, dims, strict=True):
        size = input.shape[_dim(dim, input.ndim, "roll")]
        cut = -shift % size if size else 0
        input = cat((narrow(input, dim, cut, size - cut), narrow(input, dim, 0, cut)), dim)
    return input


@method()
@takes_tensors
def rot90(input: Any, k: int = 1, dims: Sequence[int] = (0, 1)) -> Any:
    """Rotates the plane ``dims`` by ``k`` quarter turns, from the first to the second dimension."""
    if len(dims) != 2:
        raise RuntimeError(f"rot90: expected total rotation dims == 2, but got dims = {len(dims)}")
    if input.ndim < 2:
        raise RuntimeError(f"rot90: expected total dims >= 2, but got total dims = {input.ndim}")
    a, b = (_dim(d, input.ndim, "rot90") for d in dims)
    if a == b:
        raise RuntimeError(f"rot90: expected rotation dims to be different, but got {dims}")
    if k % 4 == 2:
        return flip(input, (a, b))
    if k % 4 == 0:
        return input.clone()
    turned = flip(input, (b,) if k % 4 == 1 else (a,))
    return turned.transpose(a, b)


# --- grids and blocks -----------------------------------------------------------------------------


@takes_tensors
def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple:
    """Coordinate grids of vectors: grid i varies with tensor i along dimension i ('ij'), or with
    the first two dimensions exchanged ('xy').

    Vectors of sizes n1, n2, ... give tensors (n1, n2, ...) of one dtype, as views. Raises
    RuntimeError for more than one dimension, different dtypes or devices, and another ``indexing``.
    """
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    if not tensors:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    if indexing is None:
        warnings.warn(
            "meshgrid: in an upcoming release, it will be required to pass the indexing argument.",
            stacklevel=2,
        )
        indexing = "ij"
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f"meshgrid: expected indexing 'xy' or 'ij', got {indexing!r}")
    for x in tensors:
        if x.ndim > 1:
            raise RuntimeError(f"meshgrid: expected 0D or 1D tensors, got shape {tuple(x.shape)}")
        if x.dtype != tensors[0].dtype:
            raise RuntimeError(
                f"meshgrid: expected one dtype, got {tensors[0].dtype} and {x.dtype}"
            )
        if x.device != tensors[0].device:
            raise RuntimeError(
                f"meshgrid: expected one device, got {tensors[0].device} and {x.device}"
            )
    shape = [x.numel() for x in tensors]
    grids = [
        expand(reshape(x, [-1 if d == i else 1 for d in range(len(shape))]), shape)
        for i, x in enumerate(tensors)
    ]
    if indexing == "xy" and len(tensors) >= 2:
        grids = [grid.transpose(0, 1) for grid in grids]
    return tuple(grids)


@takes_tensors
def block_diag(*tensors: Any) -> Any:
    """The matrices (vectors count as rows) along the diagonal of a matrix of zeros.

    (a, b), (c, d) -> (a + c, b + d), of the promoted dtype. Raises RuntimeError for more than two
    dimensions, TypeError for what is not a tensor.
    """
    if not tensors:
        return _C.full((1, 0), 0, _C.get_default_dtype(), _C.device("cpu"))
    for x in tensors:
        if not isinstance(x, Tensor):
            raise TypeError(f"block_diag: expected tensors, got {type(x).__name__}")
    blocks = [atleast_2d(x) for x in tensors]
    columns = sum(x.shape[1] for x in blocks)
    rows, left = [], 0
    for x in blocks:
        if x.ndim > 2:
            raise RuntimeError(f"block_diag: expected at most 2 dimensions, got {x.ndim}")
        right = columns - left - x.shape[1]
        rows.append(cat([x.new_zeros((x.shape[0], left)), x, x.new_zeros((x.shape[0], right))], 1))
        left += x.shape[1]
    return cat(rows, 0)
