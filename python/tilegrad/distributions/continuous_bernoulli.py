"""A density on [0, 1] in the shape of the Bernoulli distribution.

Loaiza-Ganem and Cunningham, "The continuous Bernoulli", 2019.
"""

from __future__ import annotations

import math
from typing import Any

from ..nn.loss_functions import binary_cross_entropy_with_logits
from ..ops.fill import full_like
from ..ops.random import rand
from ..ops.where import where
from . import constraints
from .counts import _OfTrials
from .utils import broadcast_all, clamp_probs

__all__ = ["ContinuousBernoulli"]


class ContinuousBernoulli(_OfTrials):
    """Numbers in [0, 1], density proportional to ``probs ** x * (1 - probs) ** (1 - x)``.

    Between the two ``lims`` around 1/2 formulas cancel and series take over. Raises ValueError
    unless exactly one of ``probs`` and ``logits`` is given, and for probabilities outside [0, 1].
    """

    arg_constraints = {  # noqa: RUF012
        "probs": constraints.unit_interval, "logits": constraints.real,
    }  # fmt: skip
    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self, probs: Any = None, logits: Any = None, lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        self._take(probs, logits)
        self._lims = lims
        super().__init__(self._param.size(), validate_args=validate_args)
        if "probs" in self.__dict__:
            self.probs = clamp_probs(self.probs)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        name = "probs" if "logits" not in self.__dict__ else "logits"
        param = getattr(self, name).expand(*batch_shape)
        return self._expanded(batch_shape, _param=param, **{name: param})

    def _outside(self) -> Any:
        """Where the formulas are accurate."""
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    def _cut(self) -> Any:
        """The probabilities, moved out of the middle."""
        return where(self._outside(), self.probs, full_like(self.probs, self._lims[0]))

    def _log_norm(self) -> Any:
        cut = self._cut()
        low = where(cut <= 0.5, cut, 0 * cut)
        high = where(cut >= 0.5, cut, 0 * cut + 1)
        width = where(cut <= 0.5, (-2.0 * low).log1p(), (2.0 * high - 1.0).log())
        exact = ((-cut).log1p() - cut.log()).abs().log() - width
        x = (self.probs - 0.5).square()
        return where(self._outside(), exact, math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * x) * x)

    @property
    def mean(self) -> Any:
        """The mean."""
        cut = self._cut()
        exact = cut / (2.0 * cut - 1.0) + 1.0 / ((-cut).log1p() - cut.log())
        x = self.probs - 0.5
        return where(self._outside(), exact, 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x.square()) * x)

    @property
    def variance(self) -> Any:
        """The variance."""
        cut = self._cut()
        exact = cut * (cut - 1.0) / (1.0 - 2.0 * cut).square()
        exact = exact + 1.0 / ((-cut).log1p() - cut.log()).square()
        x = (self.probs - 0.5).square()
        return where(self._outside(), exact, 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * x) * x)

    @property
    def stddev(self) -> Any:
        """The square root of the variance."""
        return self.variance.sqrt()

    def rsample(self, sample_shape: Any = ()) -> Any:
        """Uniform numbers through :meth:`icdf`."""
        shape = self._extended_shape(sample_shape)
        return self.icdf(rand(*shape, dtype=self.probs.dtype, device=self.probs.device))

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density."""
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        loss = binary_cross_entropy_with_logits(logits, value, reduction="none")
        return -loss + self._log_norm()

    def cdf(self, value: Any) -> Any:
        """The probability of values up to the given ones."""
        if self._validate_args:
            self._validate_sample(value)
        cut = self._cut()
        exact = (cut**value * (1.0 - cut) ** (1.0 - value) + cut - 1.0) / (2.0 * cut - 1.0)
        inside = where(self._outside(), exact, value)
        inside = where(value <= 0.0, 0 * inside, inside)
        return where(value >= 1.0, 0 * inside + 1, inside)

    def icdf(self, value: Any) -> Any:
        """The inverse of :meth:`cdf`."""
        cut = self._cut()
        start = (-cut).log1p()
        exact = ((-cut + value * (2.0 * cut - 1.0)).log1p() - start) / (cut.log() - start)
        return where(self._outside(), exact, value)

    def entropy(self) -> Any:
        """The entropy in nats."""
        off, on = (-self.probs).log1p(), self.probs.log()
        return self.mean * (off - on) - self._log_norm() - off
