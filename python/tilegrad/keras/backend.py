"""``keras.backend``: settings and a few old functions under one roof."""

from __future__ import annotations

from typing import Any

from .config import (
    backend,
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)
from .dtypes import convert_to_numpy, convert_to_tensor, is_tensor, standardize_dtype
from .naming import clear_session
from .symbolic import KerasTensor, is_keras_tensor
from .variable import Variable

__all__ = [
    "KerasTensor", "Variable", "backend", "clear_session", "convert_to_numpy", "convert_to_tensor",
    "epsilon", "floatx", "get_uid", "get_value", "image_data_format", "is_float_dtype",
    "is_int_dtype", "is_keras_tensor",
    "is_tensor", "result_type", "set_epsilon", "set_floatx", "set_image_data_format", "set_value",
    "standardize_dtype",
]  # fmt: skip


def get_value(x: Any) -> Any:
    """The values of a variable as an array."""
    return convert_to_numpy(x)


def set_value(x: Any, value: Any) -> None:
    """Assigns to a variable. Raises ValueError for another shape."""
    x.assign(value)


def is_float_dtype(dtype: Any) -> bool:
    """Whether a dtype is floating."""
    return "float" in standardize_dtype(dtype)


def is_int_dtype(dtype: Any) -> bool:
    """Whether a dtype is one of integers."""
    return "int" in standardize_dtype(dtype)


def get_uid(prefix: str = "") -> int:
    """1 for the first call with a prefix, then 2, and so on."""
    _uids[prefix] = _uids.get(prefix, 0) + 1
    return _uids[prefix]


_uids: dict[str, int] = {}


def result_type(*dtypes: Any) -> str:
    """The name of the dtype that holds them all."""
    import tilegrad as tg

    from .dtypes import dtype_of

    made = dtype_of(dtypes[0])
    for dtype in dtypes[1:]:
        made = tg.promote_types(made, dtype_of(dtype))
    return standardize_dtype(made)
