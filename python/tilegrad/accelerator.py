"""The accelerator of this machine, whatever its kind: a CUDA device or none."""

from __future__ import annotations

from typing import Any

from . import _C, cuda

__all__ = [
    "current_accelerator",
    "current_device_index",
    "device_count",
    "is_available",
    "set_device_index",
    "synchronize",
]


def is_available() -> bool:
    """Whether there is one."""
    return cuda.is_available()


def device_count() -> int:
    """How many there are."""
    return cuda.device_count()


def current_accelerator(check_available: bool = False) -> Any:
    """The kind of device, ``device('cuda')``, or None."""
    return _C.device("cuda") if cuda.is_available() else None


def current_device_index() -> int:
    """The number of the current device; raises RuntimeError if there is none."""
    return cuda.current_device()


def set_device_index(device: Any) -> None:
    """As :func:`tilegrad.cuda.set_device`, whose errors it raises."""
    cuda.set_device(device)


def synchronize(device: Any = None) -> None:
    """Waits for all work; nothing to wait for without an accelerator."""
    if cuda.is_available():
        cuda.synchronize(device)
