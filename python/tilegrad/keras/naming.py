"""Names that are given when none is: ``dense``, ``dense_1``, ``dense_2``."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

__all__ = ["auto_name", "clear_session", "name_scope", "to_snake_case", "unique_name"]

_counts: Counter[str] = Counter()


def to_snake_case(name: str) -> str:
    """``BatchNormalization`` becomes ``batch_normalization``, ``Conv2D`` ``conv2d``."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def unique_name(prefix: str) -> str:
    """``prefix`` the first time, then with a number behind it."""
    count = _counts[prefix]
    _counts[prefix] += 1
    return f"{prefix}_{count}" if count else prefix


def auto_name(class_name: str) -> str:
    """A unique name for an object of that class."""
    return unique_name(to_snake_case(class_name))


def clear_session(free_memory: bool = True) -> None:
    """Starts counting names anew. ``free_memory`` changes nothing: nothing else is kept here."""
    _counts.clear()


@contextlib.contextmanager
def name_scope(name: str, **kwargs: Any) -> Iterator[None]:
    """Keras's scope of names; here names are those of layers alone."""
    yield
