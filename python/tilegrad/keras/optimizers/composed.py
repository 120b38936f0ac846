"""The optimizers that are written with tensor operations."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ..registry import own_module
from ..variable import Variable
from .optimizer import Optimizer

__all__ = ["Adafactor", "Adamax", "Ftrl", "Lamb", "Lion", "ScheduleFreeAdamW"]


class Composed(Optimizer):
    """What has one tensor per name of ``_STATES`` for each variable."""

    _STATES: dict[str, float]

    def build(self, variables: list[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        for variable in variables:
            self._state[variable] = {
                name: self._slot(variable, name, start) for name, start in self._states().items()
            }

    def _states(self) -> dict[str, float]:
        return self._STATES


class Adamax(Composed):
    """Adam with the largest gradient in the place of the root (Kingma and Ba, 2015)."""

    _STATES = {"momentum": 0.0, "norm": 0.0}  # noqa: RUF012

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        *,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        self._set(locals(), "beta_1", "beta_2", "epsilon")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        state = self._state[variable]
        m, u = state["momentum"], state["norm"]
        m.add_(gradient - m, alpha=1 - self.beta_1)
        u.copy_(tg.maximum(u * self.beta_2, tg.abs(gradient)))
        rate = learning_rate / (1 - self.beta_1 ** (self._steps + 1))
        variable.sub_(rate * m / (u + self.epsilon))


class Lion(Composed):
    """Steps of equal size by the sign of a running mean (Chen et al., 2023).

    Raises ValueError for a ``beta_1`` that is not positive.
    """

    _STATES = {"momentum": 0.0}  # noqa: RUF012

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        weight_decay: float | None = None,
        *,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        if beta_1 <= 0 or beta_1 > 1:
            raise ValueError(f"Argument `beta_1` must be in the [0, 1] range. Received: {beta_1}")
        self._set(locals(), "beta_1", "beta_2")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        m = self._state[variable]["momentum"]
        step = tg.sign(m * self.beta_1 + gradient * (1 - self.beta_1))
        variable.sub_(learning_rate * step)
        m.copy_(m * self.beta_2 + gradient * (1 - self.beta_2))


class Ftrl(Composed):
    """Follow the regularized leader (McMahan et al., 2013): for sparse linear models.

    Raises ValueError for strengths that are negative and for a ``learning_rate_power`` above 0.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        weight_decay: float | None = None,
        *,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        given = dict(locals())
        for option in _FTRL[2:5]:
            if given[option] < 0.0:
                raise ValueError(
                    f"`{option}` needs to be positive or zero. Received: {option}={given[option]}"
                )
        if learning_rate_power > 0.0:
            raise ValueError(
                "`learning_rate_power` needs to be negative or zero. Received: "
                f"learning_rate_power={learning_rate_power}"
            )
        self._set(given, *_FTRL)

    def _states(self) -> dict[str, float]:
        return {"accumulator": self.initial_accumulator_value, "linear": 0.0}

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        state = self._state[variable]
        total, linear = state["accumulator"], state["linear"]
        power = -self.learning_rate_power
        quadratic_part = self.l2_regularization_strength + self.beta / (2 * learning_rate)
        shrunk = gradient + 2 * self.l2_shrinkage_regularization_strength * variable
        new = total + gradient * gradient
        linear.add_(shrunk - (new**power - total**power) / learning_rate * variable)
        quadratic = new**power / learning_rate + 2 * quadratic_part
        bound = self.l1_regularization_strength
        variable.copy_((linear.clamp(-bound, bound) - linear) / quadratic)
        total.copy_(new)


class Lamb(Composed):
    """Adam whose steps are as long as the weights, layer by layer (You et al., 2019)."""

    _STATES = {"momentum": 0.0, "velocity": 0.0}  # noqa: RUF012

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        *,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        self._set(locals(), "beta_1", "beta_2", "epsilon")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        state, step = self._state[variable], self._steps + 1
        m, v = state["momentum"], state["velocity"]
        m.add_(gradient - m, alpha=1 - self.beta_1)
        v.add_(gradient * gradient - v, alpha=1 - self.beta_2)
        root = tg.sqrt(v / (1 - self.beta_2**step)) + self.epsilon
        update = m / (1 - self.beta_1**step) / root
        long, wide = tg.sqrt((variable**2).sum()), tg.sqrt((update**2).sum())
        one = tg.ones_like(long)
        ratio = tg.where((long > 0) & (wide > 0), long / tg.where(wide > 0, wide, one), one)
        variable.sub_(ratio * learning_rate * update)


class Adafactor(Composed):
    """Adam with a mean square per row and column only (Shazeer and Stern, 2018)."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        weight_decay: float | None = None,
        *,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        self._set(
            locals(), "beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold", "relative_step"
        )

    def build(self, variables: list[Any]) -> None:
        if self.built:
            return
        Optimizer.build(self, variables)
        for variable in variables:
            names = ("row", "column") if variable.ndim >= 2 else ("velocity",)
            state = {}
            for name in names:
                shape = list(variable.shape)
                if name != "velocity":
                    del shape[-1 if name == "row" else -2]
                state[name] = self._slot(variable, name, tg.zeros(shape, dtype=variable.dtype))
            self._state[variable] = state

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        state, step = self._state[variable], self._steps + 1
        if self.relative_step and isinstance(self._rate, Variable):
            learning_rate = min(learning_rate, step**-0.5)
        share = step**self.beta_2_decay
        square = gradient * gradient + self.epsilon_1
        if variable.ndim >= 2:
            row, column = state["row"], state["column"]
            row.mul_(1 - share).add_(square.mean(-1), alpha=share)
            column.mul_(1 - share).add_(square.mean(-2), alpha=share)
            second = (row / row.mean(-1, keepdim=True)).unsqueeze(-1) * column.unsqueeze(-2)
        else:
            second = state["velocity"].mul_(1 - share).add_(square, alpha=share)
        update = gradient / tg.sqrt(second)
        update = update / (_rms(update) / self.clip_threshold).clamp(min=1.0)
        rate = _rms(variable).clamp(min=self.epsilon_2) * min(learning_rate, step**-0.5)
        variable.sub_(rate * update)


def _rms(x: Any) -> Any:
    return tg.sqrt((x * x).mean())


class ScheduleFreeAdamW(Composed):
    """Adam that averages its weights and so needs no schedule (Defazio et al., 2024)."""

    def __init__(
        self,
        learning_rate: Any = 0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        warmup_steps: int = 0,
        weight_decay: float | None = None,
        *,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        self._set(locals(), "beta_1", "beta_2", "epsilon", "warmup_steps")

    def build(self, variables: list[Any]) -> None:
        if self.built:
            return
        Optimizer.build(self, variables)
        for variable in variables:
            self._state[variable] = {
                "momentum": self._slot(variable, "momentum", variable),
                "velocity": self._slot(variable, "velocity"),
            }

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        state, step = self._state[variable], self._steps + 1
        if self.warmup_steps:
            learning_rate *= min(step / self.warmup_steps, 1.0)
        z, v = state["momentum"], state["velocity"]
        before = z.clone()
        v.add_(gradient * gradient - v, alpha=1 - self.beta_2)
        z.sub_(learning_rate * gradient / (tg.sqrt(v / (1 - self.beta_2**step)) + self.epsilon))
        average = (variable - (1 - self.beta_1) * before) / self.beta_1
        average = (1 - 1 / step) * average + z / step
        variable.copy_((1 - self.beta_1) * z + self.beta_1 * average)


_FTRL = (
    "learning_rate_power", "initial_accumulator_value", "l1_regularization_strength",
    "l2_regularization_strength", "l2_shrinkage_regularization_strength", "beta",
)  # fmt: skip


own_module(globals())
