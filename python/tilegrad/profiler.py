"""``record_function``: a name for a part of a program, which no profiler here looks at.

``profile`` and its relatives are missing: cProfile sees every operation, since all are functions.
"""

from __future__ import annotations

from contextlib import ContextDecorator
from typing import Any

__all__ = ["record_function"]


class record_function(ContextDecorator):
    """A ``with`` block, or a decorator, that changes nothing. Never fails."""

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name, self.args = name, args

    def __enter__(self) -> record_function:
        return self

    def __exit__(self, *exception: Any) -> None:
        pass
