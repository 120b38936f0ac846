"""The normal distribution."""

from __future__ import annotations

import math
from typing import Any

from ..autograd.mode import no_grad
from ..ops.random import normal
from . import constraints
from .distribution import Distribution
from .utils import broadcast_all, special, standard_normal

__all__ = ["Normal"]


class Normal(Distribution):
    """The normal distribution of mean ``loc`` and standard deviation ``scale``, which broadcast.

    Raises ValueError for a scale that is not positive.
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        loc, scale = self.loc.expand(*batch_shape), self.scale.expand(*batch_shape)
        return self._expanded(batch_shape, loc=loc, scale=scale)

    @property
    def mean(self) -> Any:
        """``loc``."""
        return self.loc

    @property
    def mode(self) -> Any:
        """``loc``."""
        return self.loc

    @property
    def stddev(self) -> Any:
        """``scale``."""
        return self.scale

    @property
    def variance(self) -> Any:
        """``scale ** 2``."""
        return self.scale * self.scale

    def sample(self, sample_shape: Any = ()) -> Any:
        """Values of shape ``sample_shape + batch_shape``, without gradients."""
        shape = self._extended_shape(sample_shape)
        with no_grad():
            return normal(self.loc.expand(*shape), self.scale.expand(*shape))

    def rsample(self, sample_shape: Any = ()) -> Any:
        """``loc + scale`` times standard normal numbers."""
        noise = standard_normal(self._extended_shape(sample_shape), self.loc)
        return self.loc + noise * self.scale

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density."""
        if self._validate_args:
            self._validate_sample(value)
        distance = value - self.loc
        constant = math.log(math.sqrt(2 * math.pi))
        return -(distance * distance) / (2 * self.variance) - self.scale.log() - constant

    def cdf(self, value: Any) -> Any:
        """The probability of values up to the given ones."""
        if self._validate_args:
            self._validate_sample(value)
        return 0.5 * (1 + ((value - self.loc) / (self.scale * math.sqrt(2))).erf())

    def icdf(self, value: Any) -> Any:
        """The inverse of :meth:`cdf`."""
        return self.loc + self.scale * special("erfinv")(2 * value - 1) * math.sqrt(2)

    def entropy(self) -> Any:
        """``log(scale) + log(2 pi e) / 2``."""
        return 0.5 + 0.5 * math.log(2 * math.pi) + self.scale.log()
