"""What Python data becomes in :func:`tilegrad.tensor`: an array, and a dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _C
from ..tensor import Tensor, as_array

__all__ = ["array_of", "check_range", "default_dtype", "holds_double"]

_INTEGERS = (_C.int64, _C.int32, _C.int16, _C.int8, _C.uint8)


def default_dtype(is_complex: bool) -> Any:
    """The dtype of Python's floats, or of its complex numbers."""
    default = _C.get_default_dtype()
    return _C.promote_types(default, _C.complex64) if is_complex else default


def check_range(array: np.ndarray, dtype: Any) -> None:
    """RuntimeError for Python numbers outside an integer dtype, and complex ones in a real dtype;
    arrays are converted as usual."""
    if array.dtype.kind == "c" and dtype is not None and not dtype.is_complex:
        raise RuntimeError(f"tensor: value cannot be converted to type {dtype} without overflow")
    if dtype not in _INTEGERS or array.size == 0:
        return
    limits = np.iinfo(dtype.name)
    low = limits.min if limits.min else -limits.max  # negatives wrap in unsigned dtypes
    if not ((array >= low) & (array <= limits.max)).all():
        raise RuntimeError(f"tensor: value cannot be converted to type {dtype} without overflow")


def array_of(data: Any, dtype: Any = None) -> np.ndarray:
    if isinstance(data, np.ndarray):
        array = data
    else:
        if isinstance(data, (list, tuple)):
            if not data:
                return np.zeros(0, dtype=np.float64)
            data = _without_tensors(data)
        try:
            array = np.array(data)
        except ValueError as error:
            raise ValueError(f"tensor: expected sequences of equal length ({error})") from None
        if array.dtype == np.uint64 or _holds_integers(array):
            if dtype is None or not dtype.is_floating_point:
                raise ValueError("tensor: an integer overflows 64 bits")
            array = array.astype(np.float64)
    if array.dtype.kind in "OUSMmV":
        raise TypeError(
            "tensor: expected numbers, sequences of numbers, arrays or tensors, "
            f"got {type(data).__name__} of {array.dtype}"
        )
    if any(stride < 0 for stride in array.strides) or not array.dtype.isnative:
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    return array


def _holds_integers(array: np.ndarray) -> bool:
    """Whether NumPy kept Python integers as objects, because they are too large."""
    return array.dtype == object and array.size > 0 and all(type(x) is int for x in array.flat)


def _without_tensors(data: Any) -> Any:
    """Nested sequences with each tensor replaced by its numbers."""
    if isinstance(data, Tensor):
        return as_array(data)
    if isinstance(data, (list, tuple)) and any(isinstance(x, (list, tuple, Tensor)) for x in data):
        return [_without_tensors(x) for x in data]
    return data


def holds_double(data: Any) -> bool:
    """Whether nested sequences hold float64 arrays or tensors, or numbers of NumPy's in double
    precision, whose dtype is kept."""
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    typed = isinstance(data, (np.ndarray, np.number, Tensor))
    return typed and str(data.dtype).endswith(("64", "128"))
