"""Handles of registered hooks, shared by modules and optimizers."""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict
from typing import Any

__all__ = ["RemovableHandle", "add_hook"]

_next_id = itertools.count()


class RemovableHandle:
    """What registering a hook returns: ``remove()`` takes the hook away. Also a context manager."""

    def __init__(self, hooks: OrderedDict) -> None:
        self.id = next(_next_id)
        self._hooks = weakref.ref(hooks)

    def remove(self) -> None:
        """Unregisters the hook; a second call does nothing."""
        hooks = self._hooks()
        if hooks is not None:
            hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def add_hook(hooks: OrderedDict, entry: Any, prepend: bool = False) -> RemovableHandle:
    """Registers ``entry`` as the last hook, or the first."""
    handle = RemovableHandle(hooks)
    hooks[handle.id] = entry
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle
