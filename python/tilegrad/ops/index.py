"""Reading elements: ``x[key]``, gather, index_select, take, masked_select, nonzero.

A key of integers, slices, ``None`` and ``...`` gives a view, parsed by one native call. A key that
holds tensors, masks, lists or arrays is split into such a view and one index per dimension, and
copies. All follow PyTorch. Out-of-range indices raise IndexError (RuntimeError in ``gather``, as
in PyTorch) before any element is touched.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .. import _C
from ..autograd.graph import needs_grad, record
from ..tensor import Tensor
from ._register import method, put_out, takes_tensors
from .fill import as_tensor, tensor
from .view import _dim, broadcast_tensors, flatten, reshape, unsqueeze

__all__ = [
    "argwhere",
    "gather",
    "index_select",
    "masked_select",
    "nonzero",
    "take",
    "take_along_dim",
]


@method("__getitem__")
def getitem(input: Any, key: Any) -> Any:
    """``input[key]`` for integers, slices, None, ..., masks, index tensors, lists and arrays.

    Raises IndexError for indices out of range, too many indices and masks of another shape,
    ValueError for slice steps that are not positive, RuntimeError for index tensors on a device
    that is neither the CPU nor that of ``input``.
    """
    output = _C.basic_index(input, key)
    if output is None:
        return _advanced_getitem(input, key)
    if needs_grad(input):
        record(output, slice_backward, (input,), (input.shape, key))
    return output


def slice_backward(node: Any, grad: Any) -> Any:
    shape, key = node.saved
    output = grad.new_zeros(shape)
    _C.basic_assign(output, key, grad)
    if needs_grad(grad):
        record(output, slice_backward_backward, (grad,), (key,))
    return output


def slice_backward_backward(node: Any, grad: Any) -> Any:
    return getitem(grad, *node.saved)


def _advanced_getitem(input: Any, key: Any) -> Any:
    basic, indices = split_key(input, key)
    view = getitem(input, basic)
    return index(view, indices) if indices else view


def index(input: Any, indices: tuple) -> Any:
    """The elements that the indices name: one integer tensor, mask or None per dimension."""
    output = _C.index(input, indices)
    if needs_grad(input):
        record(output, index_backward, (input,), (input.shape, *indices))
    return output


def index_backward(node: Any, grad: Any) -> Any:
    shape, *indices = node.saved
    output = grad.new_zeros(shape)
    _C.index_put_(output, indices, grad, True)
    if needs_grad(grad):
        record(output, index_backward_backward, (grad,), tuple(indices))
    return output


def index_backward_backward(node: Any, grad: Any) -> Any:
    return index(grad, node.saved)


# --- keys -----------------------------------------------------------------------------------------


def split_key(input: Any, key: Any) -> tuple[tuple, tuple]:
    """A key as (basic key, indices): ``input[key]`` is ``input[basic]`` indexed by ``indices``.

    The indices are tensors or None, one per dimension of the view; empty if there are none.
    """
    items = [_plain_item(item) for item in (key if isinstance(key, tuple) else (key,))]
    consumed = sum(_consumed(item) for item in items)
    if consumed > input.ndim:
        raise IndexError(f"too many indices for tensor of dimension {input.ndim}")
    basic: list[Any] = []
    indices: list[Any] = []
    filled = False
    for item in items:
        if item is Ellipsis:
            open_dims = 0 if filled else input.ndim - consumed
            filled = True
            basic += [slice(None)] * open_dims
            indices += [None] * open_dims
        elif isinstance(item, bool):  # a new dimension of size 1, kept or dropped
            basic.append(None)
            indices.append(_C.from_numpy(np.zeros(int(item), np.int64)).to(input.device))
        elif isinstance(item, Tensor):
            ndim = _consumed(item)
            basic += [slice(None)] * ndim
            if item.device != input.device and not item.is_cpu:
                raise RuntimeError(
                    "indices should be either on cpu or on the same device as the indexed tensor "
                    f"({input.device}), got one on {item.device}"
                )
            indices.append(item.to(input.device))
        else:
            basic.append(item)
            if not isinstance(item, int):
                indices.append(None)
    if all(item is None for item in indices):
        indices = []
    return tuple(basic), tuple(indices)


def _plain_item(item: Any) -> Any:
    """One key item as an int, slice, None, Ellipsis, bool or index tensor."""
    if item is None or item is Ellipsis or isinstance(item, bool):
        return item
    if isinstance(item, slice):
        bounds = (item.start, item.stop, item.step)
        if not all(b is None or hasattr(b, "__index__") for b in bounds):
            raise TypeError("slice indices must be integers or None or have an __index__ method")
        return slice(*(None if b is None else b.__index__() for b in bounds))
    if isinstance(item, np.bool_):
        return bool(item)
    if isinstance(item, (int, np.integer)):
        return int(item)
    if isinstance(item, (list, tuple, range)):
        item = tensor(list(item), dtype=None if len(item) else _C.int64)
    elif isinstance(item, np.ndarray):
        item = as_tensor(item)
    if isinstance(item, str):
        raise TypeError(
            f"index: only integers, slices, None, ..., tensors and lists are valid, got {item!r}"
        )
    if not isinstance(item, Tensor):
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are "
            f"valid indices (got {type(item).__name__})"
        )
    return _scalar_or_index(item)


def _scalar_or_index(item: Tensor) -> Any:
    if item.dtype.is_floating_point:
        raise IndexError(
            f"tensors used as indices must be long, int, byte or bool tensors, got {item.dtype}"
        )
    if item.dtype is _C.uint8:
        warnings.warn(
            "indexing with dtype tilegrad.uint8 is now deprecated, "
            "please use a dtype tilegrad.bool instead.",
            stacklevel=4,
        )
    if item.ndim == 0:
        return bool(item.item()) if item.dtype in (_C.boolean, _C.uint8) else int(item.item())
    return item


def _consumed(item: Any) -> int:
    """How many dimensions of the input a key item stands for."""
    if item is None or item is Ellipsis or isinstance(item, bool):
        return 0
    if isinstance(item, Tensor) and item.dtype in (_C.boolean, _C.uint8):
        return item.ndim
    return 1


# --- along one dimension --------------------------------------------------------------------------


@method()
def index_select(input: Any, dim: int, index: Any, *, out: Any = None) -> Any:
    """The slices of ``input`` along ``dim`` at the positions ``index``, a vector of int32 or int64.

    Negative positions are out of range, as in PyTorch: IndexError.
    """
    output = _C.index_select(input, dim, index)
    if needs_grad(input):
        record(output, index_select_backward, (input,), (input.shape, dim, index))
    return output if out is None else put_out(out, output)


def index_select_backward(node: Any, grad: Any) -> Any:
    shape, dim, index = node.saved
    return grad.new_zeros(shape).index_add_(dim, index, grad)


@method()
def gather(input: Any, dim: int, index: Any, *, sparse_grad: bool = False, out: Any = None) -> Any:
    """``output[i][j] = input[index[i][j]][j]`` for ``dim=0``, and likewise for other dimensions.

    ``index`` (int32 or int64) has the input's number of dimensions, gives the result its shape, and
    is no larger than the input apart from ``dim``. RuntimeError otherwise.
    """
    try:
        output = _C.gather(input, dim, index)
    except RuntimeError:
        if not isinstance(index, Tensor) or index.numel():
            raise
        index = index.to(_C.int64)  # without indices any dtype will do
        output = _C.gather(input, dim, index)
    if needs_grad(input):
        record(output, gather_backward, (input,), (input.shape, dim, index))
    if out is None:
        return output
    return put_out(out, output, exact=True, apart_from=(input, index))


def gather_backward(node: Any, grad: Any) -> Any:
    shape, dim, index = node.saved
    return grad.new_zeros(shape).scatter_add(dim, index, grad)


@method()
@takes_tensors
def take(input: Any, index: Any, *, out: Any = None) -> Any:
    """The elements of the flattened input at ``index`` (int64); the result has its shape."""
    if index.dtype is not _C.int64:
        raise RuntimeError(f"take(): Expected a long tensor for index, but got {index.dtype}")
    flat = reshape(input, (-1,))
    if flat.shape[0] == 0 and index.numel() > 0:
        raise IndexError("take(): tried to take from an empty tensor")
    output = _op_index(flat, (index,))
    if out is None:
        return output
    return put_out(out, output, exact=True, apart_from=(input, index))


_op_index = index  # the name is an argument in the functions here


@method()
@takes_tensors
def take_along_dim(input: Any, indices: Any, dim: int | None = None, *, out: Any = None) -> Any:
    """Like :func:`gather`, but input and indices broadcast outside ``dim``, and negative indices
    count from the end. Without ``dim`` both are flattened."""
    if dim is None:
        return gather(flatten(input), 0, flatten(indices), out=out)
    if input.ndim != indices.ndim:
        raise RuntimeError(
            "take_along_dim: input and indices should have the same number of dimensions, "
            f"but got {input.ndim} dimensions for input, and {indices.ndim} dimensions for indices"
        )
    at = _dim(dim, input.ndim, "take_along_dim")
    shape = [_broadcast_size(a, b) for a, b in zip(input.shape, indices.shape, strict=True)]
    own, other = list(shape), list(shape)
    own[at], other[at] = input.shape[at], indices.shape[at]
    indices = indices.expand(other)
    if not indices.dtype.is_floating_point and input.shape[at]:
        indices = _C.where(_C.lt(indices, 0), _C.add(indices, input.shape[at]), indices)
    return gather(input.expand(own), at, indices, out=out)


def _broadcast_size(a: int, b: int) -> int:
    return b if a == 1 else a


# --- masks ----------------------------------------------------------------------------------------


@method()
@takes_tensors
def masked_select(input: Any, mask: Any, *, out: Any = None) -> Any:
    """The elements of ``input`` where ``mask`` (bool) is true, as a vector; both broadcast.

    A vector of the dtype of ``input``. Raises RuntimeError for a mask that is not bool or does not
    broadcast, TypeError for what is not a tensor.
    """
    if mask.dtype is not _C.boolean:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    input, mask = broadcast_tensors(input, mask)
    output = index(input, (mask,)) if mask.ndim else index(unsqueeze(input, 0), (mask[None],))
    return output if out is None else put_out(out, output, apart_from=(input, mask))


@method()
@takes_tensors
def nonzero(input: Any, *, as_tuple: bool = False, out: Any = None) -> Any:
    """The positions of the elements that are not zero, in row-major order: int64 (count, ndim).

    With ``as_tuple`` one vector per dimension instead (a scalar counts as a vector).

    int64. Raises TypeError for what is not a tensor.
    """
    if as_tuple:
        positions = _C.nonzero(input if input.ndim else unsqueeze(input.detach(), 0))
        return tuple(_C.unbind(positions, 1))
    output = _C.nonzero(input)
    return output if out is None else put_out(out, output)


@method()
def argwhere(input: Any) -> Any:
    """``nonzero(input)``.

    (n, ndim), int64. Raises TypeError for what is not a tensor.
    """
    return nonzero(input)
