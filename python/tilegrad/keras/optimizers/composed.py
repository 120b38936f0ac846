"""The optimizers that are written with tensor operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tilegrad as tg

from ..registry import own_module
from .optimizer import Optimizer

__all__ = ["Adamax", "Lion"]


class Composed(Optimizer):
    """What has one tensor per name of ``_STATES`` for each variable."""

    _STATES: dict[str, float]

    if TYPE_CHECKING:  # the options

        def __getattr__(self, name: str) -> Any: ...

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

    def _set(self, options: dict[str, Any], *names: str) -> None:
        for name in names:
            setattr(self, name, options[name])
        self.__dict__["_own_options"] = names

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **{n: getattr(self, n) for n in self._own_options}}

    _own_options: tuple[str, ...] = ()


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
        name: str = "adamax",
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
        name: str = "lion",
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


own_module(globals())
