"""Other ways to cut and count: hsplit, unravel_index, combinations, cartesian_prod, resize_, ...

All follow the PyTorch functions of the same names. Errors: IndexError for a dimension out of range,
RuntimeError for sizes that do not fit, TypeError for what is not a tensor.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _C
from ..autograd.views import check_writable
from ..tensor import Tensor, as_array
from ._register import method, takes_tensors
from .fill import _device, _finish, empty
from .join import chunk, flip, meshgrid, split, stack, tensor_split, vstack
from .view import _dim, as_strided, reshape

__all__ = [
    "adjoint",
    "cartesian_prod",
    "combinations",
    "detach",
    "dsplit",
    "empty_permuted",
    "empty_strided",
    "fill",
    "fliplr",
    "flipud",
    "hsplit",
    "isin",
    "logspace",
    "narrow_copy",
    "ravel",
    "resize_as_",
    "row_stack",
    "scalar_tensor",
    "split_with_sizes",
    "unravel_index",
    "unsafe_chunk",
    "unsafe_split",
    "vsplit",
    "zero_",
]


@method()
@takes_tensors
def split_with_sizes(input: Any, split_sizes: Sequence[int], dim: int = 0) -> tuple:
    """Parts of the given sizes along ``dim``. Raises RuntimeError if they do not add up."""
    if isinstance(split_sizes, int):
        raise TypeError(f"split_with_sizes: expected a list of sizes, got {split_sizes}")
    return split(input, list(split_sizes), dim)


@method()
@takes_tensors
def unsafe_split(tensor: Any, split_size: Any, dim: int = 0) -> tuple:
    """:func:`split`: here every split is safe to write to."""
    return split(tensor, split_size, dim)


@method()
@takes_tensors
def unsafe_chunk(input: Any, chunks: int, dim: int = 0) -> tuple:
    """:func:`chunk`: here every chunk is safe to write to."""
    return chunk(input, chunks, dim)


def _along(op: str, input: Any, indices: Any, dim: int, least: int) -> tuple:
    if input.ndim < least:
        raise RuntimeError(
            f"torch.{op} requires a tensor with at least {least} dimension"
            f"{'s' if least > 1 else ''}, but got a tensor with {input.ndim} dimensions!"
        )
    if isinstance(indices, int):
        size = input.shape[dim]
        if indices <= 0 or size % indices != 0:
            raise RuntimeError(
                f"torch.{op} attempted to split along dimension {dim}, but the size of the "
                f"dimension {size} is not divisible by the split_size {indices}!"
            )
    return tensor_split(input, indices, dim)


@method()
@takes_tensors
def hsplit(input: Any, indices_or_sections: Any) -> tuple:
    """Splits the columns (of a vector: the elements) into equal sections or at positions."""
    return _along("hsplit", input, indices_or_sections, 0 if input.ndim == 1 else 1, 1)


@method()
@takes_tensors
def vsplit(input: Any, indices_or_sections: Any) -> tuple:
    """Splits the rows into equal sections or at positions."""
    return _along("vsplit", input, indices_or_sections, 0, 2)


@method()
@takes_tensors
def dsplit(input: Any, indices_or_sections: Any) -> tuple:
    """Splits the third dimension into equal sections or at positions."""
    return _along("dsplit", input, indices_or_sections, 2, 3)


@method()
@takes_tensors
def ravel(input: Any) -> Any:
    """The input as a vector, a view if its elements lie in order."""
    return reshape(input, (-1,)) if input.numel() else reshape(input, (0,))


@method()
@takes_tensors
def narrow_copy(input: Any, dim: int, start: int, length: int) -> Any:
    """A copy of :func:`narrow`, with its errors, but RuntimeError for a dimension too large."""
    if dim >= input.ndim > 0:
        raise RuntimeError(f"narrow_copy: expected dim < {input.ndim}, got {dim}")
    return input.narrow(dim, start, length).clone()


@method()
def unfold(input: Any, dimension: int, size: int, step: int) -> Any:
    """The windows of ``size`` entries along ``dimension``, ``step`` apart, as a view; the entries
    of a window lie along a new last dimension."""
    at = _dim(dimension, input.ndim, "unfold")
    shape, strides = list(input.shape), list(_C.stride(input))
    if not shape:
        shape, strides = [1], [1]
    if size < 0 or size > shape[at]:
        raise RuntimeError(
            f"unfold: maximum size for tensor at dimension {dimension} is {shape[at]} "
            f"but size is {size}"
        )
    if step <= 0:
        raise RuntimeError(f"unfold: step is {step} but must be > 0")
    windows = (shape[at] - size) // step + 1
    if input.ndim == 0:
        return as_strided(input, (size,), (1,))
    stride = strides[at]
    shape[at], strides[at] = windows, stride * step
    return as_strided(input, (*shape, size), (*strides, stride))


@takes_tensors
def detach(input: Any) -> Any:
    """``input.detach()``: the same memory without history, of any shape and dtype.

    Raises TypeError for what is not a tensor.
    """
    return input.detach()


@method()
@takes_tensors
def adjoint(input: Any) -> Any:
    """Each matrix transposed and conjugated. RuntimeError for fewer than two dimensions."""
    if input.ndim == 1:
        raise RuntimeError("tensor.adjoint() is only supported on matrices or batches of matrices")
    return input.mH if input.ndim else input.conj()


@takes_tensors
def unravel_index(indices: Any, shape: Any) -> tuple:
    """Positions in a flattened tensor of ``shape`` as one index tensor per dimension.

    Raises ValueError for negative or zero sizes and positions outside, TypeError for indices that
    are not whole numbers.
    """
    if indices.dtype.is_floating_point or indices.dtype is _C.boolean:
        raise TypeError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if not all(isinstance(size, int) for size in sizes):
        raise TypeError(f"expected 'shape' to be int or sequence of ints, but got {shape}")
    if any(size < 0 for size in sizes):
        raise ValueError(f"'shape' cannot have negative values, but got {sizes}")
    rest, found = indices, []
    for size in reversed(sizes):
        found.append(rest % size if size else rest * 0)
        rest = rest // size if size else rest
    return tuple(reversed(found))


def cartesian_prod(*tensors: Any) -> Any:
    """All combinations of one element of each vector: (n1 * n2 * ..., count).

    A single vector is returned as it is. Raises RuntimeError for more dimensions and different
    dtypes, TypeError for what is not a tensor.
    """
    for x in tensors:
        if not isinstance(x, Tensor):
            raise TypeError(f"cartesian_prod: expected tensors, got {type(x).__name__}")
        if x.ndim != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(x.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    return stack([reshape(x, (-1,)) for x in meshgrid(*tensors, indexing="ij")], 1)


@takes_tensors
def combinations(input: Any, r: int = 2, with_replacement: bool = False) -> Any:
    """All choices of ``r`` elements of a vector: (count, r).

    Raises RuntimeError for other numbers of dimensions and negative ``r``.
    """
    if input.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    places = np.array(list(choose(range(len(input)), r)), np.int64).reshape(-1, r)
    if r == 0:
        return input[:0]
    return input[_C.from_numpy(places).to(input.device)]


def isin(
    elements: Any,
    test_elements: Any,
    *,
    assume_unique: bool = False,
    invert: bool = False,
) -> Any:
    """For each element whether it is among ``test_elements``; one of both may be a number.

    A bool tensor of the shape of ``elements``. Raises TypeError if neither is a tensor,
    RuntimeError for tensors on two devices.
    """
    tensors = [x for x in (elements, test_elements) if isinstance(x, Tensor)]
    if not tensors:
        raise TypeError(f"isin: expected a Tensor, got {type(elements).__name__}")
    device = tensors[0].device
    if tensors[-1].device != device:
        raise RuntimeError(
            "isin: expected all tensors to be on the same device, but elements are on "
            f"{device}, test_elements on {tensors[-1].device}"
        )
    arrays = [
        as_array(x) if isinstance(x, Tensor) else np.asarray(x) for x in (elements, test_elements)
    ]
    found = np.isin(*arrays, assume_unique=assume_unique, invert=invert)
    return _C.from_numpy(np.array(found)).to(device)


# --- sequences ------------------------------------------------------------------------------------


def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, out: Any = None, dtype: Any = None,
    device: Any = None, requires_grad: bool = False, layout: Any = None, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """``base`` to the powers of ``steps`` equally spaced numbers from ``start`` to ``end``.

    Raises RuntimeError for a negative number of steps.
    """
    for name, value in (("start", start), ("end", end)):
        if isinstance(value, Tensor) and value.ndim:
            raise RuntimeError(
                "logspace only supports 0-dimensional start and end tensors, but got "
                f"{name} tensor with {value.ndim} dimension(s)"
            )
    if steps < 0:
        raise RuntimeError(f"number of steps must be non-negative, got {steps}")
    low, high = float(start), float(end)
    with np.errstate(all="ignore"):
        values = np.power(float(base), np.linspace(low, high, steps))
    dtype = _C.get_default_dtype() if dtype is None else dtype
    if not isinstance(dtype, _C.dtype):
        raise TypeError(f"logspace: expected a dtype, got {type(dtype).__name__}")
    if not (dtype.is_floating_point or dtype.is_complex):
        values = np.trunc(values)
    made = _C.to_dtype(_C.from_numpy(values), dtype)
    made = made.to(_device(device))
    return _finish(made, requires_grad, out, pin_memory)


@takes_tensors
def fill(input: Any, value: Any) -> Any:
    """A tensor like ``input`` full of one number, or a 0-dimensional tensor. RuntimeError for a
    tensor with dimensions."""
    return input.clone().fill_(value)


@takes_tensors
def zero_(input: Any) -> Any:
    """``input.zero_()``. Errors are those of the method."""
    return input.zero_()


@method()
@takes_tensors
def fliplr(input: Any) -> Any:
    """Reverses the second dimension."""
    if input.ndim < 2:
        raise RuntimeError(f"fliplr: Input must be >= 2-d. Got {input.ndim}-d.")
    return flip(input, (1,))


@method()
@takes_tensors
def flipud(input: Any) -> Any:
    """Reverses the first dimension."""
    if input.ndim < 1:
        raise RuntimeError(f"flipud: Input must be >= 1-d. Got {input.ndim}-d.")
    return flip(input, (0,))


def row_stack(tensors: Sequence[Any], *, out: Any = None) -> Any:
    """Alias of :func:`vstack`, with its errors."""
    return vstack(tensors, out=out)


# --- memory ---------------------------------------------------------------------------------------


def scalar_tensor(
    s: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
    layout: Any = None, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """A number as a 0-dimensional tensor of the default dtype, or of ``dtype``. TypeError for what
    is not a number."""
    dtype = _C.get_default_dtype() if dtype is None else dtype
    return _finish(_C.full((), s, dtype, _device(device)), requires_grad, None, pin_memory)


def empty_strided(
    size: Any, stride: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
    layout: Any = None, pin_memory: bool = False,
) -> Any:  # fmt: skip
    """A tensor of these sizes and strides whose values are undefined.

    Raises RuntimeError for negative strides and where both differ in length.
    """
    size, stride = tuple(size), tuple(stride)
    if len(size) != len(stride):
        raise RuntimeError(
            f"empty_strided: dimensionality of sizes ({len(size)}) must match dimensionality of "
            f"strides ({len(stride)})"
        )
    extent = 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    count = 0 if 0 in size else max(extent, 0)
    memory = empty(count, dtype=dtype, device=device, pin_memory=pin_memory)
    made = _C.as_strided(memory, size, stride, 0).detach()
    return made.requires_grad_() if requires_grad else made


@method()
@takes_tensors
def new_empty_strided(input: Any, size: Any, stride: Any, **options: Any) -> Any:
    """:func:`empty_strided` with the dtype and device of the tensor, and its errors."""
    return empty_strided(size, stride, **{"dtype": input.dtype, "device": input.device, **options})


def empty_permuted(size: Any, physical_layout: Any, **options: Any) -> Any:
    """An undefined tensor whose dimensions lie in memory in the order of ``physical_layout``.

    Raises RuntimeError unless that is a permutation of the dimensions.
    """
    size, order = tuple(size), tuple(physical_layout)
    if len(size) != len(order):
        raise RuntimeError(
            "Number of dimensions in size does not match the length of the physical_layout; i.e. "
            f"len(size) = {len(size)} is not equal to len(physical_layout) = {len(order)}"
        )
    if sorted(order) != list(range(len(size))):
        raise RuntimeError(f"Dimension out of range or duplicate dim, got {order}")
    strides, step = [0] * len(size), 1
    for dim in reversed(order):
        strides[dim] = step
        step *= max(size[dim], 1)
    return empty_strided(size, strides, **options)


@method()
def resize_(input: Any, *sizes: Any, memory_format: Any = None) -> Any:
    """Gives the tensor another shape; what is added is undefined. Returns ``self``.

    Elements keep their place in memory. Raises RuntimeError for tensors that require gradients.
    """
    check_writable(input)
    if input.requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    size = tuple(sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes)
    memory = empty(size, dtype=input.dtype, device=input.device)
    kept = min(memory.numel(), input.numel())
    old = _C.contiguous(input).view(-1) if input.numel() else input.reshape(-1)
    if kept:
        _C.copy_(memory.view(-1)[:kept], old[:kept])
    input.data = memory
    return input


@method()
@takes_tensors
def resize_as_(input: Any, the_template: Any, *, memory_format: Any = None) -> Any:
    """``resize_`` to the shape of another tensor, with its errors."""
    return resize_(input, tuple(the_template.shape))


def _attach() -> None:
    def unsqueeze_(self: Any, dim: int) -> Any:
        """In-place form of :func:`tilegrad.unsqueeze`; returns ``self``."""
        return _reshaped(self, self.detach().unsqueeze(dim))

    def squeeze_(self: Any, dim: Any = None) -> Any:
        """In-place form of :func:`tilegrad.squeeze`; returns ``self``."""
        return _reshaped(self, self.detach().squeeze(dim))

    def transpose_(self: Any, dim0: int, dim1: int) -> Any:
        """In-place form of :func:`tilegrad.transpose`; returns ``self``."""
        return _reshaped(self, self.detach().transpose(dim0, dim1))

    def t_(self: Any) -> Any:
        """In-place form of :func:`tilegrad.t`; returns ``self``."""
        return _reshaped(self, self.detach().t())

    def as_strided_(self: Any, size: Any, stride: Any, storage_offset: Any = None) -> Any:
        """In-place form of :func:`tilegrad.as_strided`; returns ``self``."""
        return _reshaped(self, self.detach().as_strided(size, stride, storage_offset))

    for form in (unsqueeze_, squeeze_, transpose_, t_, as_strided_):
        setattr(Tensor, form.__name__, form)
    Tensor.swapaxes_ = Tensor.swapdims_ = transpose_


def _reshaped(tensor: Any, shown: Any) -> Any:
    """Shows the memory of a tensor without history in another shape."""
    if tensor.requires_grad and _C.is_grad_enabled():
        raise RuntimeError(
            "in-place changes of shape are not supported for tensors that require grad; "
            "use the function that returns a view"
        )
    tensor.data = shown
    return tensor


_attach()
