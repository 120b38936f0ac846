"""The categorical distribution of one-hot vectors."""

from __future__ import annotations

from typing import Any

from ..ops.embedding import one_hot
from ..ops.fill import eye
from . import constraints
from .categorical import Categorical
from .distribution import Distribution

__all__ = ["OneHotCategorical", "OneHotCategoricalStraightThrough"]


class OneHotCategorical(Distribution):
    """One-hot vectors, with probabilities ``probs`` or unnormalized ``logits`` (..., classes).

    Errors are those of :class:`Categorical`.
    """

    arg_constraints = {  # noqa: RUF012
        "probs": constraints.simplex, "logits": constraints.real_vector,
    }  # fmt: skip
    support = constraints.one_hot
    has_enumerate_support = True

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self._categorical = Categorical(probs, logits, validate_args)
        shape = self._categorical.param_shape
        super().__init__(shape[:-1], shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        return self._expanded(batch_shape, _categorical=self._categorical.expand(batch_shape))

    @property
    def probs(self) -> Any:
        """The probabilities of the classes."""
        return self._categorical.probs

    @property
    def logits(self) -> Any:
        """The logarithms of the probabilities."""
        return self._categorical.logits

    @property
    def mean(self) -> Any:
        """The probabilities."""
        return self.probs

    @property
    def mode(self) -> Any:
        """The most probable class."""
        return one_hot(self.probs.argmax(-1), self.probs.shape[-1]).to(self.probs.dtype)

    @property
    def variance(self) -> Any:
        """``probs * (1 - probs)``."""
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Any:
        """One-hot vectors of shape ``sample_shape + batch_shape + (classes,)``."""
        classes = self._categorical.sample(sample_shape)
        return one_hot(classes, self.event_shape[0]).to(self.probs.dtype)

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the probability of one-hot vectors."""
        if self._validate_args:
            self._validate_sample(value)
        return self._categorical.log_prob(value.argmax(-1))

    def entropy(self) -> Any:
        """The entropy in nats."""
        return self._categorical.entropy()

    def enumerate_support(self, expand: bool = True) -> Any:
        """All one-hot vectors along a new first dimension."""
        size = self.event_shape[0]
        values = eye(size, dtype=self.probs.dtype, device=self.probs.device)
        values = values.view(size, *(1,) * len(self.batch_shape), size)
        return values.expand(size, *self.batch_shape, size) if expand else values


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """:class:`OneHotCategorical` whose samples pass the gradient to the probabilities."""

    has_rsample = True

    def rsample(self, sample_shape: Any = ()) -> Any:
        """A sample with the gradient of ``probs`` (Bengio et al., 2013)."""
        sample = self.sample(sample_shape)
        return sample + (self.probs - self.probs.detach())
