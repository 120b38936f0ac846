"""The categorical distribution."""

from __future__ import annotations

from typing import Any

from .. import _C
from .._limits import finfo
from ..autograd.mode import no_grad
from ..ops.fill import arange
from ..ops.random import multinomial
from ..ops.view import broadcast_tensors
from . import constraints
from .distribution import Distribution
from .utils import lazy_property, logits_to_probs, probs_to_logits

__all__ = ["Categorical"]


class Categorical(Distribution):
    """Numbers of classes, with probabilities ``probs`` or unnormalized ``logits`` (..., classes).

    ``probs`` are divided by their sum. Raises ValueError unless exactly one of them is given, for
    none without dimensions, and for negative probabilities.
    """

    arg_constraints = {  # noqa: RUF012
        "probs": constraints.simplex, "logits": constraints.real_vector,
    }  # fmt: skip
    has_enumerate_support = True

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        if (probs is None) == (logits is None):
            raise ValueError("Either `probs` or `logits` must be specified, but not both.")
        given = logits if probs is None else probs
        if given.ndim < 1:
            what = "logits" if probs is None else "probs"
            raise ValueError(f"`{what}` parameter must be at least one-dimensional.")
        if probs is not None:
            self.probs = self._param = probs / probs.sum(-1, keepdim=True)
        else:
            self.logits = self._param = logits - logits.logsumexp(dim=-1, keepdim=True)
        self._num_events = given.shape[-1]
        super().__init__(given.shape[:-1], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        param = self._param.expand(*batch_shape, self._num_events)
        name = "probs" if self._param is self.__dict__.get("probs") else "logits"
        return self._expanded(batch_shape, _param=param, **{name: param})

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        """The integers from 0 to the number of classes less one."""
        return constraints.integer_interval(0, self._num_events - 1)

    @lazy_property
    def logits(self) -> Any:
        """The logarithms of the probabilities."""
        return probs_to_logits(self.probs)

    @lazy_property
    def probs(self) -> Any:
        """The probabilities of the classes."""
        return logits_to_probs(self.logits)

    @property
    def param_shape(self) -> Any:
        """``batch_shape + (classes,)``."""
        return self._param.size()

    @property
    def mean(self) -> Any:
        """NaN: numbers of classes have no mean."""
        shape = tuple(self._batch_shape)
        return _C.full(shape, float("nan"), self._param.dtype, self._param.device)

    @property
    def variance(self) -> Any:
        """NaN: numbers of classes have no variance."""
        return self.mean

    @property
    def mode(self) -> Any:
        """The most probable class."""
        return self.probs.argmax(-1)

    def sample(self, sample_shape: Any = ()) -> Any:
        """Numbers of classes of shape ``sample_shape + batch_shape``, int64."""
        count = 1
        for size in sample_shape:
            count *= size
        with no_grad():
            rows = self.probs.reshape(-1, self._num_events)
            drawn = multinomial(rows, count, True).t()
            return drawn.reshape(self._extended_shape(sample_shape))

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the probability of classes."""
        if self._validate_args:
            self._validate_sample(value)
        index = value.long().unsqueeze(-1)
        index, logits = broadcast_tensors(index, self.logits)
        return logits.gather(-1, index[..., :1]).squeeze(-1)

    def entropy(self) -> Any:
        """The entropy in nats."""
        logits = self.logits.clamp(min=finfo(self.logits.dtype).min)
        return -(logits * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Any:
        """All numbers of classes along a new first dimension."""
        values = arange(self._num_events, dtype=_C.int64, device=self._param.device)
        values = values.view(-1, *(1,) * len(self._batch_shape))
        return values.expand(-1, *self._batch_shape) if expand else values
