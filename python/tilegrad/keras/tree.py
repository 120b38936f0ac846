"""Nested lists, tuples and dictionaries of things: ``keras.tree``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

__all__ = [
    "assert_same_structure",
    "flatten",
    "is_nested",
    "map_structure",
    "pack_sequence_as",
    "traverse",
]


def is_nested(structure: Any) -> bool:
    """Whether it is a list, a tuple or a dictionary."""
    return isinstance(structure, (list, tuple, dict))


def flatten(structure: Any) -> list[Any]:
    """The leaves in order; dictionaries by sorted keys. None is a leaf."""
    if isinstance(structure, (list, tuple)):
        return [leaf for item in structure for leaf in flatten(item)]
    if isinstance(structure, dict):
        return [leaf for key in _keys(structure) for leaf in flatten(structure[key])]
    return [structure]


def _keys(structure: dict) -> list:
    try:
        return sorted(structure)
    except TypeError:
        return list(structure)


def map_structure(func: Callable[..., Any], *structures: Any) -> Any:
    """The same structure with ``func`` of the leaves. Raises ValueError where lengths differ."""
    first = structures[0]
    if isinstance(first, (list, tuple)):
        items = [map_structure(func, *parts) for parts in zip(*structures, strict=True)]
        return _like(first, items)
    if isinstance(first, dict):
        return type(first)((k, map_structure(func, *(s[k] for s in structures))) for k in first)
    return func(*structures)


def _like(first: Any, items: list) -> Any:
    if hasattr(first, "_fields"):
        return type(first)(*items)
    return type(first)(items) if type(first) in (list, tuple) else list(items)


def pack_sequence_as(structure: Any, flat_sequence: Any) -> Any:
    """The leaves of ``flat_sequence`` in the shape of ``structure``. Raises ValueError if their
    numbers differ."""
    leaves = list(flat_sequence)
    if len(leaves) != len(flatten(structure)):
        raise ValueError(
            f"pack_sequence_as: expected {len(flatten(structure))} leaves, got {len(leaves)}"
        )
    return _pack(structure, iter(leaves))


def _pack(structure: Any, leaves: Iterator[Any]) -> Any:
    if isinstance(structure, (list, tuple)):
        return _like(structure, [_pack(item, leaves) for item in structure])
    if isinstance(structure, dict):
        packed = {key: _pack(structure[key], leaves) for key in _keys(structure)}
        return {key: packed[key] for key in structure}
    return next(leaves)


def traverse(func: Callable[[Any], Any], structure: Any, top_down: bool = True) -> Any:
    """Maps every node: what ``func`` returns takes its place, None leaves it."""
    if top_down:
        replaced = func(structure)
        if replaced is not None:
            return replaced
    if isinstance(structure, (list, tuple)):
        structure = _like(structure, [traverse(func, item, top_down) for item in structure])
    elif isinstance(structure, dict):
        structure = {key: traverse(func, item, top_down) for key, item in structure.items()}
    if not top_down:
        replaced = func(structure)
        if replaced is not None:
            return replaced
    return structure


def assert_same_structure(a: Any, b: Any) -> None:
    """Raises ValueError if the two differ in more than their leaves."""
    same = is_nested(a) == is_nested(b)
    if same and isinstance(a, (list, tuple)):
        same = type(a) is type(b) and len(a) == len(b)
        if same:
            for x, y in zip(a, b, strict=True):
                assert_same_structure(x, y)
    elif same and isinstance(a, dict):
        same = isinstance(b, dict) and set(a) == set(b)
        if same:
            for key in a:
                assert_same_structure(a[key], b[key])
    if not same:
        raise ValueError(f"`a` and `b` don't have the same structure. a={a}, b={b}")
