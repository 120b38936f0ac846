"""Changing the shapes of tensors: joins, splits, permutations, choices."""

from __future__ import annotations

import math
from typing import Any

import tilegrad as tg

from ..dtypes import cast, convert_to_tensor
from ..op import as_ints, op, promoted
from ..symbolic import context

__all__ = [
    "append", "array_split", "broadcast_to", "concatenate", "copy", "dsplit", "dstack",
    "expand_dims", "flip", "fliplr", "flipud", "hsplit", "hstack", "isin", "moveaxis", "ndim",
    "nonzero", "pad", "permute_dims", "ravel", "repeat", "reshape", "roll", "rot90", "select",
    "size", "split", "squeeze", "stack", "swapaxes", "take", "take_along_axis", "tile",
    "transpose", "unravel_index", "vsplit", "vstack",
]  # fmt: skip


@op
def reshape(x: Any, newshape: Any) -> Any:
    """The same elements in another shape; -1 is what is left."""
    sizes = [newshape] if isinstance(newshape, int) else newshape
    return convert_to_tensor(x).reshape([-1 if n is None else int(n) for n in sizes])


@op
def transpose(x: Any, axes: Any = None) -> Any:
    """The axes in another order, reversed unless told otherwise."""
    x = convert_to_tensor(x)
    return x.permute(*(reversed(range(x.ndim)) if axes is None else axes))


permute_dims = transpose


@op
def ravel(x: Any) -> Any:
    """All elements in one axis."""
    return convert_to_tensor(x).reshape(-1)


@op
def expand_dims(x: Any, axis: Any) -> Any:
    """New axes of size one."""
    x = convert_to_tensor(x)
    if isinstance(axis, int):
        return x.unsqueeze(axis)
    for a in sorted(a % (x.ndim + len(axis)) for a in axis):
        x = x.unsqueeze(a)
    return x


@op
def squeeze(x: Any, axis: Any = None) -> Any:
    """Without axes of size one. Raises ValueError for an axis of another size."""
    x = convert_to_tensor(x)
    if axis is None:
        return x.squeeze()
    axes = [axis] if isinstance(axis, int) else list(axis)
    for a in axes:
        if x.shape[a] != 1:
            raise ValueError(f"Cannot squeeze axis={axis}, because the dimension is not 1.")
    return x.squeeze(tuple(axes))


@op
def broadcast_to(x: Any, shape: Any) -> Any:
    """Repeated along axes of size one."""
    return convert_to_tensor(x).expand(as_ints(shape))


@op
def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """Axes at other places."""
    return tg.moveaxis(convert_to_tensor(x), source, destination)


@op
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged."""
    return convert_to_tensor(x).transpose(axis1, axis2)


@op
def flip(x: Any, axis: Any = None) -> Any:
    """Backwards along axes."""
    x = convert_to_tensor(x)
    axes = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else axis
    return tg.flip(x, tuple(axes))


def fliplr(x: Any) -> Any:
    """Backwards along the second axis."""
    return flip(x, 1)


def flipud(x: Any) -> Any:
    """Backwards along the first axis."""
    return flip(x, 0)


@op
def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    """Moved along axes; what falls out comes in at the other end."""
    return tg.roll(convert_to_tensor(x), shift, axis)


@op
def rot90(array: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    """Turned by quarters."""
    return tg.rot90(convert_to_tensor(array), k, tuple(axes))


@op
def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Any:
    """Elements added before and after: ``constant``, ``reflect``, ``symmetric`` or ``edge``.

    Raises ValueError for another mode."""
    from .padding import pad_axes

    x = convert_to_tensor(x)
    widths = pad_width
    if isinstance(widths, int):
        widths = ((widths, widths),) * x.ndim
    elif len(widths) == 2 and isinstance(widths[0], int):
        widths = (tuple(widths),) * x.ndim
    elif len(widths) == 1 and x.ndim > 1:
        widths = tuple(widths) * x.ndim
    return pad_axes(x, widths, mode, constant_values or 0)


@op
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each element several times."""
    x = convert_to_tensor(x)
    times = repeats if isinstance(repeats, int) else convert_to_tensor(repeats).long()
    return tg.repeat_interleave(x, times, dim=axis)


@op
def tile(x: Any, repeats: Any) -> Any:
    """The whole several times."""
    return tg.tile(convert_to_tensor(x), (repeats,) if isinstance(repeats, int) else tuple(repeats))


@op
def concatenate(xs: Any, axis: int = 0) -> Any:
    """Joined along an axis. Raises RuntimeError for other sizes that differ."""
    return tg.cat(promoted(xs), dim=axis)


@op
def stack(x: Any, axis: int = 0) -> Any:
    """Joined along a new axis."""
    return tg.stack(promoted(x), dim=axis)


@op
def append(x1: Any, x2: Any, axis: int | None = None) -> Any:
    """``x2`` behind ``x1``, both flat without an axis."""
    a, b = promoted([x1, x2])
    return tg.cat([a.reshape(-1), b.reshape(-1)] if axis is None else [a, b], dim=axis or 0)


def _joined(name: str, function: Any) -> Any:
    def made(xs: Any) -> Any:
        return function(promoted(xs))

    made.__name__ = made.__qualname__ = name
    made.__doc__ = f"NumPy's ``{name}``."
    return op(made)


hstack = _joined("hstack", tg.hstack)
vstack = _joined("vstack", tg.vstack)
dstack = _joined("dstack", tg.dstack)


@op
def split(x: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """Equal parts, or parts between indices. Raises ValueError for a number that does not divide
    the size."""
    x = convert_to_tensor(x)
    if isinstance(indices_or_sections, int):
        if x.shape[axis] % indices_or_sections:
            raise ValueError(
                f"split: axis {axis} of size {x.shape[axis]} cannot be cut into "
                f"{indices_or_sections} equal parts"
            )
        return list(tg.split(x, x.shape[axis] // indices_or_sections, dim=axis))
    return list(tg.tensor_split(x, [int(i) for i in indices_or_sections], dim=axis))


@op
def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """Parts of nearly equal size."""
    return list(tg.tensor_split(convert_to_tensor(x), indices_or_sections, dim=axis))


def hsplit(x: Any, indices_or_sections: Any) -> Any:
    """Parts along the second axis."""
    return split(x, indices_or_sections, axis=1)


def vsplit(x: Any, indices_or_sections: Any) -> Any:
    """Parts along the first axis."""
    return split(x, indices_or_sections, axis=0)


def dsplit(x: Any, indices_or_sections: Any) -> Any:
    """Parts along the third axis."""
    return split(x, indices_or_sections, axis=2)


def _counted(indices: Any, size: int) -> Any:
    """Indices from the beginning; in a trial run, whose sizes are made up, within the axis."""
    indices = tg.where(indices < 0, indices + size, indices)
    return indices.clamp(0, size - 1) if context.tracing else indices


@op
def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The slices at indices along an axis; negative ones count from the end."""
    x, indices = convert_to_tensor(x), convert_to_tensor(indices).long()
    if axis is None:
        x, axis = x.reshape(-1), 0
    axis %= x.ndim
    indices = _counted(indices, x.shape[axis])
    chosen = tg.index_select(x, axis, indices.reshape(-1))
    return chosen.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


@op
def take_along_axis(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The element at an index along an axis, for every place of ``indices``."""
    x, indices = convert_to_tensor(x), convert_to_tensor(indices).long()
    if axis is None:
        x, indices, axis = x.reshape(-1), indices.reshape(-1), 0
    indices = _counted(indices, x.shape[axis])
    return tg.take_along_dim(x, indices, dim=axis)


@op
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """The choice of the first condition that holds."""
    result = convert_to_tensor(default)
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        result = tg.where(cast(condition, "bool"), convert_to_tensor(choice), result)
    return result


def nonzero(x: Any) -> Any:
    """The indices of elements that are not zero, one tensor per axis."""
    return tuple(i.to(tg.int32) for i in tg.nonzero(convert_to_tensor(x), as_tuple=True))


@op
def isin(x1: Any, x2: Any, assume_unique: bool = False, invert: bool = False) -> Any:
    """Whether each element of ``x1`` is among ``x2``."""
    a, b = promoted([x1, x2])
    return tg.isin(a, b, assume_unique=assume_unique, invert=invert)


@op
def unravel_index(indices: Any, shape: Any) -> Any:
    """Flat places as one index per axis."""
    found = tg.unravel_index(convert_to_tensor(indices), as_ints(shape))
    return tuple(i.to(tg.int32) for i in found)


@op
def copy(x: Any) -> Any:
    """A copy."""
    return convert_to_tensor(x).clone()


def ndim(x: Any) -> int:
    """The number of axes."""
    return len(x.shape) if hasattr(x, "shape") else convert_to_tensor(x).ndim


def size(x: Any) -> Any:
    """The number of elements."""
    shape = x.shape if hasattr(x, "shape") else convert_to_tensor(x).shape
    return math.prod(shape)
