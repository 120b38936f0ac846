"""Ranges and marks that NVIDIA's profilers show beside kernels (NVTX).

They go to the library ``nvtx3interop`` of the CUDA toolkit or of the package ``nvidia-nvtx``, or to
the older ``nvToolsExt``, whichever the system finds. Without one the functions count the depth of
ranges and do nothing else, so that a program with ranges runs everywhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["mark", "range", "range_end", "range_pop", "range_push", "range_start"]

_LIBRARIES = ("libnvtx3interop.so.1", "libnvtx3interop.so", "libnvToolsExt.so.1")
_local = threading.local()  # .depth: of this thread's ranges, where there is no library
_numbers = itertools.count(1)


@functools.cache
def _library() -> Any:
    """The library, or None."""
    for name in _LIBRARIES:
        try:
            found = ctypes.CDLL(name)
        except OSError:
            continue
        found.nvtxRangePushA.argtypes = found.nvtxMarkA.argtypes = [ctypes.c_char_p]
        found.nvtxRangeStartA.argtypes, found.nvtxRangeStartA.restype = (
            [ctypes.c_char_p],
            ctypes.c_uint64,
        )
        found.nvtxRangeEnd.argtypes, found.nvtxRangeEnd.restype = [ctypes.c_uint64], None
        found.nvtxMarkA.restype = None
        return found
    return None


def _text(function: str, msg: Any) -> bytes:
    if not isinstance(msg, str):
        raise TypeError(f"{function}: argument 'msg': expected a str, got {type(msg).__name__}")
    return msg.encode()


def range_push(msg: str) -> int:
    """Begins a range inside of those that this thread has begun; returns how many there were.

    A negative number means that no profiler listens. Raises TypeError for what is no string.
    """
    text = _text("range_push", msg)
    library = _library()
    if library is not None:
        return library.nvtxRangePushA(text)
    _local.depth = getattr(_local, "depth", 0) + 1
    return _local.depth - 1


def range_pop() -> int:
    """Ends the innermost range of this thread; returns how many are around it.

    A negative number means that no profiler listens, or that there was no range.
    """
    library = _library()
    if library is not None:
        return library.nvtxRangePop()
    depth = getattr(_local, "depth", 0) - 1
    _local.depth = max(depth, 0)
    return depth


def range_start(msg: str) -> int:
    """Begins a range that may end on another thread; returns what :func:`range_end` needs.

    Raises TypeError for what is no string.
    """
    text = _text("range_start", msg)
    library = _library()
    return next(_numbers) if library is None else library.nvtxRangeStartA(text)


def range_end(range_id: int) -> None:
    """Ends a range of :func:`range_start`. Raises TypeError for what is no number."""
    if not isinstance(range_id, int):
        raise TypeError(f"range_end: expected an int, got {type(range_id).__name__}")
    library = _library()
    if library is not None:
        library.nvtxRangeEnd(range_id)


def mark(msg: str) -> None:
    """Notes one moment. Raises TypeError for what is no string."""
    text = _text("mark", msg)
    library = _library()
    if library is not None:
        library.nvtxMarkA(text)


@contextlib.contextmanager
def range(msg: str, *args: Any, **kwargs: Any) -> Iterator[None]:
    """A range around a ``with`` block, or, as a decorator, around each call of a function.

    Its name is ``msg.format(*args, **kwargs)``. Errors are those of :func:`range_push`.
    """
    range_push(msg.format(*args, **kwargs))
    try:
        yield
    finally:
        range_pop()
