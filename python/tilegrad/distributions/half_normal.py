"""PyTorch's module for :class:`HalfNormal`, which stands in ``transformed``."""

from .transformed import HalfNormal

__all__ = ["HalfNormal"]
