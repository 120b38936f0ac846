"""Hooks: ordered dictionaries of callables, and the handle that takes one out again."""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

__all__ = ["RemovableHandle"]

_ids = itertools.count()


class RemovableHandle:
    """What registering a hook returns: ``remove()`` unregisters it, as does leaving a ``with``.

    The handle knows the dictionary weakly, so keeping it does not keep the hooked object alive.
    """

    def __init__(self, hooks: OrderedDict) -> None:
        self.id = next(_ids)
        self._hooks = weakref.ref(hooks)

    @classmethod
    def add(cls, hooks: OrderedDict, hook: Callable[..., Any]) -> RemovableHandle:
        """Appends ``hook`` to ``hooks`` under a fresh number."""
        handle = cls(hooks)
        hooks[handle.id] = hook
        return handle

    def remove(self) -> None:
        """Unregisters the hook; a second call does nothing."""
        hooks = self._hooks()
        if hooks is not None:
            hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()
