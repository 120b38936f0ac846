"""Helpers around training: ``utils.data`` feeds batches."""

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
