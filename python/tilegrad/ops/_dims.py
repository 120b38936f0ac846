"""Which dimensions a reduction goes over, and how its result gets them back."""

from __future__ import annotations

import math
from typing import Any

from .view import reshape

__all__ = ["count_reduced", "dims_of", "numpy_names", "with_kept_dims"]


def numpy_names(op: str, dim: Any, keepdim: bool, names: dict) -> tuple[Any, bool]:
    """(dim, keepdim) where the caller wrote ``axis`` or ``keepdims``; TypeError for other names."""
    for name, value in names.items():
        if name == "axis" and dim is None:
            dim = value
        elif name == "keepdims" and not keepdim:
            keepdim = value
        else:
            raise TypeError(f"{op}() got an unexpected keyword argument '{name}'")
    return dim, keepdim


def dims_of(dim: Any, ndim: int) -> tuple[int, ...]:
    """The reduced dimensions, counted from the front, of an argument that was checked before."""
    if dim is None:
        return tuple(range(ndim))
    if isinstance(dim, (tuple, list)):
        return tuple(d % max(ndim, 1) for d in dim) or tuple(range(ndim))
    return (dim % max(ndim, 1),)


def with_kept_dims(tensor: Any, shape: Any, dim: Any, keepdim: bool) -> Any:
    """A result of a reduction of ``shape`` with its reduced dimensions back, as size 1."""
    if keepdim:
        return tensor
    dims = dims_of(dim, len(shape))
    return reshape(tensor, [1 if d in dims else size for d, size in enumerate(shape)])


def count_reduced(shape: Any, dim: Any) -> int:
    """How many elements go into one result."""
    return math.prod(shape[d] for d in dims_of(dim, len(shape)) if d < len(shape))
