"""The gamma distribution and what is made of it: chi-squared, beta, Dirichlet, Student's t.

All draw from :func:`standard_gamma`, and their samples have its gradients.
"""

from __future__ import annotations

import math
from typing import Any

from .._limits import finfo
from ..ops.join import stack
from ..ops.where import where
from . import constraints
from .distribution import Distribution
from .standard_gamma import standard_gamma
from .utils import broadcast_all, special, standard_normal

__all__ = ["Beta", "Chi2", "Dirichlet", "Gamma", "StudentT"]


class Gamma(Distribution):
    """Density proportional to ``x ** (concentration - 1) * exp(-rate * x)``; both broadcast.

    Raises ValueError unless both are positive.
    """

    arg_constraints = {  # noqa: RUF012
        "concentration": constraints.positive, "rate": constraints.positive,
    }  # fmt: skip
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.concentration.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        concentration, rate = (x.expand(*batch_shape) for x in (self.concentration, self.rate))
        return self._expanded(batch_shape, concentration=concentration, rate=rate)

    @property
    def mean(self) -> Any:
        """``concentration / rate``."""
        return self.concentration / self.rate

    @property
    def mode(self) -> Any:
        """``(concentration - 1) / rate``, at least 0."""
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Any:
        """``concentration / rate ** 2``."""
        return self.concentration / self.rate.square()

    def rsample(self, sample_shape: Any = ()) -> Any:
        """Values of shape ``sample_shape + batch_shape``, with gradients."""
        shape = self._extended_shape(sample_shape)
        value = standard_gamma(self.concentration.expand(*shape)) / self.rate.expand(*shape)
        return value.clamp(min=finfo(value.dtype).tiny)

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density."""
        if self._validate_args:
            self._validate_sample(value)
        shape, rate = self.concentration, self.rate
        # 0 * log(0) is 0 here.
        power = where(shape == 1, 0 * value, (shape - 1) * value.log())
        return shape * rate.log() + power - rate * value - special("lgamma")(shape)

    def entropy(self) -> Any:
        """The entropy in nats."""
        shape = self.concentration
        slope = (1.0 - shape) * special("digamma")(shape)
        return shape - self.rate.log() + special("lgamma")(shape) + slope


class Chi2(Gamma):
    """The sum of ``df`` squared normal numbers. Raises ValueError unless ``df`` is positive."""

    def __init__(self, df: Any, validate_args: bool | None = None) -> None:
        (df,) = broadcast_all(df)
        super().__init__(0.5 * df, 0 * df + 0.5, validate_args=validate_args)

    @property
    def df(self) -> Any:
        """The degrees of freedom."""
        return 2 * self.concentration


class Dirichlet(Distribution):
    """Points of a simplex, density proportional to the product of ``x ** (concentration - 1)``.

    Raises ValueError for concentrations without dimensions or not positive.
    """

    arg_constraints = {  # noqa: RUF012
        "concentration": constraints.independent(constraints.positive, 1)
    }  # fmt: skip
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: Any, validate_args: bool | None = None) -> None:
        if concentration.ndim < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        shape = concentration.shape
        super().__init__(shape[:-1], shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        wide = self.concentration.expand(*batch_shape, *self.event_shape)
        return self._expanded(batch_shape, concentration=wide)

    @property
    def mean(self) -> Any:
        """The concentrations over their sum."""
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def variance(self) -> Any:
        """The variance of each coordinate."""
        total, mean = self.concentration.sum(-1, True), self.mean
        return mean * (1 - mean) / (total + 1)

    def rsample(self, sample_shape: Any = ()) -> Any:
        """Points of shape ``sample_shape + batch_shape + event_shape``, with gradients: gamma
        numbers divided by their sum."""
        shape = self._extended_shape(sample_shape)
        drawn = standard_gamma(self.concentration.expand(*shape))
        return drawn / drawn.sum(-1, True)

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density."""
        if self._validate_args:
            self._validate_sample(value)
        a, lgamma = self.concentration, special("lgamma")
        powers = where(a == 1, 0 * value, (a - 1) * value.log())
        return powers.sum(-1) + lgamma(a.sum(-1)) - lgamma(a).sum(-1)

    def entropy(self) -> Any:
        """The entropy in nats."""
        a, lgamma, digamma = self.concentration, special("lgamma"), special("digamma")
        k, total = a.shape[-1], a.sum(-1)
        norm = lgamma(a).sum(-1) - lgamma(total) - (k - total) * digamma(total)
        return norm - ((a - 1.0) * digamma(a)).sum(-1)


class Beta(Distribution):
    """Numbers in [0, 1], density proportional to ``x ** (a - 1) * (1 - x) ** (b - 1)``.

    ``concentration1`` is a, ``concentration0`` b; they broadcast. Raises ValueError unless both are
    positive.
    """

    arg_constraints = {  # noqa: RUF012
        "concentration1": constraints.positive, "concentration0": constraints.positive,
    }  # fmt: skip
    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self, concentration1: Any, concentration0: Any, validate_args: bool | None = None
    ) -> None:
        both = broadcast_all(concentration1, concentration0)
        self._dirichlet = Dirichlet(stack(list(both), -1), validate_args=validate_args)
        super().__init__(self._dirichlet._batch_shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        return self._expanded(batch_shape, _dirichlet=self._dirichlet.expand(batch_shape))

    @property
    def concentration1(self) -> Any:
        """The first parameter."""
        return self._dirichlet.concentration[..., 0]

    @property
    def concentration0(self) -> Any:
        """The second parameter."""
        return self._dirichlet.concentration[..., 1]

    @property
    def mean(self) -> Any:
        """``a / (a + b)``."""
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> Any:
        """``(a - 1) / (a + b - 2)``."""
        total = self.concentration1 + self.concentration0
        return (self.concentration1 - 1) / (total - 2)

    @property
    def variance(self) -> Any:
        """The variance."""
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total.square() * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Any:
        """Values of shape ``sample_shape + batch_shape``, with gradients."""
        return self._dirichlet.rsample(sample_shape)[..., 0]

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density."""
        if self._validate_args:
            self._validate_sample(value)
        return self._dirichlet.log_prob(stack([value, 1.0 - value], -1))

    def entropy(self) -> Any:
        """The entropy in nats."""
        return self._dirichlet.entropy()


class StudentT(Distribution):
    """Student's t: ``loc + scale * normal / sqrt(chi2(df) / df)``; all broadcast.

    Raises ValueError unless ``df`` and ``scale`` are positive.
    """

    arg_constraints = {  # noqa: RUF012
        "df": constraints.positive, "loc": constraints.real, "scale": constraints.positive,
    }  # fmt: skip
    support = constraints.real
    has_rsample = True

    def __init__(
        self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None
    ) -> None:
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        super().__init__(self.df.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        df, loc, scale = (x.expand(*batch_shape) for x in (self.df, self.loc, self.scale))
        return self._expanded(batch_shape, df=df, loc=loc, scale=scale)

    @property
    def mean(self) -> Any:
        """``loc``, and NaN up to one degree of freedom."""
        return self.loc.masked_fill(self.df <= 1, math.nan)

    @property
    def mode(self) -> Any:
        """``loc``."""
        return self.loc

    @property
    def variance(self) -> Any:
        """``scale ** 2 * df / (df - 2)``; infinite up to 2, NaN up to 1."""
        finite = self.scale.square() * self.df / (self.df - 2)
        return finite.masked_fill(self.df <= 2, math.inf).masked_fill(self.df <= 1, math.nan)

    def rsample(self, sample_shape: Any = ()) -> Any:
        """Values of shape ``sample_shape + batch_shape``, with gradients."""
        shape = self._extended_shape(sample_shape)
        x, df = standard_normal(shape, self.df), self.df.expand(*shape)
        chi = 2 * standard_gamma(df / 2)
        return self.loc + self.scale * x * (chi / df).rsqrt()

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density."""
        if self._validate_args:
            self._validate_sample(value)
        y, df, lgamma = (value - self.loc) / self.scale, self.df, special("lgamma")
        norm = self.scale.log() + 0.5 * df.log() + 0.5 * math.log(math.pi)
        norm = norm + lgamma(0.5 * df) - lgamma(0.5 * (df + 1.0))
        return -0.5 * (df + 1.0) * (y * y / df).log1p() - norm
