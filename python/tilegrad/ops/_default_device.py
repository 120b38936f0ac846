"""Where new tensors are made: the default device, and ``with device(...)`` blocks."""

from __future__ import annotations

import threading
from typing import Any

from .. import _C

__all__ = ["device_of", "get_default_device", "set_default_device"]

_CPU = _C.device("cpu")
_default_device = _CPU
_contexts = threading.local()  # .devices: those of the blocks that this thread is in
_any_context = False  # since the process has begun: most programs have none


def get_default_device() -> Any:
    """Where tensors are made unless told otherwise: the CPU at first. Never fails.

    In a ``with device(...)`` block that device.
    """
    if _any_context and getattr(_contexts, "devices", None):
        return _contexts.devices[-1]
    return _default_device


def set_default_device(device: Any) -> None:
    """Makes a device, or the CPU for None, the one on which new tensors are made.

    That concerns functions that make tensors of sizes, numbers and arrays, not those that share
    memory, such as :func:`from_numpy`. It holds for all threads, except in ``with device(...)``
    blocks, which hold for theirs alone. Raises RuntimeError for what names no device; a device that
    is not there is an error when a tensor is made.
    """
    global _default_device
    _default_device = _CPU if device is None else device_of(device)


def device_of(device: Any) -> Any:
    """A device, a string or the number of a card as a device; the default one for None."""
    if device is None:
        return get_default_device() if _any_context else _default_device
    if isinstance(device, int):
        return _C.device("cuda", device)
    return _C.device(device)


def _enter(self: Any) -> Any:
    """Makes this device the one on which this thread's new tensors are made, until the end of the
    ``with`` block."""
    global _any_context
    _any_context = True
    if not hasattr(_contexts, "devices"):
        _contexts.devices = []
    _contexts.devices.append(self)
    return self


def _exit(self: Any, *exception: Any) -> None:
    """Ends the ``with`` block."""
    _contexts.devices.pop()


_C.device.__enter__ = _enter
_C.device.__exit__ = _exit
