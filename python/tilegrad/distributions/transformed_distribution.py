"""A distribution of functions of random values."""

from __future__ import annotations

from typing import Any

from ..autograd.mode import no_grad
from . import constraints
from .distribution import Distribution
from .independent import Independent, sum_rightmost
from .transform import ComposeTransform, Transform

__all__ = ["TransformedDistribution"]


class TransformedDistribution(Distribution):
    """Values of ``base_distribution`` after one or several ``transforms``.

    The density follows from the base's by the change of variables. Raises ValueError for what is no
    transform, and for a base with fewer dimensions than the transforms take.
    """

    arg_constraints: Any = {}  # noqa: RUF012

    def __init__(
        self, base_distribution: Any, transforms: Any, validate_args: bool | None = None
    ) -> None:
        given = [transforms] if isinstance(transforms, Transform) else transforms
        if not isinstance(given, list) or not all(isinstance(t, Transform) for t in given):
            raise ValueError(f"transforms must be a Transform or list, but was {transforms}")
        self.transforms = given
        base_shape = base_distribution.batch_shape + base_distribution.event_shape
        whole = ComposeTransform(given)
        if len(base_shape) < whole.domain.event_dim:
            raise ValueError(
                "base_distribution needs to have shape with size at least "
                f"{whole.domain.event_dim}, but got {base_shape}."
            )
        shape = whole.forward_shape(base_shape)
        expanded = whole.inverse_shape(shape)
        base = base_distribution
        if tuple(base_shape) != tuple(expanded):
            base = base.expand(tuple(expanded)[: len(expanded) - len(base.event_shape)])
        missing = whole.domain.event_dim - len(base.event_shape)
        self.base_dist: Any = Independent(base, missing) if missing > 0 else base
        event_dim = whole.codomain.event_dim + max(
            len(base.event_shape) - whole.domain.event_dim, 0
        )
        cut = len(shape) - event_dim
        super().__init__(shape[:cut], shape[cut:], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        whole = ComposeTransform(self.transforms)
        shape = whole.inverse_shape((*batch_shape, *self.event_shape))
        cut = len(shape) - len(self.base_dist.event_shape)
        return self._expanded(batch_shape, base_dist=self.base_dist.expand(tuple(shape)[:cut]))

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether the base has differentiable samples."""
        return self.base_dist.has_rsample

    @constraints.dependent_property(is_discrete=False)
    def support(self) -> Any:
        """What the last transform gives."""
        if not self.transforms:
            return self.base_dist.support
        codomain = self.transforms[-1].codomain
        missing = len(self.event_shape) - codomain.event_dim
        return constraints.independent(codomain, missing) if missing > 0 else codomain

    def _through(self, value: Any) -> Any:
        for transform in self.transforms:
            value = transform(value)
        return value

    def sample(self, sample_shape: Any = ()) -> Any:
        """The base's samples, transformed."""
        with no_grad():
            return self._through(self.base_dist.sample(sample_shape))

    def rsample(self, sample_shape: Any = ()) -> Any:
        """The base's differentiable samples, transformed."""
        return self._through(self.base_dist.rsample(sample_shape))

    def log_prob(self, value: Any) -> Any:
        """The base's at what the values come from, less the logarithms of the slopes."""
        if self._validate_args:
            self._validate_sample(value)
        total, event_dim, y = 0.0, len(self.event_shape), value
        for transform in reversed(self.transforms):
            x = transform.inv(y)
            event_dim += transform.domain.event_dim - transform.codomain.event_dim
            slope = transform.log_abs_det_jacobian(x, y)
            total = total - sum_rightmost(slope, event_dim - transform.domain.event_dim)
            y = x
        found = self.base_dist.log_prob(y)
        return total + sum_rightmost(found, event_dim - len(self.base_dist.event_shape))

    def _monotone(self, value: Any) -> Any:
        """A probability seen from the base: mirrored where the transforms decrease."""
        sign = 1
        for transform in self.transforms:
            sign = sign * transform.sign
        return value if isinstance(sign, int) and sign == 1 else sign * (value - 0.5) + 0.5

    def cdf(self, value: Any) -> Any:
        """The probability of values up to the given ones."""
        if self._validate_args:
            self._validate_sample(value)
        for transform in reversed(self.transforms):
            value = transform.inv(value)
        return self._monotone(self.base_dist.cdf(value))

    def icdf(self, value: Any) -> Any:
        """The inverse of :meth:`cdf`."""
        return self._through(self.base_dist.icdf(self._monotone(value)))
