"""Mixtures of distributions of one family."""

from __future__ import annotations

from typing import Any

from ..autograd.mode import no_grad
from . import constraints
from .categorical import Categorical
from .distribution import Distribution

__all__ = ["MixtureSameFamily"]


class MixtureSameFamily(Distribution):
    """A component of ``component_distribution`` along its last batch dimension, chosen by
    ``mixture_distribution``, a :class:`Categorical`.

    Raises ValueError for other distributions and for batch shapes or numbers of components that do
    not fit.
    """

    arg_constraints: Any = {}  # noqa: RUF012

    def __init__(
        self, mixture_distribution: Any, component_distribution: Any,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        self._mixture_distribution = mixture_distribution
        self._component_distribution = component_distribution
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError(
                "The Mixture distribution needs to be an instance of "
                "torch.distributions.Categorical"
            )
        if not isinstance(component_distribution, Distribution):
            raise ValueError(
                "The Component distribution need to be an instance of "
                "torch.distributions.Distribution"
            )
        mixed = mixture_distribution.batch_shape
        parts = tuple(component_distribution.batch_shape)
        for a, b in zip(reversed(mixed), reversed(parts[:-1]), strict=False):
            if a != 1 and b != 1 and a != b:
                raise ValueError(
                    f"`mixture_distribution.batch_shape` ({tuple(mixed)}) is not compatible with "
                    f"`component_distribution.batch_shape`({parts})"
                )
        count = mixture_distribution.logits.shape[-1]
        if not parts or parts[-1] != count:
            raise ValueError(
                f"`mixture_distribution component` ({count}) does not equal "
                f"`component_distribution.batch_shape[-1]` ({parts[-1:]})"
            )
        self._num_component = count
        event = component_distribution.event_shape
        self._event_ndims = len(event)
        super().__init__(parts[:-1], event, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        wide = (*batch_shape, self._num_component)
        return self._expanded(
            batch_shape,
            _component_distribution=self._component_distribution.expand(wide),
            _mixture_distribution=self._mixture_distribution.expand(batch_shape),
        )

    @constraints.dependent_property
    def support(self) -> Any:
        """The components' support."""
        return self._component_distribution.support

    @property
    def mixture_distribution(self) -> Any:
        """Which component is drawn."""
        return self._mixture_distribution

    @property
    def component_distribution(self) -> Any:
        """The components."""
        return self._component_distribution

    def _weights(self) -> Any:
        probs = self._mixture_distribution.probs
        return probs.reshape(*probs.shape, *(1,) * self._event_ndims)

    def _weighted(self, of_components: Any) -> Any:
        return (self._weights() * of_components).sum(-1 - self._event_ndims)

    @property
    def mean(self) -> Any:
        """The weighted mean."""
        return self._weighted(self._component_distribution.mean)

    @property
    def variance(self) -> Any:
        """The mean of the variances and the variance of the means."""
        means = self._component_distribution.mean
        distance = means - self.mean.unsqueeze(-1 - self._event_ndims)
        return self._weighted(self._component_distribution.variance) + self._weighted(
            distance.square()
        )

    def cdf(self, x: Any) -> Any:
        """The weighted probability of values up to the given ones."""
        found = self._component_distribution.cdf(x.unsqueeze(-1 - self._event_ndims))
        return (found * self._mixture_distribution.probs).sum(-1)

    def log_prob(self, x: Any) -> Any:
        """The logarithm of the density."""
        if self._validate_args:
            self._validate_sample(x)
        found = self._component_distribution.log_prob(x.unsqueeze(-1 - self._event_ndims))
        weights = self._mixture_distribution.logits.log_softmax(-1)
        return (found + weights).logsumexp(-1)

    def sample(self, sample_shape: Any = ()) -> Any:
        """Values of shape ``sample_shape + batch_shape + event_shape``."""
        with no_grad():
            chosen = self._mixture_distribution.sample(sample_shape)
            drawn = self._component_distribution.sample(sample_shape)
            dim = len(sample_shape) + len(self.batch_shape)
            chosen = chosen.reshape(*chosen.shape, *(1,) * (self._event_ndims + 1))
            shape = (*drawn.shape[:dim], 1, *drawn.shape[dim + 1 :])
            return drawn.gather(dim, chosen.expand(*shape)).squeeze(dim)

    def __repr__(self) -> str:
        return (
            f"MixtureSameFamily(\n  {self._mixture_distribution},\n  "
            f"{self._component_distribution})"
        )
