"""What a string, a configuration, a class or an instance means: the ``get`` of every room."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from .registry import deserialize_keras_object, get_registered_object

__all__ = ["resolve"]


def resolve(what: str, identifier: Any, by_name: Mapping[str, Any], calls: bool = False) -> Any:
    """The object that ``identifier`` names or is; classes are called without arguments.

    ``by_name`` holds the names of the room, ``what`` is its kind, for the complaint. Raises
    ValueError for an unknown name and for what cannot be called.
    """
    if identifier is None:
        return None
    if isinstance(identifier, dict):
        found = deserialize_keras_object(identifier)
    elif isinstance(identifier, str):
        found = by_name.get(identifier)
        if found is None:
            found = get_registered_object(identifier)
        if found is None:
            near = difflib.get_close_matches(identifier, list(by_name), n=3, cutoff=0.5)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
            raise ValueError(f"Could not interpret {what} identifier: {identifier!r}{hint}")
    else:
        found = identifier
    if inspect.isclass(found):
        found = found()
    if callable(found) or (not calls and hasattr(found, "get_config")):
        return found
    raise ValueError(
        f"Could not interpret {what} identifier: {identifier!r}: expected a name, a configuration, "
        f"a class or an instance, got {type(identifier).__name__}"
    )
