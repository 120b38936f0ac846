"""Transformed exponential, uniform, Cauchy, gamma and normal numbers, each with its moments."""

from __future__ import annotations

import math
from typing import Any

from ..ops.fill import full_like, ones_like
from . import constraints
from .continuous import EULER, Cauchy, Exponential
from .distribution import Distribution
from .gamma import Gamma
from .normal import Normal
from .transformed_distribution import TransformedDistribution
from .transforms import (
    AbsTransform,
    AffineTransform,
    ExpTransform,
    PowerTransform,
    StickBreakingTransform,
)
from .uniform import Uniform
from .utils import broadcast_all, special

__all__ = [
    "HalfCauchy",
    "HalfNormal",
    "InverseGamma",
    "Kumaraswamy",
    "LogisticNormal",
    "Pareto",
    "Weibull",
]


class _Named(TransformedDistribution):
    """Parameters that are broadcast and expanded together with the base."""

    _names: tuple[str, ...] = ()
    has_rsample = True

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        named = {name: getattr(self, name).expand(*batch_shape) for name in self._names}
        return type(self)(**named, validate_args=False)._checking(self._validate_args)

    def _checking(self, value: bool) -> Any:
        self._validate_args = value
        return self


class _Folded(_Named):
    """The size of a number that is symmetric about 0, of one ``scale``."""

    arg_constraints = {"scale": constraints.positive}  # noqa: RUF012
    support = constraints.nonnegative
    _names = ("scale",)
    _symmetric: type[Distribution]

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        (self.scale,) = broadcast_all(scale)
        base = type(self)._symmetric(0 * self.scale, self.scale, validate_args=False)
        super().__init__(base, AbsTransform(), validate_args=validate_args)

    @property
    def mode(self) -> Any:
        """0."""
        return 0 * self.scale

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density; -inf below 0."""
        if self._validate_args:
            self._validate_sample(value)
        density = self.base_dist.log_prob(value) + math.log(2)
        return density.masked_fill(value < 0, -math.inf)

    def cdf(self, value: Any) -> Any:
        """The probability of values up to the given ones."""
        if self._validate_args:
            self._validate_sample(value)
        return 2 * self.base_dist.cdf(value) - 1

    def icdf(self, value: Any) -> Any:
        """The inverse of :meth:`cdf`."""
        return self.base_dist.icdf((value + 1) / 2)

    def entropy(self) -> Any:
        """That of the symmetric number less log 2."""
        return self.base_dist.entropy() - math.log(2)


class HalfCauchy(_Folded):
    """The size of a Cauchy number of median 0. Raises ValueError for scales not positive."""

    _symmetric = Cauchy

    @property
    def mean(self) -> Any:
        """Infinite."""
        return full_like(self.scale, math.inf)

    @property
    def variance(self) -> Any:
        """Infinite."""
        return full_like(self.scale, math.inf)


class HalfNormal(_Folded):
    """The size of a normal number of mean 0. Raises ValueError for a scale not positive."""

    _symmetric = Normal

    @property
    def mean(self) -> Any:
        """``scale * sqrt(2 / pi)``."""
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def variance(self) -> Any:
        """``scale ** 2 * (1 - 2 / pi)``."""
        return self.scale.square() * (1 - 2 / math.pi)


class InverseGamma(_Named):
    """One over a gamma number of these parameters. Raises ValueError unless both are positive."""

    arg_constraints = {  # noqa: RUF012
        "concentration": constraints.positive, "rate": constraints.positive,
    }  # fmt: skip
    support = constraints.positive
    _names = ("concentration", "rate")

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        base = Gamma(concentration, rate, validate_args=validate_args)
        minus = -ones_like(base.rate)
        super().__init__(base, PowerTransform(minus), validate_args=validate_args)

    @property
    def concentration(self) -> Any:
        """The gamma number's concentration."""
        return self.base_dist.concentration

    @property
    def rate(self) -> Any:
        """The gamma number's rate."""
        return self.base_dist.rate

    @property
    def mean(self) -> Any:
        """``rate / (concentration - 1)``, infinite for concentrations up to 1."""
        found = self.rate / (self.concentration - 1)
        return found.masked_fill(self.concentration <= 1, math.inf)

    @property
    def mode(self) -> Any:
        """``rate / (concentration + 1)``."""
        return self.rate / (self.concentration + 1)

    @property
    def variance(self) -> Any:
        """The variance, infinite for concentrations up to 2."""
        less = self.concentration - 1
        found = self.rate.square() / (less.square() * (self.concentration - 2))
        return found.masked_fill(self.concentration <= 2, math.inf)

    def entropy(self) -> Any:
        """The entropy in nats."""
        a = self.concentration
        slope = (1 + a) * special("digamma")(a)
        return a + self.rate.log() + special("lgamma")(a) - slope


class Kumaraswamy(_Named):
    """Numbers in [0, 1] like beta numbers, with a simple distribution function.

    Raises ValueError unless both concentrations are positive.
    """

    arg_constraints = {  # noqa: RUF012
        "concentration1": constraints.positive, "concentration0": constraints.positive,
    }  # fmt: skip
    support = constraints.unit_interval
    _names = ("concentration1", "concentration0")

    def __init__(
        self, concentration1: Any, concentration0: Any, validate_args: bool | None = None
    ) -> None:
        a, b = broadcast_all(concentration1, concentration0)
        self.concentration1, self.concentration0 = a, b
        base = Uniform(full_like(b, 0), full_like(b, 1), validate_args=validate_args)
        parts = [
            PowerTransform(b.reciprocal()), AffineTransform(1.0, -1.0),
            PowerTransform(a.reciprocal()),
        ]  # fmt: skip
        super().__init__(base, parts, validate_args=validate_args)

    def _moment(self, n: int) -> Any:
        a, b, lgamma = self.concentration1, self.concentration0, special("lgamma")
        one = 1 + n / a
        return b * (lgamma(one) + lgamma(b) - lgamma(one + b)).exp()

    @property
    def mean(self) -> Any:
        """The mean."""
        return self._moment(1)

    @property
    def mode(self) -> Any:
        """The mode; NaN where a concentration is below 1."""
        a, b = self.concentration1, self.concentration0
        found = (a.reciprocal() * (-b).log1p() - (-a * b).log1p()).exp()
        return found.masked_fill((a < 1) | (b < 1), math.nan)

    @property
    def variance(self) -> Any:
        """The variance."""
        return self._moment(2) - self.mean.square()

    def entropy(self) -> Any:
        """The entropy in nats."""
        a, b = self.concentration1, self.concentration0
        harmonic = special("digamma")(b + 1) + EULER
        return (1 - b.reciprocal()) + (1 - a.reciprocal()) * harmonic - a.log() - b.log()


class LogisticNormal(TransformedDistribution):
    """Points of a simplex: normal vectors broken off a stick. ValueError for negative scales."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012
    support = constraints.simplex
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        base = Normal(loc, scale, validate_args=validate_args)
        if not base.batch_shape:
            base = base.expand((1,))
        super().__init__(base, StickBreakingTransform(), validate_args=validate_args)

    @property
    def loc(self) -> Any:
        """The mean of the normal vectors."""
        return self.base_dist.base_dist.loc

    @property
    def scale(self) -> Any:
        """The standard deviations of the normal vectors."""
        return self.base_dist.base_dist.scale


class Pareto(_Named):
    """Density ``alpha * scale ** alpha / x ** (alpha + 1)`` from ``scale`` on.

    Raises ValueError unless both are positive.
    """

    arg_constraints = {  # noqa: RUF012
        "alpha": constraints.positive, "scale": constraints.positive,
    }  # fmt: skip
    _names = ("scale", "alpha")

    def __init__(self, scale: Any, alpha: Any, validate_args: bool | None = None) -> None:
        self.scale, self.alpha = broadcast_all(scale, alpha)
        base = Exponential(self.alpha, validate_args=validate_args)
        parts = [ExpTransform(), AffineTransform(0, self.scale)]
        super().__init__(base, parts, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        """Numbers from the scale on."""
        return constraints.greater_than_eq(self.scale)

    @property
    def mean(self) -> Any:
        """The mean, infinite for ``alpha`` up to 1."""
        a = self.alpha.clamp(min=1)
        return a * self.scale / (a - 1)

    @property
    def mode(self) -> Any:
        """The scale."""
        return self.scale

    @property
    def variance(self) -> Any:
        """The variance, infinite for ``alpha`` up to 2."""
        a = self.alpha.clamp(min=2)
        return self.scale.square() * a / ((a - 1).square() * (a - 2))

    def entropy(self) -> Any:
        """The entropy in nats."""
        return (self.scale / self.alpha).log() + (1 + self.alpha.reciprocal())


class Weibull(_Named):
    """``scale`` times a power, 1 / ``concentration``, of an exponential number.

    Raises ValueError unless both are positive.
    """

    arg_constraints = {  # noqa: RUF012
        "scale": constraints.positive, "concentration": constraints.positive,
    }  # fmt: skip
    support = constraints.positive
    _names = ("scale", "concentration")

    def __init__(self, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.scale, self.concentration = broadcast_all(scale, concentration)
        self.concentration_reciprocal = self.concentration.reciprocal()
        base = Exponential(ones_like(self.scale), validate_args=validate_args)
        parts = [PowerTransform(self.concentration_reciprocal), AffineTransform(0, self.scale)]
        super().__init__(base, parts, validate_args=validate_args)

    def _gamma(self, n: int) -> Any:
        return special("lgamma")(1 + n * self.concentration_reciprocal)

    @property
    def mean(self) -> Any:
        """The mean."""
        return self.scale * self._gamma(1).exp()

    @property
    def mode(self) -> Any:
        """The mode."""
        c = self.concentration
        return self.scale * ((c - 1) / c) ** c.reciprocal()

    @property
    def variance(self) -> Any:
        """The variance."""
        return self.scale.square() * (self._gamma(2).exp() - (2 * self._gamma(1)).exp())

    def entropy(self) -> Any:
        """The entropy in nats."""
        reciprocal = self.concentration_reciprocal
        return EULER * (1 - reciprocal) + (self.scale * reciprocal).log() + 1
