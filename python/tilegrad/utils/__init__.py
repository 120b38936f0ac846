"""Tools beside the tensors: ``utils.data`` feeds batches, ``utils.hooks`` has the handles of hooks.

<<<<<<< HEAD
Nothing is imported here: autograd needs ``utils.hooks`` before there are operations to build on.
"""
||||||| 88de780
from . import data, hooks

__all__ = ["data", "hooks"]
=======
from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import data as data

__all__ = ["data", "hooks"]


def __getattr__(name: str) -> Any:
    """Imports ``data`` when first used: it stands on the operations, and they on ``hooks``."""
    if name in __all__:
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
>>>>>>> nn
