"""Batches in page-locked memory, from which copies to a card need not wait."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

from ... import _C
from ...tensor import Tensor

__all__ = ["can_pin", "pin_memory"]


def can_pin() -> bool:
    """Whether there is a device to pin memory for; warns if not, as batches are plain then."""
    if _C.cuda_device_count() > 0:
        return True
    warnings.warn(
        "'pin_memory' argument is set as true but no accelerator is found, then device pinned "
        f"memory won't be used ({_C.cuda_unavailable_reason()})",
        stacklevel=3,
    )
    return False


def pin_memory(data: Any, device: Any = None) -> Any:
    """``data`` with every tensor in page-locked memory.

    Looks into mappings, tuples, named ones too, and sequences, and returns the same types with
    their further attributes where they can be copied, else dicts and lists. Objects with a method
    ``pin_memory`` are what it returns, and all others are returned as they are. Errors are those of
    :meth:`Tensor.pin_memory`.
    """
    if isinstance(data, Tensor) or hasattr(data, "pin_memory"):
        return data.pin_memory()
    if isinstance(data, (str, bytes)):
        return data
    if isinstance(data, Mapping):
        return _in_mapping(data, {key: pin_memory(value) for key, value in data.items()})
    if isinstance(data, tuple):
        items = [pin_memory(item) for item in data]
        return type(data)(*items) if hasattr(data, "_fields") else type(data)(items)
    if isinstance(data, Sequence):
        return _in_sequence(data, [pin_memory(item) for item in data])
    return data


def _in_mapping(data: Any, items: dict) -> Any:
    try:
        if not isinstance(data, MutableMapping):
            return type(data)(items)
        result: Any = copy.copy(data)
        result.update(items)
        return result
    except TypeError:  # a type that cannot be made from items, or copied
        return items


def _in_sequence(data: Any, items: list) -> Any:
    try:
        if not isinstance(data, MutableSequence):
            return type(data)(items)
        result: Any = copy.copy(data)
        for i, item in enumerate(items):
            result[i] = item
        return result
    except TypeError:
        return items
