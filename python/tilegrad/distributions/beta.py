"""PyTorch's module for :class:`Beta`, which stands in ``gamma``."""

from .gamma import Beta

__all__ = ["Beta"]
