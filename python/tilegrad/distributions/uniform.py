"""The uniform distribution."""

from __future__ import annotations

from typing import Any

from ..ops.random import rand
from . import constraints
from .distribution import Distribution
from .utils import broadcast_all

__all__ = ["Uniform"]


class Uniform(Distribution):
    """Uniform in [low, high), which broadcast. Raises ValueError unless ``low < high``."""

    has_rsample = True
    arg_constraints = {  # noqa: RUF012
        "low": constraints.dependent, "high": constraints.dependent,
    }  # fmt: skip

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        self.low, self.high = broadcast_all(low, high)
        super().__init__(self.low.size(), validate_args=validate_args)
        if self._validate_args and not (self.low < self.high).all().item():
            raise ValueError("Uniform is not defined when low>= high")

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        low, high = self.low.expand(*batch_shape), self.high.expand(*batch_shape)
        return self._expanded(batch_shape, low=low, high=high)

    @property
    def support(self) -> Any:
        """The interval from low to high."""
        return constraints.interval(self.low, self.high)

    @property
    def mean(self) -> Any:
        """The middle."""
        return (self.high + self.low) / 2

    @property
    def mode(self) -> Any:
        """NaN: all values are equally probable."""
        return self.high * float("nan")

    @property
    def stddev(self) -> Any:
        """The width over the root of 12."""
        return (self.high - self.low) / 12**0.5

    @property
    def variance(self) -> Any:
        """The squared width over 12."""
        return (self.high - self.low).square() / 12

    def rsample(self, sample_shape: Any = ()) -> Any:
        """``low + (high - low)`` times uniform numbers."""
        shape = self._extended_shape(sample_shape)
        noise = rand(*shape, dtype=self.low.dtype, device=self.low.device)
        return self.low + noise * (self.high - self.low)

    def log_prob(self, value: Any) -> Any:
        """``-log(high - low)`` inside, -inf outside."""
        if self._validate_args:
            self._validate_sample(value)
        inside = (self.low <= value) & (self.high > value)
        return inside.to(self.low.dtype).log() - (self.high - self.low).log()

    def cdf(self, value: Any) -> Any:
        """The probability of values up to the given ones."""
        if self._validate_args:
            self._validate_sample(value)
        return ((value - self.low) / (self.high - self.low)).clamp(min=0, max=1)

    def icdf(self, value: Any) -> Any:
        """The inverse of :meth:`cdf`."""
        return value * (self.high - self.low) + self.low

    def entropy(self) -> Any:
        """``log(high - low)``."""
        return (self.high - self.low).log()
