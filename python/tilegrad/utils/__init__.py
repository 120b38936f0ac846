"""Helpers around training: ``utils.data`` feeds batches."""

from . import data, hooks

__all__ = ["data", "hooks"]
