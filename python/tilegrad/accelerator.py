"""The accelerator of this machine, whatever its kind: a CUDA device or none."""

from __future__ import annotations

from typing import Any

from . import _C, cuda

__all__ = [
    "current_accelerator",
    "current_device_idx",
    "current_device_index",
    "current_stream",
    "device_count",
    "empty_cache",
    "is_available",
    "max_memory_allocated",
    "max_memory_reserved",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "reset_accumulated_memory_stats",
    "reset_peak_memory_stats",
    "set_device_idx",
    "set_device_index",
    "set_stream",
    "synchronize",
]

# Of any device, which is a CUDA device or none; errors are those of these functions.
current_stream = cuda.current_stream
empty_cache = cuda.empty_cache
max_memory_allocated = cuda.max_memory_allocated
max_memory_reserved = cuda.max_memory_reserved
memory_allocated = cuda.memory_allocated
memory_reserved = cuda.memory_reserved
memory_stats = cuda.memory_stats
reset_accumulated_memory_stats = cuda.reset_accumulated_memory_stats
reset_peak_memory_stats = cuda.reset_peak_memory_stats
set_stream = cuda.set_stream


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


current_device_idx, set_device_idx = current_device_index, set_device_index
