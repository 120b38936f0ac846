"""PyTorch's module for :class:`LogNormal`, which stands in ``transformed``."""

from .transformed import LogNormal

__all__ = ["LogNormal"]
