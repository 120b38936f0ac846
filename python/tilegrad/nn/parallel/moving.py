"""Arguments of a call on the device of the module that is called."""

from __future__ import annotations

from typing import Any

from ...tensor import Tensor

__all__ = ["moved"]


def moved(data: Any, device: Any) -> Any:
    """``data`` with its tensors on a device, in tuples, named ones too, lists and dicts as well.

    Other objects are passed on as they are. The move is recorded: gradients go back to where the
    tensors were. Raises RuntimeError if there is no such device.
    """
    if isinstance(data, Tensor):
        return data.to(device, non_blocking=True)
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(moved(item, device) for item in data))
    if type(data) in (tuple, list):
        return type(data)(moved(item, device) for item in data)
    if isinstance(data, dict):
        return type(data)((key, moved(value, device)) for key, value in data.items())
    return data
