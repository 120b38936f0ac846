"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ops.optimizer import sgd_step
from .optimizer import Optimizer, check_number, check_rate

__all__ = ["SGD"]


class SGD(Optimizer):
    """Gradient descent: ``p -= lr * g``, with g the gradient plus ``weight_decay * p``.

    With ``momentum`` the step follows ``v = momentum * v + (1 - dampening) * g``, which starts as
    g; with ``nesterov`` (Sutskever et al., 2013) it follows ``g + momentum * v``. ``maximize``
    reverses the gradient. ``foreach``, ``fused`` change nothing: one native call updates a group in
    any case.

    Raises ValueError for negative options, and for nesterov without momentum or with dampening.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_rate(lr)
        check_number("momentum value", momentum)
        check_number("weight_decay value", weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
                "foreach": foreach,
                "differentiable": differentiable,
                "fused": fused,
            },
        )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates the parameters; returns what ``closure`` returns, if one is given."""
        loss = None if closure is None else self._evaluate(closure)
        for group in self.param_groups:
            options = (
                group["lr"],
                group["momentum"],
                group["dampening"],
                group["weight_decay"],
                group["nesterov"],
                group["maximize"],
            )
            if not sgd_step(group["params"], self.state, *options):
                self._first_step(group, *options)
        return loss

    def _first_step(
        self, group: dict, lr: float, momentum: float, dampening: float, *options: Any
    ) -> None:
        """A buffer starts as the gradient: from zero, without dampening."""
        fresh: list[Any] = []
        others: list[Any] = []
        for p in group["params"]:
            known = p in self.state and self.state[p].get("momentum_buffer") is not None
            (others if known else fresh).append(p)
        self._create_states(group, ["momentum_buffer"], steps=False)
        sgd_step(fresh, self.state, lr, momentum, 0.0, *options)
        sgd_step(others, self.state, lr, momentum, dampening, *options)
