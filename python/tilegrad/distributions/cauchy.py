"""PyTorch's module for :class:`Cauchy`, which stands in ``continuous``."""

from .continuous import Cauchy

__all__ = ["Cauchy"]
