"""PyTorch's module for :class:`Gumbel`, which stands in ``continuous``."""

from .continuous import Gumbel

__all__ = ["Gumbel"]
