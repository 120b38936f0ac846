"""PyTorch's module for :class:`MultivariateNormal`, which stands in ``transformed``."""

from .transformed import MultivariateNormal

__all__ = ["MultivariateNormal"]
