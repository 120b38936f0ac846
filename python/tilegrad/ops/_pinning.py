"""Page-locked memory for the functions that make tensors: their argument ``pin_memory``."""

from __future__ import annotations

from typing import Any

from .. import _C

__all__ = ["empty_pinned", "pinned"]


def _check(device: Any, pin_memory: Any) -> None:
    if not isinstance(pin_memory, bool):
        raise TypeError(f"argument 'pin_memory': expected a bool, got {type(pin_memory).__name__}")
    if device.type != "cpu":
        raise RuntimeError(
            f"argument 'pin_memory': only tensors on the CPU can be pinned, got device {device}"
        )
    if _C.cuda_device_count() == 0:
        raise RuntimeError(
            "pin_memory=True requires a CUDA device; no pinned memory allocator is available on "
            f"this system: {_C.cuda_unavailable_reason()}"
        )


def pinned(output: Any, pin_memory: Any = True) -> Any:
    """A new tensor's copy in page-locked memory, in its order of elements.

    Raises RuntimeError where there is no device and for tensors on one, TypeError for no bool.
    """
    _check(output.device, pin_memory)
    return _C.pin_memory(output)


def empty_pinned(size: Any, dtype: Any, device: Any, pin_memory: Any = True) -> Any:
    """Undefined content in page-locked memory; errors as for :func:`pinned`."""
    _check(device, pin_memory)
    return _C.empty_pinned(size, dtype)
