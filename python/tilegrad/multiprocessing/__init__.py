"""Python's ``multiprocessing`` with tensors that are sent through shared memory.

Importing it is enough: tensors in queues and pipes of the standard module then travel as
descriptors of shared memory, and both sides see each other's writes.
"""

from __future__ import annotations

import multiprocessing as _standard
from multiprocessing import *  # noqa: F403
from typing import Any

from .reductions import register
from .spawn import ProcessContext, ProcessExitedException, ProcessRaisedException, spawn
from .spawn import start_processes as start_processes

__all__ = [
    *_standard.__all__,
    "ProcessContext",
    "ProcessExitedException",
    "ProcessRaisedException",
    "get_all_sharing_strategies",
    "get_sharing_strategy",
    "set_sharing_strategy",
    "spawn",
    "start_processes",
]

register()


def get_all_sharing_strategies() -> set[str]:
    """The ways to share memory that there are: by file descriptor."""
    return {"file_descriptor"}


def get_sharing_strategy() -> str:
    """How memory is shared: by file descriptor."""
    return "file_descriptor"


def set_sharing_strategy(new_strategy: str) -> None:
    """Accepts PyTorch's two strategies; memory is shared by file descriptor all the same.

    Raises ValueError for other names.
    """
    if new_strategy not in ("file_descriptor", "file_system"):
        raise ValueError(
            "set_sharing_strategy: expected 'file_descriptor' or 'file_system', "
            f"got {new_strategy!r}"
        )


def __getattr__(name: str) -> Any:
    """Whatever else the standard module has: ``connection``, ``process``, ..."""
    try:
        return getattr(_standard, name)
    except AttributeError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
