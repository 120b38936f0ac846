"""``torch.compiler`` where nothing is compiled: questions are answered no, marks change nothing."""

from __future__ import annotations

from typing import Any

__all__ = [
    "allow_in_graph",
    "assume_constant_result",
    "compile",
    "cudagraph_mark_step_begin",
    "disable",
    "is_compiling",
    "is_dynamo_compiling",
    "is_exporting",
    "reset",
]


def is_compiling() -> bool:
    """False: Python is run as it is."""
    return False


is_dynamo_compiling = is_exporting = is_compiling


def disable(fn: Any = None, recursive: bool = True, **options: Any) -> Any:
    """The function itself, or a decorator that returns it. No errors."""
    return (lambda function: function) if fn is None else fn


def compile(*args: Any, **kwargs: Any) -> Any:
    """:func:`tilegrad.compile`."""
    from . import compile as of_torch

    return of_torch(*args, **kwargs)


def allow_in_graph(fn: Any) -> Any:
    """The function itself. No errors."""
    return fn


assume_constant_result = allow_in_graph


def reset() -> None:
    """Does nothing: there is no cache of compiled code."""


cudagraph_mark_step_begin = reset
