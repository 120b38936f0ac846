"""Adagrad: rates that fall with the squares of past gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _C
from ..ops.optimizer import adagrad_step
from .optimizer import Optimizer, check_number, check_rate, scalar_state

__all__ = ["Adagrad"]


class Adagrad(Optimizer):
    """Steps of the gradient over the root of the sum of all its squares so far, plus ``eps``.

    The sum starts at ``initial_accumulator_value``; the rate of step t is
    ``lr / (1 + (t - 1) * lr_decay)`` (Duchi, Hazan and Singer, "Adaptive Subgradient Methods for
    Online Learning and Stochastic Optimization", 2011). ``weight_decay * p`` is added to the
    gradient, ``maximize`` reverses it. ``foreach`` and ``fused`` change nothing: one native call
    updates a group in any case.

    Raises ValueError for negative options.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_rate(lr)
        check_number("lr_decay value", lr_decay)
        check_number("weight_decay value", weight_decay)
        check_number("initial_accumulator_value value", initial_accumulator_value)
        check_number("epsilon value", eps)
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "eps": eps,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "fused": fused,
            },
        )
        for group in self.param_groups:  # as PyTorch does, at once and for all parameters
            for p in group["params"]:
                start = group["initial_accumulator_value"]
                state = self.state[p]
                state["step"] = scalar_state(0.0)
                state["sum"] = _C.full(p.shape, start, p.dtype, p.device)

    def share_memory(self) -> None:
        """Nothing to do: states are shared with a child process when it is forked."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates the parameters; returns what ``closure`` returns, if one is given."""
        start = self.defaults["initial_accumulator_value"]
        return self._native_step(closure, adagrad_step, _options, {"sum": start})


def _options(group: dict[str, Any]) -> tuple:
    keys = ("lr", "lr_decay", "eps", "weight_decay", "maximize")
    return tuple(group[key] for key in keys)
