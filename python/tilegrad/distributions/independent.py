"""Distributions whose batch dimensions are one value."""

from __future__ import annotations

from typing import Any

from . import constraints
from .distribution import Distribution

__all__ = ["Independent"]


def sum_rightmost(value: Any, dims: int) -> Any:
    """The sum over the last ``dims`` dimensions."""
    return value if dims == 0 else value.reshape(*value.shape[:-dims], -1).sum(-1)


class Independent(Distribution):
    """Makes the last ``reinterpreted_batch_ndims`` batch dimensions part of a value.

    Raises ValueError for more dimensions than there are.
    """

    arg_constraints: Any = {}  # noqa: RUF012

    def __init__(
        self,
        base_distribution: Distribution,
        reinterpreted_batch_ndims: int,
        validate_args: bool | None = None,
    ) -> None:
        batch = tuple(base_distribution.batch_shape)
        if reinterpreted_batch_ndims > len(batch):
            raise ValueError(
                "Expected reinterpreted_batch_ndims <= len(base_distribution.batch_shape), actual "
                f"{reinterpreted_batch_ndims} vs {len(batch)}"
            )
        self.base_dist = base_distribution
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims
        keep = len(batch) - reinterpreted_batch_ndims
        event = batch[keep:] + tuple(base_distribution.event_shape)
        super().__init__(batch[:keep], event, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        inner = tuple(self.event_shape)[: self.reinterpreted_batch_ndims]
        return self._expanded(batch_shape, base_dist=self.base_dist.expand((*batch_shape, *inner)))

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether the base has differentiable samples."""
        return self.base_dist.has_rsample

    @property
    def has_enumerate_support(self) -> bool:  # type: ignore[override]
        """Whether all values can be listed."""
        return self.reinterpreted_batch_ndims == 0 and self.base_dist.has_enumerate_support

    @property
    def support(self) -> Any:
        """The base's support, for all dimensions together."""
        support = self.base_dist.support
        count = self.reinterpreted_batch_ndims
        return constraints.independent(support, count) if count else support

    @property
    def mean(self) -> Any:
        """The base's mean."""
        return self.base_dist.mean

    @property
    def mode(self) -> Any:
        """The base's mode."""
        return self.base_dist.mode

    @property
    def variance(self) -> Any:
        """The base's variance."""
        return self.base_dist.variance

    def sample(self, sample_shape: Any = ()) -> Any:
        """The base's samples."""
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Any:
        """The base's differentiable samples."""
        return self.base_dist.rsample(sample_shape)

    def log_prob(self, value: Any) -> Any:
        """The base's, summed over the dimensions of a value."""
        return sum_rightmost(self.base_dist.log_prob(value), self.reinterpreted_batch_ndims)

    def entropy(self) -> Any:
        """The base's, summed over the dimensions of a value."""
        return sum_rightmost(self.base_dist.entropy(), self.reinterpreted_batch_ndims)

    def __repr__(self) -> str:
        return f"Independent({self.base_dist}, {self.reinterpreted_batch_ndims})"
