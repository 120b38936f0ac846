"""PyTorch's module for :class:`Dirichlet`, which stands in ``gamma``."""

from .gamma import Dirichlet

__all__ = ["Dirichlet"]
