"""Views: other sizes and strides over the same memory, never a copy (but ``reshape`` may copy).

All follow the PyTorch functions of the same names. Writing to a view in place writes to its base,
and gradients follow. Errors: IndexError for a dimension out of range, RuntimeError for sizes that
do not fit.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _C
from .._size import Size
from ..autograd.graph import needs_grad, record
from ..autograd.views import layout, same_memory_order
from ._register import method, takes_tensors
from ._reinterpret import view_dtype

__all__ = [
    "as_strided",
    "broadcast_shapes",
    "broadcast_tensors",
    "broadcast_to",
    "diagonal",
    "expand",
    "flatten",
    "moveaxis",
    "movedim",
    "narrow",
    "permute",
    "reshape",
    "select",
    "squeeze",
    "swapaxes",
    "swapdims",
    "t",
    "transpose",
    "unflatten",
    "unsqueeze",
]


def _sizes(sizes: tuple) -> Any:
    """Accepts both ``f(2, 3)`` and ``f((2, 3))``."""
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        return sizes[0]
    return sizes


def _named(op: str, sizes: tuple, named: Any) -> tuple:
    """The sizes of a call that gives them by name, and so not by position too."""
    if sizes:
        raise TypeError(f"{op}: got sizes both by position and by name")
    return (named,)


@method()
def view(input: Any, *shape: Any, size: Any = None, dtype: Any = None) -> Any:
    """The same elements in ``shape``, also given as ``size``; one size may be -1 (inferred).

    A dtype as the only argument reinterprets the bytes. Raises RuntimeError if the strides do not
    allow a view.
    """
    if size is not None or dtype is not None:
        shape = _named("view", shape, size if dtype is None else dtype)
    if len(shape) == 1 and isinstance(shape[0], _C.dtype):
        return view(input, input.shape) if shape[0] is input.dtype else view_dtype(input, shape[0])
    output = _C.view(input, _sizes(shape))
    if needs_grad(input):
        record(output, view_backward, (input,), (input.shape,))
    return output


def view_backward(node: Any, grad: Any) -> Any:
    (shape,) = node.saved
    return reshape(grad, shape)


@method()
@takes_tensors
def view_as(input: Any, other: Any) -> Any:
    """``input.view(other.shape)``."""
    return view(input, other.shape)


def reshape(input: Any, shape: Any) -> Any:
    """The same elements in ``shape``; a view where the strides allow it, else a copy.

    Any dtype; one -1 stands for what is left. Raises RuntimeError for another number of elements
    and for more than one -1.
    """
    output = _C.try_view(input, shape)
    if output is None:
        return view(input.contiguous(), shape)
    if needs_grad(input):
        record(output, view_backward, (input,), (input.shape,))
    return output


@method("reshape")
def _reshape_method(input: Any, *sizes: Any, shape: Any = None) -> Any:
    """See :func:`tilegrad.reshape`."""
    return reshape(input, _sizes(sizes if shape is None else _named("reshape", sizes, shape)))


@method()
@takes_tensors
def reshape_as(input: Any, other: Any) -> Any:
    """``input.reshape(other.shape)``."""
    return reshape(input, other.shape)


@method()
@takes_tensors
def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Joins the dimensions from ``start_dim`` to ``end_dim`` into one."""
    ndim = input.ndim
    if ndim == 0:
        return reshape(input, (1,))
    start, end = _dim(start_dim, ndim, "flatten"), _dim(end_dim, ndim, "flatten")
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    shape = input.shape
    joined = shape[start : end + 1].numel()
    return reshape(input, (*shape[:start], joined, *shape[end + 1 :]))


@method()
@takes_tensors
def unflatten(input: Any, dim: int, sizes: Sequence[int]) -> Any:
    """Splits dimension ``dim`` into ``sizes``, one of which may be -1."""
    at = _dim(dim, input.ndim, "unflatten")
    sizes = list(sizes)
    if sizes.count(-1) == 1:
        known = 1
        for size in sizes:
            known *= size if size != -1 else 1
        if known:
            sizes[sizes.index(-1)] = input.shape[at] // known
    product = 1
    for size in sizes:
        product *= size
    if product != input.shape[at]:
        raise RuntimeError(
            f"unflatten: Provided sizes {sizes} don't multiply up to the size of dim {dim} "
            f"({input.shape[at]}) in the input tensor"
        )
    return view(input, (*input.shape[:at], *sizes, *input.shape[at + 1 :]))


def _dim(dim: int, ndim: int, op: str) -> int:
    """The dimension counted from the front; IndexError outside."""
    reach = max(ndim, 1)
    if not -reach <= dim < reach:
        raise IndexError(
            f"{op}: Dimension out of range (expected to be in range of "
            f"[{-reach}, {reach - 1}], but got {dim})"
        )
    return dim % reach


@method()
def transpose(input: Any, dim0: int, dim1: int) -> Any:
    """Exchanges two dimensions."""
    output = _C.transpose(input, dim0, dim1)
    if needs_grad(input):
        record(output, transpose_backward, (input,), (dim0, dim1))
    return output


def transpose_backward(node: Any, grad: Any) -> Any:
    return transpose(grad, *node.saved)


swapaxes = swapdims = method("swapaxes", "swapdims")(transpose)


@method()
@takes_tensors
def t(input: Any) -> Any:
    """The transpose of a matrix; vectors and scalars are returned as they are."""
    if input.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D")
    return transpose(input, 0, 1) if input.ndim == 2 else view(input, input.shape)


def permute(input: Any, dims: Sequence[int]) -> Any:
    """Reorders the dimensions: dimension ``i`` of the result is ``dims[i]`` of the input.

    A view of any dtype. Raises RuntimeError for a wrong number of dimensions or one given twice,
    IndexError for one out of range.
    """
    output = _C.permute(input, dims)
    if needs_grad(input):
        record(output, permute_backward, (input,), (tuple(d % input.ndim for d in dims),))
    return output


@method("permute")
def _permute_method(input: Any, *order: Any, dims: Any = None) -> Any:
    """See :func:`tilegrad.permute`."""
    return permute(input, _sizes(order if dims is None else _named("permute", order, dims)))


def permute_backward(node: Any, grad: Any) -> Any:
    (dims,) = node.saved
    return permute(grad, sorted(range(len(dims)), key=dims.__getitem__))


@method("movedim", "moveaxis")
@takes_tensors
def movedim(input: Any, source: Any, destination: Any) -> Any:
    """Moves the dimensions ``source`` to ``destination``; the rest keep their order."""
    ndim = input.ndim
    sources = [source] if isinstance(source, int) else list(source)
    targets = [destination] if isinstance(destination, int) else list(destination)
    sources = [_dim(d, ndim, "movedim") for d in sources]
    targets = [_dim(d, ndim, "movedim") for d in targets]
    if (
        len(sources) != len(targets)
        or len({*sources}) < len(sources)
        or len({*targets}) < len(targets)
    ):
        raise RuntimeError(
            "movedim: expected 'source' and 'destination' to list equally many different "
            f"dimensions, got {source} and {destination}"
        )
    rest = iter([d for d in range(ndim) if d not in sources])
    moved = dict(zip(targets, sources, strict=True))
    return permute(input, [moved[d] if d in moved else next(rest) for d in range(ndim)])


moveaxis = movedim


def expand(input: Any, size: Any) -> Any:
    """Repeats size-1 dimensions up to ``size`` without copying; -1 keeps a size.

    (1, A) -> (B, A) or (C, B, A); any dtype. Raises RuntimeError for sizes to which the shape does
    not broadcast.
    """
    output = _C.expand(input, size)
    if needs_grad(input):
        record(output, expand_backward, (input,))
    return output


def expand_backward(node: Any, grad: Any) -> Any:
    return grad  # the engine sums it to the input's shape


@method("expand")
def _expand_method(input: Any, *sizes: Any, size: Any = None) -> Any:
    """See :func:`tilegrad.expand`."""
    return expand(input, _sizes(sizes if size is None else _named("expand", sizes, size)))


@method()
@takes_tensors
def expand_as(input: Any, other: Any) -> Any:
    """``input.expand(other.shape)``."""
    return expand(input, other.shape)


@method()
def unsqueeze(input: Any, dim: Any = None, *, axis: Any = None) -> Any:
    """Inserts a dimension of size 1 at position ``dim``."""
    output = _C.unsqueeze(input, dim if axis is None else axis)
    if needs_grad(input):
        record(output, view_backward, (input,), (input.shape,))
    return output


@method()
def squeeze(input: Any, dim: Any = None, *, axis: Any = None) -> Any:
    """Removes the dimensions of size 1: all, or those of ``dim`` (an int or a tuple)."""
    output = _C.squeeze(input, dim if axis is None else axis)
    if needs_grad(input):
        record(output, view_backward, (input,), (input.shape,))
    return output


@method()
@takes_tensors
def narrow(input: Any, dim: int, start: Any, length: int) -> Any:
    """The ``length`` entries from ``start`` along ``dim``.

    Raises IndexError for a start outside the dimension, RuntimeError for a length beyond its end,
    for a tensor without dimensions and for a start that is a tensor but no 0-dimensional integer.
    """
    if input.ndim == 0:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    if isinstance(start, _C.TensorBase) and (start.ndim or not _is_integer(start.dtype)):
        raise RuntimeError("start must be an 0-dim integral Tensor.")
    size = input.shape[_dim(dim, input.ndim, "narrow")]
    start = int(start)
    if not -size <= start <= size:
        raise IndexError(
            f"narrow: start out of range (expected to be in range of [{-size}, {size}], "
            f"but got {start})"
        )
    if start < 0:
        start += size
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if start + length > size:
        raise RuntimeError(
            f"narrow: start ({start}) + length ({length}) exceeds dimension size ({size})."
        )
    return slice_dim(input, dim, start, length, 1)


def _is_integer(dtype: Any) -> bool:
    return not dtype.is_floating_point and dtype is not _C.boolean


def slice_dim(input: Any, dim: int, start: int, length: int, step: int) -> Any:
    """``length`` entries along ``dim``: start, start + step, ... (all within the dimension)."""
    output = _C.slice(input, dim, start, length, step)
    if needs_grad(input):
        record(output, slice_backward, (input,), (input.shape, dim, start, length, step))
    return output


def slice_backward(node: Any, grad: Any) -> Any:
    shape, dim, start, length, step = node.saved
    output = grad.new_zeros(shape)
    _C.copy_(_C.slice(output, dim, start, length, step), grad)
    if needs_grad(grad):
        record(output, slice_backward_backward, (grad,), (dim, start, length, step))
    return output


def slice_backward_backward(node: Any, grad: Any) -> Any:
    return slice_dim(grad, *node.saved)


@method()
def select(input: Any, dim: int, index: int) -> Any:
    """The slice at ``index`` along ``dim``, without that dimension."""
    output = _C.select(input, dim, int(index))
    if needs_grad(input):
        record(output, select_backward, (input,), (input.shape, dim, int(index)))
    return output


def select_backward(node: Any, grad: Any) -> Any:
    shape, dim, index = node.saved
    output = grad.new_zeros(shape)
    _C.copy_(_C.select(output, dim, index), grad)
    if needs_grad(grad):
        record(output, select_backward_backward, (grad,), (dim, index))
    return output


def select_backward_backward(node: Any, grad: Any) -> Any:
    return select(grad, *node.saved)


@method()
def diagonal(input: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The diagonal of the planes (dim1, dim2), as the last dimension."""
    output = _C.diagonal(input, offset, dim1, dim2)
    if needs_grad(input):
        record(output, diagonal_backward, (input,), (input.shape, offset, dim1, dim2))
    return output


def diagonal_backward(node: Any, grad: Any) -> Any:
    shape, *place = node.saved
    output = grad.new_zeros(shape)
    _C.copy_(_C.diagonal(output, *place), grad)
    if needs_grad(grad):
        record(output, diagonal_backward_backward, (grad,), tuple(place))
    return output


def diagonal_backward_backward(node: Any, grad: Any) -> Any:
    return diagonal(grad, *node.saved)


@method()
def as_strided(input: Any, size: Any, stride: Any, storage_offset: int | None = None) -> Any:
    """Any window on the storage, in elements. Raises RuntimeError if it reaches outside."""
    output = _C.as_strided(input, size, stride, storage_offset)
    if needs_grad(input):
        record(output, as_strided_backward, (input,), (layout(input), layout(output)))
    return output


def as_strided_backward(node: Any, grad: Any) -> Any:
    input_layout, output_layout = node.saved
    output = _scatter_layout(grad, input_layout, output_layout)
    if needs_grad(grad):
        record(output, as_strided_backward_backward, (grad,), (input_layout, output_layout))
    return output


def as_strided_backward_backward(node: Any, grad: Any) -> Any:
    input_layout, (size, stride, offset) = node.saved
    buffer, origin = same_memory_order(grad, input_layout)
    return as_strided(buffer, size, stride, offset - origin)


def _scatter_layout(grad: Any, input_layout: tuple, output_layout: tuple) -> Any:
    """Adds ``grad`` into zeros at the places its elements had in the storage. Not recorded."""
    shape, strides, origin = input_layout
    _, output_strides, offset = output_layout
    if grad.numel() == 0:
        return grad.new_zeros(shape)
    start = builtins.min(origin, offset)  # the window may reach before and beyond the input
    parts = (origin, shape, strides), (offset, grad.shape, output_strides)
    ends = [at + 1 + sum((n - 1) * s for n, s in zip(*part, strict=True)) for at, *part in parts]
    extent, place = builtins.max(ends) - start, offset - start
    with _no_grad():
        repeated = [d for d, s in enumerate(output_strides) if s == 0 and grad.shape[d] != 1]
        if repeated:
            grad = grad.sum(repeated, keepdim=True)
        buffer = grad.new_zeros(builtins.max(extent, 0))
        window = _C.as_strided(buffer, grad.shape, output_strides, place)
        if _C.has_overlap(window):
            positions = _C.arange(0, extent, 1, _C.int64, grad.device)
            index = _C.as_strided(positions, grad.shape, output_strides, place)
            buffer.index_put_((index,), grad, accumulate=True)
        else:
            _C.copy_(window, grad)
        return _C.contiguous(_C.as_strided(buffer, shape, strides, origin - start))


def broadcast_to(input: Any, size: Any) -> Any:
    """``input.expand(size)``.

    Errors are those of :func:`expand`.
    """
    return expand(input, size)


@method("broadcast_to")
def _broadcast_to_method(input: Any, *size: Any) -> Any:
    """See :func:`tilegrad.broadcast_to`."""
    return expand(input, _sizes(size))


def broadcast_shapes(*shapes: Any) -> Any:
    """The shape to which all the shapes broadcast. RuntimeError if there is none."""
    try:
        return Size(
            np.broadcast_shapes(*(tuple(s) if not isinstance(s, int) else s for s in shapes))
        )
    except ValueError:
        raise RuntimeError(
            "broadcast_shapes: Shape mismatch: objects cannot be broadcast to a single shape: "
            + ", ".join(str(shape) for shape in shapes)
        ) from None


@takes_tensors
def broadcast_tensors(*tensors: Any) -> tuple:
    """The tensors expanded to one shape. RuntimeError if their sizes do not match."""
    shape = broadcast_shapes(*(x.shape for x in tensors))
    return tuple(x if x.shape == shape else expand(x, shape) for x in tensors)


def _no_grad() -> Any:
    from ..autograd.mode import no_grad

    return no_grad()


def _attach_properties() -> None:
    from ..tensor import Tensor

    def transposed(self: Any) -> Any:
        """The tensor with its dimensions reversed."""
        return permute(self, tuple(range(self.ndim - 1, -1, -1)))

    def matrices_transposed(self: Any) -> Any:
        """Each matrix transposed: the last two dimensions exchanged."""
        return transpose(self, -2, -1)

    Tensor.T = property(transposed)
    Tensor.mT = property(matrices_transposed)


_attach_properties()
