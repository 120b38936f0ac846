"""PyTorch's module for :class:`HalfNormal`, which stands in ``skewed``."""

from .skewed import HalfNormal

__all__ = ["HalfNormal"]
