"""``record_function``: a name for a part of a program, which no profiler here looks at.

``profile`` is a name for annotations and raises: cProfile sees every operation, since all are
functions.
"""

from __future__ import annotations

import enum
from contextlib import ContextDecorator
from typing import Any

__all__ = ["ProfilerActivity", "profile", "record_function", "supported_activities"]


class ProfilerActivity(enum.Enum):
    """What a profiler could watch: libraries name these in annotations and options."""

    CPU = 0
    XPU = 1
    CUDA = 2
    HPU = 3
    MTIA = 4
    PrivateUse1 = 5


class profile:
    """A class that libraries name in annotations. To make one raises NotImplementedError."""

    def __init__(self, *args: Any, **options: Any) -> None:
        raise NotImplementedError("profiler.profile: there is no profiler here; use cProfile")


def supported_activities() -> set[ProfilerActivity]:
    """Empty: there is no profiler. Never fails."""
    return set()


class record_function(ContextDecorator):
    """A ``with`` block, or a decorator, that changes nothing. Never fails."""

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name, self.args = name, args

    def __enter__(self) -> record_function:
        return self

    def __exit__(self, *exception: Any) -> None:
        pass
