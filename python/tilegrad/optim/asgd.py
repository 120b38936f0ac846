"""Averaged stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ops.optimizer import asgd_step
from .optimizer import Optimizer, check_number, check_rate

__all__ = ["ASGD"]


class ASGD(Optimizer):
    """Gradient descent that also keeps the mean of the parameters, ``state[p]["ax"]``.

    The rate of step t is ``lr / (1 + lambd * lr * t) ** alpha``, the parameter decays by
    ``lambd`` times that rate, and the mean starts after ``t0`` steps (Polyak and Juditsky,
    "Acceleration of Stochastic Approximation by Averaging", 1992). ``weight_decay * p`` is added to
    the gradient, ``maximize`` reverses it. ``capturable`` is as in :class:`Adam`; ``foreach``
    changes nothing: one native call updates a group in any case.

    Raises ValueError for a negative rate or weight decay.
    """

    _scalar_states = ("step", "eta", "mu")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_rate(lr)
        check_number("weight_decay value", weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "lambd": lambd,
                "alpha": alpha,
                "t0": t0,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates the parameters; returns what ``closure`` returns, if one is given."""
        loss = None if closure is None else self._evaluate(closure)
        keys = ("lr", "lambd", "alpha", "t0", "weight_decay", "maximize")
        for group in self.param_groups:
            options = tuple(group[key] for key in keys)
            if not asgd_step(group["params"], self.state, *options):
                scalars = {"step": 0.0, "eta": float(group["lr"]), "mu": 1.0}
                self._fill_states(group, {"ax": 0.0}, scalars)
                asgd_step(group["params"], self.state, *options)
        return loss
