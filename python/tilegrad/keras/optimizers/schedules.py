"""Learning rates that depend on the number of steps: ``keras.optimizers.schedules``."""

from __future__ import annotations

import math
from typing import Any

from ..registry import deserialize_keras_object, own_module, serialize_keras_object

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "deserialize",
    "serialize",
]


class LearningRateSchedule:
    """The base class: define ``__call__(step)``, which returns the rate."""

    def __call__(self, step: Any) -> Any:
        """The rate of that step."""
        raise NotImplementedError(
            f"Learning rate schedule '{type(self).__name__}' must override `__call__(self, step)`."
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal schedule."""
        return {k: v for k, v in vars(self).items() if not k.startswith("_")}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The schedule of a configuration."""
        return cls(**config)


def _positive(steps: Any, name: str = "decay_steps") -> None:
    if steps <= 0:
        raise ValueError(f"Argument `{name}` must be > 0. Received: {name}={steps}")


class ExponentialDecay(LearningRateSchedule):
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``; ``staircase`` rounds the
    exponent down. Raises ValueError for ``decay_steps`` that is not positive."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        _positive(decay_steps)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.decay_rate, self.staircase, self.name = decay_rate, staircase, name

    def __call__(self, step: Any) -> float:
        p = float(step) / self.decay_steps
        return self.initial_learning_rate * self.decay_rate ** (
            math.floor(p) if self.staircase else p
        )


class InverseTimeDecay(LearningRateSchedule):
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``; ``staircase`` rounds the
    quotient down. Raises ValueError for ``decay_steps`` that is not positive."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        _positive(decay_steps)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.decay_rate, self.staircase, self.name = decay_rate, staircase, name

    def __call__(self, step: Any) -> float:
        p = float(step) / self.decay_steps
        return self.initial_learning_rate / (
            1 + self.decay_rate * (math.floor(p) if self.staircase else p)
        )


class PiecewiseConstantDecay(LearningRateSchedule):
    """``values[i]`` up to the step ``boundaries[i]``, the last value behind them all.

    Raises ValueError unless there is one value more than boundaries.
    """

    def __init__(self, boundaries: Any, values: Any, name: str = "PiecewiseConstant") -> None:
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                "The length of boundaries should be 1 less than the length of values. Received: "
                f"boundaries={boundaries} of length {len(boundaries)}, and values={values} of "
                f"length {len(values)}."
            )
        self.boundaries, self.values, self.name = list(boundaries), list(values), name

    def __call__(self, step: Any) -> float:
        for boundary, value in zip(self.boundaries, self.values, strict=False):
            if float(step) <= boundary:
                return value
        return self.values[-1]


class PolynomialDecay(LearningRateSchedule):
    """From the initial to ``end_learning_rate`` in ``decay_steps`` steps, by a power of what is
    left; ``cycle`` starts over with longer periods. Raises ValueError for ``decay_steps`` that is
    not positive."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        _positive(decay_steps)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.end_learning_rate, self.power = end_learning_rate, power
        self.cycle, self.name = cycle, name

    def __call__(self, step: Any) -> float:
        now, total = float(step), float(self.decay_steps)
        if self.cycle:
            total *= 1.0 if now == 0 else math.ceil(now / self.decay_steps)
        else:
            now = min(now, total)
        left = (1 - now / total) ** self.power
        return (self.initial_learning_rate - self.end_learning_rate) * left + self.end_learning_rate


class CosineDecay(LearningRateSchedule):
    """Half a cosine from the initial rate down to its share ``alpha`` (Loshchilov and Hutter,
    2016), after a linear rise to ``warmup_target`` in ``warmup_steps`` steps if there is one.

    Raises ValueError for ``decay_steps`` that is not positive.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        _positive(decay_steps)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.alpha, self.name = alpha, name
        self.warmup_target, self.warmup_steps = warmup_target, warmup_steps

    def __call__(self, step: Any) -> float:
        now, start = float(step), self.initial_learning_rate
        if self.warmup_target is not None:
            if now < self.warmup_steps:
                done = now / self.warmup_steps
                return (self.warmup_target - start) * done + start
            now, start = now - self.warmup_steps, self.warmup_target
        share = min(now, self.decay_steps) / self.decay_steps
        cosine = 0.5 * (1.0 + math.cos(math.pi * share))
        return start * ((1 - self.alpha) * cosine + self.alpha)


class CosineDecayRestarts(LearningRateSchedule):
    """Cosine decay that starts over, each time ``t_mul`` times as long and ``m_mul`` times as high
    (Loshchilov and Hutter, 2016). Raises ValueError for ``first_decay_steps`` that is not
    positive."""

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        _positive(first_decay_steps, "first_decay_steps")
        self.initial_learning_rate, self.first_decay_steps = (
            initial_learning_rate,
            first_decay_steps,
        )
        self.t_mul, self.m_mul, self.alpha, self.name = t_mul, m_mul, alpha, name

    def __call__(self, step: Any) -> float:
        share = float(step) / self.first_decay_steps
        if self.t_mul == 1.0:
            restarts = math.floor(share)
            share -= restarts
        else:
            restarts = math.floor(math.log(1.0 - share * (1.0 - self.t_mul)) / math.log(self.t_mul))
            before = (1.0 - self.t_mul**restarts) / (1.0 - self.t_mul)
            share = (share - before) / self.t_mul**restarts
        height = 0.5 * self.m_mul**restarts * (1.0 + math.cos(math.pi * share))
        return self.initial_learning_rate * ((1 - self.alpha) * height + self.alpha)


own_module(globals())


def serialize(learning_rate_schedule: Any) -> Any:
    """The configuration that :func:`deserialize` takes."""
    return serialize_keras_object(learning_rate_schedule)


def deserialize(config: Any, custom_objects: Any = None) -> Any:
    """The schedule of a configuration. Raises TypeError for an unknown name."""
    return deserialize_keras_object(config, custom_objects)
