"""The optimizers whose formula one of tilegrad's native steps computes."""

from __future__ import annotations

import math
from typing import Any

import tilegrad as tg

from ...ops.optimizer import (
    adadelta_step,
    adagrad_step,
    adam_step,
    nadam_step,
    rmsprop_step,
    sgd_step,
)
from ..registry import own_module
from .optimizer import Optimizer

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Nadam", "RMSprop"]


class Native(Optimizer):
    """What keeps its state in the form that the native steps take."""

    _native = True
    _STATES: dict[str, float]  # names of the state's tensors for the kernel, what they start with

    def _states(self) -> dict[str, float]:
        return self._STATES

    def build(self, variables: list[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        for variable in variables:
            state: dict[str, Any] = {
                name: self._slot(variable, name, start) for name, start in self._states().items()
            }
            state["step"] = tg.scalar_tensor(0.0)
            self._state[variable] = state

    def _load_steps(self) -> None:
        for state in self._state.values():
            state["step"].fill_(float(self._steps))

    def _rescale_momenta(self, rate: float) -> None:
        """Keras adds steps up in its momenta, the kernel gradients: where the rate changes, the
        kernel's buffers are converted."""
        before = self._rate_before
        if before is not None and before != rate and rate != 0:
            for state in self._state.values():
                state["momentum_buffer"].mul_(before / rate)
        self._rate_before = rate


class SGD(Native):
    """Steps down the gradient, with ``momentum`` added up over steps; ``nesterov`` looks ahead.

    Raises ValueError for a momentum outside [0, 1].
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        *,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        if not isinstance(momentum, (int, float)) or not 0 <= momentum <= 1:
            raise ValueError(f"`momentum` must be a float between [0, 1]. Received: {momentum}")
        self._set(locals(), "momentum", "nesterov")

    def _states(self) -> dict[str, float]:
        return {"momentum_buffer": 0.0} if self.momentum else {}

    def native_step(self, variables: list[Any], rate: float) -> None:
        if self.momentum:
            self._rescale_momenta(rate)
        sgd_step(variables, self._state, rate, self.momentum, 0.0, 0.0, self.nesterov, False)


class Adam(Native):
    """Steps of the mean gradient over the root of the mean square gradient (Kingma and Ba, 2015);
    ``amsgrad`` divides by the largest mean square so far."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        weight_decay: float | None = None,
        *,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        self._set(locals(), "beta_1", "beta_2", "epsilon", "amsgrad")

    def _states(self) -> dict[str, float]:
        names = ["exp_avg", "exp_avg_sq"] + (["max_exp_avg_sq"] if self.amsgrad else [])
        return dict.fromkeys(names, 0.0)

    def native_step(self, variables: list[Any], rate: float) -> None:
        # Keras adds epsilon to the root before it is corrected for starting at zero.
        epsilon = self.epsilon / math.sqrt(1 - self.beta_2 ** (self._steps + 1))
        adam_step(
            variables, self._state, rate, self.beta_1, self.beta_2, epsilon, 0.0, self.amsgrad,
            False, False,
        )  # fmt: skip


class AdamW(Adam):
    """Adam with weight decay that is independent of the gradient (Loshchilov and Hutter, 2019).

    Raises ValueError for ``weight_decay=None``.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float | None = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        *,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, name=name, **kwargs
        )
        if self.weight_decay is None:
            raise ValueError("Argument `weight_decay` must be a float. Received: weight_decay=None")


class RMSprop(Native):
    """Steps of the gradient over the root of its running mean square, of decay ``rho`` (Hinton,
    2012); ``centered`` takes the squared mean off first."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        weight_decay: float | None = None,
        *,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        self._set(locals(), "rho", "momentum", "epsilon", "centered")

    def _states(self) -> dict[str, float]:
        names = ["square_avg"]
        names += ["grad_avg"] if self.centered else []
        names += ["momentum_buffer"] if self.momentum > 0 else []
        return dict.fromkeys(names, 0.0)

    def native_step(self, variables: list[Any], rate: float) -> None:
        if self.momentum > 0:
            self._rescale_momenta(rate)
        rmsprop_step(
            variables, self._state, rate, self.rho, self.epsilon, 0.0, self.momentum, self.centered,
            False, True,
        )  # fmt: skip


class Adagrad(Native):
    """Steps of the gradient over the root of the sum of its squares (Duchi et al., 2011), which
    starts at ``initial_accumulator_value``."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        *,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        self._set(locals(), "initial_accumulator_value", "epsilon")

    def _states(self) -> dict[str, float]:
        return {"sum": self.initial_accumulator_value}

    def native_step(self, variables: list[Any], rate: float) -> None:
        adagrad_step(variables, self._state, rate, 0.0, self.epsilon, 0.0, False, True)


class Adadelta(Native):
    """Steps as large as earlier ones were, over the root of the gradient's mean square (Zeiler,
    2012)."""

    _STATES = {"square_avg": 0.0, "acc_delta": 0.0}  # noqa: RUF012

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        *,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        self._set(locals(), "rho", "epsilon")

    def native_step(self, variables: list[Any], rate: float) -> None:
        adadelta_step(variables, self._state, rate, self.rho, self.epsilon, 0.0, False)


class Nadam(Native):
    """Adam with Nesterov's momentum (Dozat, 2016)."""

    _STATES = {"exp_avg": 0.0, "exp_avg_sq": 0.0}  # noqa: RUF012

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

    def build(self, variables: list[Any]) -> None:
        if not self.built:
            super().build(variables)
            for state in self._state.values():
                state["mu_product"] = tg.scalar_tensor(1.0)

    def _load_steps(self) -> None:
        super()._load_steps()
        product = 1.0
        for step in range(1, self._steps + 1):
            product *= self.beta_1 * (1 - 0.5 * 0.96**step)
        for state in self._state.values():
            state["mu_product"].fill_(product)

    def native_step(self, variables: list[Any], rate: float) -> None:
        nadam_step(
            variables, self._state, rate, self.beta_1, self.beta_2, self.epsilon, 0.0, 1.0, False,
            False,
        )  # fmt: skip


own_module(globals())
