"""Exponential, Laplace, Gumbel and Cauchy: functions of uniform numbers."""

from __future__ import annotations

import math
from typing import Any

from .. import _C
from .._limits import finfo
from ..ops.random import rand
from . import constraints
from .distribution import Distribution
from .utils import broadcast_all

__all__ = ["Cauchy", "Exponential", "Gumbel", "Laplace"]

EULER = 0.5772156649015329


class Exponential(Distribution):
    """Density ``rate * exp(-rate * x)`` from 0 on. Raises ValueError for rates not positive."""

    arg_constraints = {"rate": constraints.positive}  # noqa: RUF012
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        return self._expanded(batch_shape, rate=self.rate.expand(*batch_shape))

    @property
    def mean(self) -> Any:
        """``1 / rate``."""
        return self.rate.reciprocal()

    @property
    def mode(self) -> Any:
        """0."""
        return 0 * self.rate

    @property
    def stddev(self) -> Any:
        """``1 / rate``."""
        return self.rate.reciprocal()

    @property
    def variance(self) -> Any:
        """``1 / rate ** 2``."""
        return self.rate.pow(-2)

    def rsample(self, sample_shape: Any = ()) -> Any:
        """Standard exponential numbers over the rate."""
        shape = tuple(self._extended_shape(sample_shape))
        noise: Any = _C.empty(shape, self.rate.dtype, self.rate.device)
        return noise.exponential_() / self.rate

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density."""
        if self._validate_args:
            self._validate_sample(value)
        return self.rate.log() - self.rate * value

    def cdf(self, value: Any) -> Any:
        """The probability of values up to the given ones."""
        if self._validate_args:
            self._validate_sample(value)
        return 1 - (-self.rate * value).exp()

    def icdf(self, value: Any) -> Any:
        """The inverse of :meth:`cdf`."""
        return -(-value).log1p() / self.rate

    def entropy(self) -> Any:
        """``1 - log(rate)``."""
        return 1.0 - self.rate.log()


class _LocationScale(Distribution):
    """What the others share: ``loc`` and a positive ``scale``, which broadcast."""

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

    def _noise(self, sample_shape: Any) -> Any:
        shape = tuple(self._extended_shape(sample_shape))
        return _C.empty(shape, self.loc.dtype, self.loc.device)


class Laplace(_LocationScale):
    """Density ``exp(-|x - loc| / scale) / (2 scale)``. ValueError for scales not positive."""

    @property
    def variance(self) -> Any:
        """``2 * scale ** 2``."""
        return 2 * self.scale * self.scale

    @property
    def stddev(self) -> Any:
        """``sqrt(2) * scale``."""
        return 2**0.5 * self.scale

    def rsample(self, sample_shape: Any = ()) -> Any:
        """``loc`` and an exponential number on either side of it."""
        u = self._noise(sample_shape).uniform_(finfo(self.loc.dtype).eps - 1, 1)
        return self.loc - self.scale * u.sign() * (-u.abs()).log1p()

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density."""
        if self._validate_args:
            self._validate_sample(value)
        return -(2 * self.scale).log() - (value - self.loc).abs() / self.scale

    def cdf(self, value: Any) -> Any:
        """The probability of values up to the given ones."""
        if self._validate_args:
            self._validate_sample(value)
        distance = value - self.loc
        return 0.5 - 0.5 * distance.sign() * (-distance.abs() / self.scale).expm1()

    def icdf(self, value: Any) -> Any:
        """The inverse of :meth:`cdf`."""
        term = value - 0.5
        return self.loc - self.scale * term.sign() * (-2 * term.abs()).log1p()

    def entropy(self) -> Any:
        """``1 + log(2 scale)``."""
        return 1 + (2 * self.scale).log()


class Gumbel(_LocationScale):
    """The distribution of maxima. ValueError for scales not positive."""

    @property
    def mean(self) -> Any:
        """``loc`` and Euler's constant times ``scale``."""
        return self.loc + self.scale * EULER

    @property
    def stddev(self) -> Any:
        """``pi / sqrt(6) * scale``."""
        return math.pi / math.sqrt(6) * self.scale

    @property
    def variance(self) -> Any:
        """The squared standard deviation."""
        return self.stddev.square()

    def rsample(self, sample_shape: Any = ()) -> Any:
        """``loc - scale * log(-log(u))`` for uniform numbers u."""
        limits = finfo(self.loc.dtype)
        shape = self._extended_shape(sample_shape)
        uniform: Any = rand(*shape, dtype=self.loc.dtype, device=self.loc.device)
        u = limits.tiny + uniform * (1 - limits.eps - limits.tiny)
        return self.loc - self.scale * (-u.log()).log()

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density."""
        if self._validate_args:
            self._validate_sample(value)
        y = (self.loc - value) / self.scale
        return (y - y.exp()) - self.scale.log()

    def cdf(self, value: Any) -> Any:
        """The probability of values up to the given ones."""
        return (-((self.loc - value) / self.scale).exp()).exp()

    def icdf(self, value: Any) -> Any:
        """The inverse of :meth:`cdf`."""
        return self.loc - self.scale * (-value.log()).log()

    def entropy(self) -> Any:
        """``log(scale) + 1`` and Euler's constant."""
        return self.scale.log() + (1 + EULER)


class Cauchy(_LocationScale):
    """The ratio of two normal numbers; it has no mean. ValueError for scales not positive."""

    @property
    def mean(self) -> Any:
        """NaN: there is none."""
        return self.loc * math.nan

    @property
    def variance(self) -> Any:
        """Infinite."""
        return 0 * self.scale + math.inf

    def rsample(self, sample_shape: Any = ()) -> Any:
        """``loc + scale * tan(pi (u - 1/2))`` for uniform numbers u."""
        shape = tuple(self._extended_shape(sample_shape))
        # In double precision: the tails are far out.
        u: Any = _C.empty(shape, _C.float64, self.loc.device)
        noise = ((u.uniform_(0, 1) - 0.5) * math.pi).tan()
        return self.loc + noise.to(self.loc.dtype) * self.scale

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density."""
        if self._validate_args:
            self._validate_sample(value)
        y = (value - self.loc) / self.scale
        return -math.log(math.pi) - self.scale.log() - (y * y).log1p()

    def cdf(self, value: Any) -> Any:
        """The probability of values up to the given ones."""
        if self._validate_args:
            self._validate_sample(value)
        return ((value - self.loc) / self.scale).atan() / math.pi + 0.5

    def icdf(self, value: Any) -> Any:
        """The inverse of :meth:`cdf`."""
        return (math.pi * (value - 0.5)).tan() * self.scale + self.loc

    def entropy(self) -> Any:
        """``log(4 pi scale)``."""
        return math.log(4 * math.pi) + self.scale.log()
