"""PyTorch's module for :class:`Laplace`, which stands in ``continuous``."""

from .continuous import Laplace

__all__ = ["Laplace"]
