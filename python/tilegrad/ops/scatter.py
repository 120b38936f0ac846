"""Writing elements: ``x[key] = value``, index_put, index_add, index_copy, index_fill, scatter.

All follow PyTorch. Every index is checked before the first write. Where positions repeat, writes
happen in row-major order on one thread, so sums are the same in every run.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _C
from .._autocast import widest_on
from ..autograd.graph import needs_grad, record
from ..autograd.views import in_place
from ..tensor import Tensor
from ._register import composed_in_place, in_place_method, method, takes_tensors
from .index import _op_index, gather, getitem, index_select, split_key
from .view import _dim, broadcast_tensors

__all__ = [
    "bincount",
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "masked_scatter",
    "put",
    "scatter",
    "scatter_add",
]

_NUMBERS = (int, float, complex, np.number, np.bool_)


@method("__setitem__")
def setitem(input: Any, key: Any, value: Any) -> None:
    """``input[key] = value``: a number, or a tensor that broadcasts to ``input[key]``.

    Raises IndexError for the key as reading does, TypeError for other values, RuntimeError for
    shapes that do not broadcast.
    """
    if not isinstance(value, (Tensor, *_NUMBERS)):
        raise TypeError(f"can't assign a {type(value).__name__} to a {input.dtype} tensor")
    if not needs_grad(input, value):
        if not _C.basic_assign(input, key, value):
            _assign(input, key, value)
        return
    _assign(input, key, value)


def _assign(input: Any, key: Any, value: Any) -> None:
    if key is False:  # names nothing
        return
    basic, indices = split_key(input, key)
    view = getitem(input, basic)
    if not isinstance(value, Tensor):
        value = _C.full((), value, input.dtype, input.device)
    if indices:
        view.index_put_(indices, value)
        return
    while value.ndim > view.ndim and value.shape[0] == 1:
        value = value.squeeze(0)
    view.copy_(value)


@method()
@takes_tensors
@widest_on("cuda")
def index_put(input: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    """A copy of ``input`` with ``values`` at ``indices``, a tuple of index tensors, masks or None.

    ``values`` broadcast to ``input[indices]`` and have its dtype; a number, a tensor without
    dimensions, may be on another device. ``accumulate`` adds instead.
    """
    values = _where_written(input, values)
    output = _C.clone(input)
    _C.index_put_(output, indices, values, accumulate)
    if needs_grad(input, values):
        saved = (accumulate, values.shape, *indices)
        record(output, index_put_backward, (input, values), saved)
    return output


def _where_written(input: Any, values: Any) -> Any:
    """``values`` on the device of ``input``, if they are a number on another one."""
    if not isinstance(values, Tensor) or values.ndim > 0 or values.device == input.device:
        return values
    if values.is_cpu and not needs_grad(values):  # an argument of a kernel: nobody waits
        return _C.full((), values.item(), values.dtype, input.device)
    return values.to(input.device)


def index_put_backward(node: Any, grad: Any) -> tuple:
    accumulate, values_shape, *indices = node.saved
    grad_input = grad_values = None
    if node.needs(0):
        zero = grad.new_zeros(())
        grad_input = grad if accumulate else index_put(grad, tuple(indices), zero)
    if node.needs(1):
        grad_values = _op_index(grad, tuple(indices))
        while grad_values.ndim < len(values_shape):  # leading ones that the assignment dropped
            grad_values = grad_values.unsqueeze(0)
    return grad_input, grad_values


def _index_put_raw(tensor: Any, indices: Any, values: Any, accumulate: bool = False) -> None:
    _C.index_put_(tensor, indices, values, accumulate)


@method()
@takes_tensors
def index_put_(input: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    """In-place form of :func:`tilegrad.index_put`; returns ``self``."""
    values = _where_written(input, values)
    if needs_grad(input, values):
        return in_place("index_put_", index_put, input, indices, values, accumulate)
    _index_put_raw(input, indices, values, accumulate)
    return input


# --- along one dimension --------------------------------------------------------------------------


@method()
def index_add(input: Any, dim: int, index: Any, source: Any, *, alpha: Any = 1) -> Any:
    """A copy of ``input`` with slice i of ``alpha * source`` added at position ``index[i]``.

    Raises IndexError for positions outside and an index of another length than the source,
    RuntimeError for other shapes and dtypes that do not match.
    """
    output = _C.clone(input)
    _index_add_raw(output, dim, index, source, alpha=alpha)
    if needs_grad(input, source):
        record(output, index_add_backward, (input, source), (dim, index, alpha, source.shape))
    return output


def index_add_backward(node: Any, grad: Any) -> tuple:
    dim, index, alpha, shape = node.saved
    grad_source = None
    if node.needs(1):
        grad_source = index_select(grad, dim, index).reshape(shape)
        grad_source = grad_source if alpha == 1 else grad_source * alpha
    return grad, grad_source


def _index_add_raw(tensor: Any, dim: int, index: Any, source: Any, *, alpha: Any = 1) -> None:
    _C.index_add_(tensor, dim, index, source if alpha == 1 else _C.mul(source, alpha))


@method()
@widest_on("cpu")
def index_copy(input: Any, dim: int, index: Any, source: Any) -> Any:
    """A copy of ``input`` with slice i of ``source`` at position ``index[i]``."""
    output = _C.clone(input)
    _C.index_copy_(output, dim, index, source)
    if needs_grad(input, source):
        record(output, index_copy_backward, (input, source), (dim, index, source.shape))
    return output


def index_copy_backward(node: Any, grad: Any) -> tuple:
    dim, index, shape = node.saved
    return (
        index_fill(grad, dim, index, 0) if node.needs(0) else None,
        index_select(grad, dim, index).reshape(shape) if node.needs(1) else None,
    )


@method()
@takes_tensors
def index_fill(input: Any, dim: int, index: Any, value: Any) -> Any:
    """A copy of ``input`` with a number (or 0-dimensional tensor) at the positions ``index``."""
    output = _C.clone(input)
    _index_fill_raw(output, dim, index, value)
    if needs_grad(input, value):
        record(output, index_fill_backward, (input, value), (dim, index))
    return output


def index_fill_backward(node: Any, grad: Any) -> tuple:
    dim, index = node.saved
    return (
        index_fill(grad, dim, index, 0) if node.needs(0) else None,
        _filled_with(grad, dim, index).sum() if node.needs(1) else None,
    )


def _filled_with(grad: Any, dim: int, index: Any) -> Any:
    """What the gradient holds at the filled positions, each once."""
    if grad.ndim == 0:
        return grad
    named = _C.full((grad.shape[dim],), 0, _C.boolean, grad.device)
    named[index.reshape(-1)] = True
    return index_select(grad, dim, _C.nonzero(named).reshape(-1))


@takes_tensors
def _index_fill_raw(tensor: Any, dim: int, index: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        if value.ndim > 0:
            raise RuntimeError(
                "index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                f"{value.ndim} dimension(s)."
            )
        value = value.item()
    if index.ndim > 1:
        raise IndexError("Index has to be a vector/scalar")
    source = _C.full((), value, tensor.dtype, tensor.device)
    target = tensor if tensor.ndim else _C.view(tensor, (1,))
    _C.index_put_(target, _along(tensor, dim, index), source, False)


def _along(tensor: Any, dim: int, index: Any) -> tuple:
    """``index`` as the index of dimension ``dim`` alone."""
    return (None,) * _dim(dim, tensor.ndim, "index_fill") + (index,)


# --- element by element ---------------------------------------------------------------------------

_REDUCTIONS = ("add", "multiply")


@method()
def scatter(
    input: Any, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: Any = None
) -> Any:
    """A copy of ``input`` with ``output[index[i][j]][j] = src[i][j]`` for ``dim=0``, and so on.

    ``src`` (or ``value``) is a tensor of the input's dtype or a number; ``index`` is no larger than
    either. ``reduce``: 'add' or 'multiply', without gradient. RuntimeError for other shapes, dtypes
    and positions outside.
    """
    src = _source(src, value)
    output = _C.clone(input)
    _C.scatter_(output, dim, index, src, _mode(reduce))
    if needs_grad(input, src):
        if reduce is not None:
            raise RuntimeError("scatter: a reduction has no gradient; use scatter_reduce")
        record(output, scatter_backward, (input, src), (dim, index, _shape_of(src)))
    return output


def _source(src: Any, value: Any) -> Any:
    if (src is None) == (value is None):
        raise TypeError("scatter: expected either 'src' or 'value'")
    return value if src is None else src


def _mode(reduce: Any) -> str:
    if reduce is None:
        return "assign"
    if reduce not in _REDUCTIONS:
        raise RuntimeError("reduce argument must be either add or multiply.")
    return reduce


def _shape_of(src: Any) -> Any:
    return src.shape if isinstance(src, Tensor) else None


def scatter_backward(node: Any, grad: Any) -> tuple:
    dim, index, shape = node.saved
    return (
        scatter(grad, dim, index, 0) if node.needs(0) else None,
        _gather_padded(grad, dim, index, shape) if node.needs(1) else None,
    )


def _gather_padded(grad: Any, dim: int, index: Any, shape: Any) -> Any:
    """The gradient of a source of which only the corner that ``index`` covers was used."""
    taken = gather(grad, dim, index)
    if taken.shape == shape:
        return taken
    padded = grad.new_zeros(shape)
    padded[tuple(slice(0, size) for size in index.shape)] = taken
    return padded


def _scatter_raw(
    tensor: Any, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: Any = None
) -> None:
    _C.scatter_(tensor, dim, index, _source(src, value), _mode(reduce))


@method()
@widest_on("cuda")
def scatter_add(input: Any, dim: int, index: Any, src: Any) -> Any:
    """Like :func:`scatter`, but adds; positions may repeat."""
    output = _C.clone(input)
    _C.scatter_(output, dim, index, src, "add")
    if needs_grad(input, src):
        record(output, scatter_add_backward, (input, src), (dim, index, src.shape))
    return output


def scatter_add_backward(node: Any, grad: Any) -> tuple:
    dim, index, shape = node.saved
    return grad, _gather_padded(grad, dim, index, shape) if node.needs(1) else None


@method()
@takes_tensors
def bincount(input: Any, weights: Any = None, minlength: int = 0) -> Any:
    """How often each number from 0 to the largest occurs in a vector of integers.

    With ``weights`` (of the input's shape) the sums of the weights of equal numbers. The result has
    at least ``minlength`` elements: int64, with weights float32 if they are, else float64. Raises
    RuntimeError for other shapes, negative numbers and lengths, NotImplementedError for dtypes that
    are not integers.
    """
    if input.dtype.is_floating_point or input.dtype is _C.boolean:
        raise NotImplementedError(f"bincount: not implemented for dtype {input.dtype}")
    if minlength < 0:
        raise RuntimeError(f"bincount: minlength should be >= 0, got {minlength}")
    refusal = RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if input.ndim != 1:
        raise refusal
    if weights is not None and weights.shape != input.shape:
        raise RuntimeError("bincount: weights should be 1-d and have the same length as input")
    if input.device.type == "cpu" and not (weights is not None and weights.dtype.itemsize == 2):
        try:
            return _counted(input, weights, minlength)
        except ValueError:  # for negative numbers
            raise refusal from None
    if input.shape[0] and int(input.min()) < 0:
        raise refusal
    size = max(int(input.max()) + 1, minlength) if input.shape[0] else minlength
    if weights is None or input.shape[0] == 0:
        source = _C.full((1,), 1, _C.int64, input.device).expand(input.shape)
    else:
        source = weights.detach()
        if source.dtype is not _C.float32:
            source = source.to(_C.float64)
    output = _C.full((size,), 0, source.dtype, input.device)
    _C.scatter_(output, 0, input.detach().to(_C.int64), source, "add")
    return output


def _counted(input: Any, weights: Any, minlength: int) -> Any:
    heavy = weights is not None and input.shape[0] > 0
    of_each = weights.detach().numpy() if heavy else None
    counts = np.bincount(input.detach().numpy(), of_each, minlength)
    single = heavy and weights.dtype is _C.float32
    return _C.from_numpy(counts.astype(np.float32) if single else counts)


@method()
@takes_tensors
def put(input: Any, index: Any, source: Any, accumulate: bool = False) -> Any:
    """A copy of ``input`` with its flattened elements at ``index`` (int64) replaced by, or with
    ``accumulate`` increased by, those of ``source``. RuntimeError for other dtypes and sizes."""
    if index.dtype is not _C.int64:
        raise RuntimeError(f"put_(): Expected a long tensor for index, but got {index.dtype}")
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"put_(): self and source expected to have the same dtype, but got self.dtype = "
            f"{input.dtype} and source.dtype = {source.dtype}"
        )
    if index.numel() != source.numel():
        raise RuntimeError(
            "put_(): Expected source and index to have the same number of elements, but got "
            f"source.numel() = {source.numel()}, index.numel() = {index.numel()}"
        )
    if input.numel() == 0 and index.numel():
        raise IndexError("put_(): Tried to put elements into an empty tensor")
    flat, values = input.reshape(input.numel()), source.reshape(source.numel())
    return index_put(flat, (index.reshape(index.numel()),), values, accumulate).reshape(input.shape)


@method()
@takes_tensors
def masked_scatter(input: Any, mask: Any, source: Any) -> Any:
    """A copy of ``input`` with the elements where ``mask`` is true replaced, in order, by those of
    ``source``. RuntimeError if there are too few, or other dtypes."""
    if mask.dtype is not _C.boolean:
        raise RuntimeError(f"masked_scatter_ only supports boolean masks, but got {mask.dtype}")
    if source.dtype is not input.dtype:
        raise RuntimeError(
            "masked_scatter: expected self and source to have same dtypes but got "
            f"{input.dtype} and {source.dtype}"
        )
    input, mask = broadcast_tensors(input, mask)
    places = _C.nonzero(mask).shape[0]
    if places > source.numel():
        raise RuntimeError("Number of elements of source < number of ones in mask")
    flat = input.reshape(-1)
    values = source.reshape(-1)[:places]
    return index_put(flat, (mask.reshape(-1),), values).reshape(input.shape)


def _masked_scatter_raw(tensor: Any, mask: Any, source: Any) -> None:
    _C.copy_(tensor, masked_scatter(tensor, mask, source))


def _attach_in_place() -> None:
    in_place_method("index_add_", index_add, _index_add_raw)
    in_place_method("index_copy_", index_copy, _C.index_copy_)
    in_place_method("index_fill_", index_fill, _index_fill_raw)
    in_place_method("scatter_", scatter, _scatter_raw)
    in_place_method("scatter_add_", scatter_add, _scatter_add_raw)
    composed_in_place(put)
    in_place_method("masked_scatter_", masked_scatter, _masked_scatter_raw)


def _scatter_add_raw(tensor: Any, dim: int, index: Any, src: Any) -> None:
    _C.scatter_(tensor, dim, index, src, "add")


_attach_in_place()
