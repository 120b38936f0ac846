"""PyTorch's module for :class:`Exponential`, which stands in ``continuous``."""

from .continuous import Exponential

__all__ = ["Exponential"]
