"""Distributions of counts: binomial, multinomial, Poisson, geometric and negative binomial."""

from __future__ import annotations

from typing import Any

from .._limits import finfo
from ..autograd.mode import no_grad
from ..nn.loss_functions import binary_cross_entropy_with_logits
from ..ops.activation import logsigmoid
from ..ops.counting import binomial, poisson
from ..ops.fill import arange, empty, ones_like
from ..ops.where import where
from . import constraints
from .categorical import Categorical
from .distribution import Distribution
from .gamma import Gamma
from .utils import broadcast_all, lazy_property, logits_to_probs, probs_to_logits, special

__all__ = ["Binomial", "Geometric", "Multinomial", "NegativeBinomial", "Poisson"]


def _log_factorial(count: Any) -> Any:
    return special("lgamma")(count + 1)


class _OfTrials(Distribution):
    """Trials that succeed with probability ``probs``; ``logits`` are log-odds."""

    def _take(self, probs: Any, logits: Any, *others: Any) -> list[Any]:
        """Keeps whichever is given, broadcast with the others, which it returns."""
        if (probs is None) == (logits is None):
            raise ValueError("Either `probs` or `logits` must be specified, but not both.")
        name, given = ("logits", logits) if probs is None else ("probs", probs)
        *others_too, param = broadcast_all(*others, given)
        setattr(self, name, param)
        self._param = param
        return [x.to(param.dtype) for x in others_too]

    def _wider(self, batch_shape: Any, *names: str) -> Any:
        param = self._param.expand(*batch_shape)
        name = "probs" if self._param is self.__dict__.get("probs") else "logits"
        others = {other: getattr(self, other).expand(*batch_shape) for other in names}
        return self._expanded(batch_shape, _param=param, **{name: param}, **others)

    @lazy_property
    def logits(self) -> Any:
        """The log-odds of a success."""
        return probs_to_logits(self.probs, True)

    @lazy_property
    def probs(self) -> Any:
        """The probability of a success."""
        return logits_to_probs(self.logits, True)

    @property
    def param_shape(self) -> Any:
        """The shape of ``probs`` or ``logits``."""
        return self._param.size()


class Binomial(_OfTrials):
    """How many of ``total_count`` trials succeed, each with probability ``probs``.

    ``logits`` are log-odds. Raises ValueError unless exactly one of them is given, for counts that
    are no natural numbers and probabilities outside [0, 1].
    """

    arg_constraints = {  # noqa: RUF012
        "total_count": constraints.nonnegative_integer, "probs": constraints.unit_interval,
        "logits": constraints.real,
    }  # fmt: skip
    has_enumerate_support = True

    def __init__(
        self, total_count: Any = 1, probs: Any = None, logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        (self.total_count,) = self._take(probs, logits, total_count)
        super().__init__(self._param.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        return self._wider(batch_shape, "total_count")

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        """The integers from 0 to the number of trials."""
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Any:
        """``total_count * probs``."""
        return self.total_count * self.probs

    @property
    def mode(self) -> Any:
        """The most probable number."""
        return ((self.total_count + 1) * self.probs).floor().minimum(self.total_count)

    @property
    def variance(self) -> Any:
        """``total_count * probs * (1 - probs)``."""
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Any:
        """Numbers of successes of shape ``sample_shape + batch_shape``."""
        shape = self._extended_shape(sample_shape)
        with no_grad():
            return binomial(self.total_count.expand(*shape), self.probs.expand(*shape))

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the probability of numbers of successes."""
        if self._validate_args:
            self._validate_sample(value)
        n, logits = self.total_count, self.logits
        ways = _log_factorial(n) - _log_factorial(value) - _log_factorial(n - value)
        # n log(1 + exp(logits)), without exp of a large number
        norm = n * logits.clamp(min=0) + n * (-logits.abs()).exp().log1p()
        return ways + value * logits - norm

    def entropy(self) -> Any:
        """The entropy in nats. NotImplementedError for different numbers of trials."""
        self._one_count("entropy")
        found = self.log_prob(self.enumerate_support(False))
        return -(found.exp() * found).sum(0)

    def _one_count(self, what: str) -> int:
        most = int(self.total_count.max())
        if not self.total_count.min() == most:
            raise NotImplementedError(f"Inhomogeneous total count not supported by `{what}`.")
        return most

    def enumerate_support(self, expand: bool = True) -> Any:
        """All numbers of successes along a new first dimension. NotImplementedError for different
        numbers of trials."""
        most = self._one_count("enumerate_support")
        values = arange(1 + most, dtype=self._param.dtype, device=self._param.device)
        values = values.view(-1, *(1,) * len(self._batch_shape))
        return values.expand(-1, *self._batch_shape) if expand else values


class Geometric(_OfTrials):
    """How many trials fail before the first success, each with probability ``probs``.

    ``logits`` are log-odds. Raises ValueError unless exactly one of them is given, and for
    probabilities outside (0, 1].
    """

    arg_constraints = {  # noqa: RUF012
        "probs": constraints.unit_interval, "logits": constraints.real,
    }  # fmt: skip
    support = constraints.nonnegative_integer

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self._take(probs, logits)
        super().__init__(self._param.size(), validate_args=validate_args)
        if self._validate_args and probs is not None and not (self.probs > 0).all().item():
            raise ValueError(
                f"Expected parameter probs of shape {tuple(self.probs.shape)} of distribution "
                f"{self!r} to be positive but found invalid values:\n{self.probs}"
            )

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        return self._wider(batch_shape)

    @property
    def mean(self) -> Any:
        """``1 / probs - 1``."""
        return 1.0 / self.probs - 1.0

    @property
    def mode(self) -> Any:
        """0."""
        return 0 * self.probs

    @property
    def variance(self) -> Any:
        """``(1 / probs - 1) / probs``."""
        return (1.0 / self.probs - 1.0) / self.probs

    def sample(self, sample_shape: Any = ()) -> Any:
        """Numbers of failures of shape ``sample_shape + batch_shape``."""
        dtype, device = self.probs.dtype, self.probs.device
        with no_grad():
            u: Any = empty(tuple(self._extended_shape(sample_shape)), dtype=dtype, device=device)
            return (u.uniform_(finfo(dtype).tiny, 1).log() / (-self.probs).log1p()).floor()

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the probability of numbers of failures."""
        if self._validate_args:
            self._validate_sample(value)
        value, probs = broadcast_all(value, self.probs)
        failing = probs.masked_fill((probs == 1) & (value == 0), 0)
        return value * (-failing).log1p() + self.probs.log()

    def entropy(self) -> Any:
        """The entropy in nats."""
        once = binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")
        return once / self.probs


class Multinomial(Distribution):
    """How often each class occurs in ``total_count`` draws, with probabilities (..., classes).

    ``total_count`` is an int; ``probs`` and ``logits`` are those of :class:`Categorical`, with its
    errors. Raises NotImplementedError for other counts.
    """

    arg_constraints = {  # noqa: RUF012
        "probs": constraints.simplex, "logits": constraints.real_vector,
    }  # fmt: skip

    def __init__(
        self, total_count: int = 1, probs: Any = None, logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(total_count, int):
            raise NotImplementedError("inhomogeneous total_count is not supported")
        self.total_count = total_count
        self._categorical = Categorical(probs=probs, logits=logits)
        shape = self._categorical.param_shape
        super().__init__(shape[:-1], shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        return self._expanded(batch_shape, _categorical=self._categorical.expand(batch_shape))

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> Any:
        """Counts that sum to the number of draws."""
        return constraints.multinomial(self.total_count)

    @property
    def probs(self) -> Any:
        """The probabilities of the classes."""
        return self._categorical.probs

    @property
    def logits(self) -> Any:
        """The logarithms of the probabilities."""
        return self._categorical.logits

    @property
    def param_shape(self) -> Any:
        """``batch_shape + (classes,)``."""
        return self._categorical.param_shape

    @property
    def mean(self) -> Any:
        """``total_count * probs``."""
        return self.probs * self.total_count

    @property
    def variance(self) -> Any:
        """The variance of each class's count."""
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Any:
        """Counts of shape ``sample_shape + batch_shape + (classes,)``."""
        with no_grad():
            drawn = self._categorical.sample((self.total_count, *sample_shape)).movedim(0, -1)
            counts = drawn.new_zeros(tuple(self._extended_shape(sample_shape)))
            counts.scatter_add_(-1, drawn, ones_like(drawn))
            return counts.to(self.probs.dtype)

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the probability of counts."""
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        logits = logits.masked_fill((value == 0) & (logits == -float("inf")), 0)
        ways = _log_factorial(value.sum(-1)) - _log_factorial(value).sum(-1)
        return ways + (logits * value).sum(-1)

    def entropy(self) -> Any:
        """The entropy in nats."""
        n = self.total_count
        each = Binomial(n, probs=self.probs, validate_args=False)
        support = each.enumerate_support(expand=False)[1:]
        expected = (each.log_prob(support).exp() * _log_factorial(support)).sum((0, -1))
        one = self._categorical.entropy()
        return n * one - _log_factorial(one.new_tensor(float(n))) + expected


class NegativeBinomial(_OfTrials):
    """How many trials succeed, with probability ``probs`` each, before ``total_count`` failures.

    ``total_count`` need not be whole; ``logits`` are log-odds. Raises ValueError unless exactly one
    of them is given, for negative counts and probabilities outside [0, 1).
    """

    arg_constraints = {  # noqa: RUF012
        "total_count": constraints.greater_than_eq(0),
        "probs": constraints.half_open_interval(0.0, 1.0), "logits": constraints.real,
    }  # fmt: skip
    support = constraints.nonnegative_integer

    def __init__(
        self, total_count: Any, probs: Any = None, logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        (self.total_count,) = self._take(probs, logits, total_count)
        super().__init__(self._param.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        return self._wider(batch_shape, "total_count")

    @property
    def mean(self) -> Any:
        """``total_count * probs / (1 - probs)``."""
        return self.total_count * self.logits.exp()

    @property
    def mode(self) -> Any:
        """The most probable number."""
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0)

    @property
    def variance(self) -> Any:
        """``mean / (1 - probs)``."""
        return self.mean / (-self.logits).sigmoid()

    def sample(self, sample_shape: Any = ()) -> Any:
        """Poisson numbers with gamma rates, of shape ``sample_shape + batch_shape``."""
        with no_grad():
            rates = Gamma(self.total_count, (-self.logits).exp(), validate_args=False)
            return poisson(rates.sample(sample_shape))

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the probability of numbers of successes."""
        if self._validate_args:
            self._validate_sample(value)
        n, lgamma = self.total_count, special("lgamma")
        likelihood = n * logsigmoid(-self.logits) + value * logsigmoid(self.logits)
        norm = -lgamma(n + value) + lgamma(1.0 + value) + lgamma(n)
        return likelihood - where(n + value == 0, 0 * norm.detach().nan_to_num(0), norm)


class Poisson(Distribution):
    """Counts of events with mean ``rate``. Raises ValueError for negative rates."""

    arg_constraints = {"rate": constraints.nonnegative}  # noqa: RUF012
    support = constraints.nonnegative_integer

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        return self._expanded(batch_shape, rate=self.rate.expand(*batch_shape))

    @property
    def mean(self) -> Any:
        """The rate."""
        return self.rate

    @property
    def mode(self) -> Any:
        """The rate, rounded down."""
        return self.rate.floor()

    @property
    def variance(self) -> Any:
        """The rate."""
        return self.rate

    def sample(self, sample_shape: Any = ()) -> Any:
        """Counts of shape ``sample_shape + batch_shape``."""
        with no_grad():
            return poisson(self.rate.expand(*self._extended_shape(sample_shape)))

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the probability of counts."""
        if self._validate_args:
            self._validate_sample(value)
        rate, value = broadcast_all(self.rate, value)
        return value.xlogy(rate) - rate - _log_factorial(value)
