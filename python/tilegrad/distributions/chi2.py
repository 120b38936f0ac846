"""PyTorch's module for :class:`Chi2`, which stands in ``gamma``."""

from .gamma import Chi2

__all__ = ["Chi2"]
