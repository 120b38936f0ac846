"""PyTorch's module for :class:`StudentT`, which stands in ``gamma``."""

from .gamma import StudentT

__all__ = ["StudentT"]
