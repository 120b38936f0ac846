"""Bernoulli numbers softened so that samples have gradients.

Maddison, Mnih and Teh, "The concrete distribution"; Jang, Gu and Poole, "Categorical
reparameterization with Gumbel-softmax", both 2016.
"""

from __future__ import annotations

from typing import Any

from ..ops.random import rand
from . import constraints
from .counts import _OfTrials
from .transformed_distribution import TransformedDistribution
from .transforms import SigmoidTransform
from .utils import broadcast_all, clamp_probs

__all__ = ["LogitRelaxedBernoulli", "RelaxedBernoulli"]


class LogitRelaxedBernoulli(_OfTrials):
    """The log-odds of :class:`RelaxedBernoulli` numbers.

    Raises ValueError unless exactly one of ``probs`` and ``logits`` is given.
    """

    arg_constraints = {  # noqa: RUF012
        "probs": constraints.unit_interval, "logits": constraints.real,
    }  # fmt: skip
    support = constraints.real
    has_rsample = True

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        self.temperature = temperature
        self._take(probs, logits)
        super().__init__(self._param.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        return self._wider(batch_shape)

    def rsample(self, sample_shape: Any = ()) -> Any:
        """Logistic noise on the log-odds, over the temperature."""
        shape = self._extended_shape(sample_shape)
        probs = clamp_probs(self.probs.expand(*shape))
        u = clamp_probs(rand(*shape, dtype=probs.dtype, device=probs.device))
        noise = u.log() - (-u).log1p()
        return (noise + probs.log() - (-probs).log1p()) / self.temperature

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density."""
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        difference = logits - value * self.temperature
        return self.temperature.log() + difference - 2 * difference.exp().log1p()


class RelaxedBernoulli(TransformedDistribution):
    """Numbers in (0, 1), near 0 or 1 for a low ``temperature``, a tensor.

    Raises ValueError unless exactly one of ``probs`` and ``logits`` is given.
    """

    arg_constraints = {  # noqa: RUF012
        "probs": constraints.unit_interval, "logits": constraints.real,
    }  # fmt: skip
    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        base = LogitRelaxedBernoulli(temperature, probs, logits)
        super().__init__(base, SigmoidTransform(), validate_args=validate_args)

    @property
    def temperature(self) -> Any:
        """How soft the numbers are."""
        return self.base_dist.temperature

    @property
    def probs(self) -> Any:
        """The probability of 1."""
        return self.base_dist.probs

    @property
    def logits(self) -> Any:
        """The log-odds."""
        return self.base_dist.logits
