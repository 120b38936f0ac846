"""Which part of a program NVIDIA's profilers record: ``nsys profile -c cudaProfilerApi``.

The calls go to the driver. Without one there is nothing to record, and they do nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Iterator
from typing import Any

from .. import _C

__all__ = ["profile", "start", "stop"]


@functools.cache
def _driver() -> Any:
    """The driver's library, or None."""
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None


def _call(name: str) -> None:
    if _C.cuda_device_count() == 0 or _driver() is None:
        return
    _C.cuda_synchronize(_C.cuda_current_device())  # there is a context from here on
    code = getattr(_driver(), name)()
    if code != 0:
        raise RuntimeError(f"{name}: the CUDA driver refuses with error {code}")


def start() -> None:
    """Begins the recording. Raises RuntimeError if the driver refuses."""
    _call("cuProfilerStart")


def stop() -> None:
    """Ends the recording. Raises RuntimeError if the driver refuses."""
    _call("cuProfilerStop")


@contextlib.contextmanager
def profile() -> Iterator[None]:
    """A ``with`` block that is recorded. Raises RuntimeError if the driver refuses."""
    start()
    try:
        yield
    finally:
        stop()
