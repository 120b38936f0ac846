"""Nested lists, tuples and dictionaries of things: ``keras.tree``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

__all__ = [
    "MAP_TO_NONE",
    "assert_same_paths",
    "assert_same_structure",
    "flatten",
    "flatten_with_path",
    "is_nested",
    "lists_to_tuples",
    "map_shape_structure",
    "map_structure",
    "map_structure_up_to",
    "pack_sequence_as",
    "traverse",
]


class MAP_TO_NONE:
    """What a function given to :func:`traverse` returns to put None in a node's place."""


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


def flatten_with_path(structure: Any) -> list[tuple[tuple, Any]]:
    """The leaves in order, each behind the indices and keys that lead to it."""
    return list(_with_path(structure, ()))


def _with_path(structure: Any, path: tuple) -> Iterator[tuple[tuple, Any]]:
    if not is_nested(structure):
        yield path, structure
        return
    keys = _keys(structure) if isinstance(structure, dict) else range(len(structure))
    for key in keys:
        yield from _with_path(structure[key], (*path, key))


def _keys(structure: dict) -> list:
    try:
        return sorted(structure)
    except TypeError:
        return list(structure)


def map_structure(func: Callable[..., Any], *structures: Any) -> Any:
    """The same structure with ``func`` of the leaves. Raises ValueError where lengths differ."""
    if not structures:
        raise ValueError("Must provide at least one structure")
    first = structures[0]
    if isinstance(first, (list, tuple)):
        items = [map_structure(func, *parts) for parts in zip(*structures, strict=True)]
        return _like(first, items)
    if isinstance(first, dict):
        return type(first)((k, map_structure(func, *(s[k] for s in structures))) for k in first)
    return func(*structures)


def map_structure_up_to(shallow_structure: Any, func: Callable[..., Any], *structures: Any) -> Any:
    """``func`` of what the structures have where ``shallow_structure`` has leaves.

    Raises ValueError without structures and where one is shallower or differs in its lengths.
    """
    if not structures:
        raise ValueError("Must provide at least one structure")
    shallow = shallow_structure
    if not is_nested(shallow):
        return func(*structures)
    keys = list(shallow) if isinstance(shallow, dict) else range(len(shallow))
    for other in structures:
        alike = isinstance(other, dict) == isinstance(shallow, dict) and is_nested(other)
        if not alike or len(other) != len(shallow):
            raise ValueError("Structures don't have the same nested structure.")
    made = [map_structure_up_to(shallow[k], func, *(s[k] for s in structures)) for k in keys]
    if isinstance(shallow, dict):
        return type(shallow)(zip(keys, made, strict=True))
    return _like(shallow, made)


def map_shape_structure(func: Callable[[Any], Any], structure: Any) -> Any:
    """The same structure with ``func`` of its shapes: lists and tuples of integers and None."""
    if isinstance(structure, (list, tuple)):
        if all(size is None or isinstance(size, int) for size in structure):
            return func(structure)
        return _like(structure, [map_shape_structure(func, item) for item in structure])
    if isinstance(structure, dict):
        return {key: map_shape_structure(func, item) for key, item in structure.items()}
    return func(structure)


def lists_to_tuples(structure: Any) -> Any:
    """The same structure with a tuple for every list."""
    return traverse(lambda x: tuple(x) if isinstance(x, list) else None, structure, False)


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
    """Maps every node: what ``func`` returns takes its place, None leaves it, and
    :class:`MAP_TO_NONE` stands for None."""
    if top_down:
        replaced = func(structure)
        if replaced is not None:
            return None if replaced is MAP_TO_NONE else replaced
    if isinstance(structure, (list, tuple)):
        structure = _like(structure, [traverse(func, item, top_down) for item in structure])
    elif isinstance(structure, dict):
        structure = {key: traverse(func, item, top_down) for key, item in structure.items()}
    if not top_down:
        replaced = func(structure)
        if replaced is not None:
            return None if replaced is MAP_TO_NONE else replaced
    return structure


def assert_same_paths(a: Any, b: Any) -> None:
    """Raises ValueError unless the same indices and keys lead to the leaves of both."""
    first, second = ({path for path, _ in flatten_with_path(x)} for x in (a, b))
    if first != second:
        message = "`a` and `b` don't have the same paths."
        if first - second:
            message += f"\nPaths in `a` missing in `b`:\n{first - second}"
        if second - first:
            message += f"\nPaths in `b` missing in `a`:\n{second - first}"
        raise ValueError(message)


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
