"""The CPU as a device among others, for programs written for any: one device, one stream."""

from __future__ import annotations

import contextlib
from typing import Any

from .._lazy import lazily as _lazily

__all__ = [
    "Event",
    "Stream",
    "StreamContext",
    "current_device",
    "current_stream",
    "device_count",
    "is_available",
    "is_initialized",
    "set_device",
    "stream",
    "synchronize",
]


def is_available() -> bool:
    """True."""
    return True


is_initialized = is_available


def device_count() -> int:
    """1."""
    return 1


def current_device() -> str:
    """``"cpu"``."""
    return "cpu"


def set_device(device: Any) -> None:
    """Accepts any: there is one."""


def synchronize(device: Any = None) -> None:
    """Nothing to wait for: an operation has run when its call returns."""


class Stream:
    """The one stream. Nothing waits."""

    def __init__(self, priority: int = -1) -> None:
        self.priority = priority

    def wait_stream(self, stream: Any) -> None:
        """Nothing to do."""

    def record_event(self) -> None:
        """Nothing to do."""

    def wait_event(self, event: Any) -> None:
        """Nothing to do."""


class Event:
    """A moment at which all earlier work is done."""

    def query(self) -> bool:
        """True."""
        return True

    def record(self, stream: Any = None) -> None:
        """Nothing to do."""

    def synchronize(self) -> None:
        """Nothing to do."""

    def wait(self, stream: Any = None) -> None:
        """Nothing to do."""


def current_stream(device: Any = None) -> Stream:
    """The one stream."""
    return Stream()


class StreamContext(contextlib.nullcontext):
    """A ``with`` block that changes nothing."""


def stream(stream: Any) -> StreamContext:
    """A ``with`` block that changes nothing."""
    return StreamContext(stream)


__getattr__ = _lazily(__name__)
