"""Ratios of chi-squared numbers."""

from __future__ import annotations

import math
from typing import Any

from .._limits import finfo
from . import constraints
from .distribution import Distribution
from .gamma import Gamma
from .utils import broadcast_all, special

__all__ = ["FisherSnedecor"]


class FisherSnedecor(Distribution):
    """The ratio of two chi-squared numbers, each over its degrees of freedom: the F distribution.

    Raises ValueError unless both degrees are positive.
    """

    arg_constraints = {"df1": constraints.positive, "df2": constraints.positive}  # noqa: RUF012
    support = constraints.positive
    has_rsample = True

    def __init__(self, df1: Any, df2: Any, validate_args: bool | None = None) -> None:
        self.df1, self.df2 = broadcast_all(df1, df2)
        self._gamma1 = Gamma(self.df1 * 0.5, self.df1, validate_args=validate_args)
        self._gamma2 = Gamma(self.df2 * 0.5, self.df2, validate_args=validate_args)
        super().__init__(self.df1.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        return self._expanded(
            batch_shape,
            df1=self.df1.expand(*batch_shape),
            df2=self.df2.expand(*batch_shape),
            _gamma1=self._gamma1.expand(batch_shape),
            _gamma2=self._gamma2.expand(batch_shape),
        )

    @property
    def mean(self) -> Any:
        """``df2 / (df2 - 2)``, NaN for ``df2`` up to 2."""
        df2 = self.df2.masked_fill(self.df2 <= 2, math.nan)
        return df2 / (df2 - 2)

    @property
    def mode(self) -> Any:
        """The mode, NaN for ``df1`` up to 2."""
        mode = (self.df1 - 2) / self.df1 * self.df2 / (self.df2 + 2)
        return mode.masked_fill(self.df1 <= 2, math.nan)

    @property
    def variance(self) -> Any:
        """The variance, NaN for ``df2`` up to 4."""
        df1, df2 = self.df1, self.df2.masked_fill(self.df2 <= 4, math.nan)
        spread = df1 * (df2 - 2).square() * (df2 - 4)
        return 2 * df2.square() * (df1 + df2 - 2) / spread

    def rsample(self, sample_shape: Any = ()) -> Any:
        """Values of shape ``sample_shape + batch_shape``, with gradients."""
        tiny = finfo(self.df1.dtype).tiny
        above, below = (g.rsample(sample_shape) for g in (self._gamma1, self._gamma2))
        return (above / below.clamp(min=tiny)).clamp(min=tiny)

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density."""
        if self._validate_args:
            self._validate_sample(value)
        half1, half2, lgamma = self.df1 * 0.5, self.df2 * 0.5, special("lgamma")
        ratio, both = self.df1 / self.df2, half1 + half2
        norm = lgamma(both) - lgamma(half1) - lgamma(half2)
        power = half1 * ratio.log() + (half1 - 1) * value.log()
        return norm + power - both * (ratio * value).log1p()
