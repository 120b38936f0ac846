"""NAdam: Adam with Nesterov momentum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ops.optimizer import nadam_step
from .optimizer import Optimizer, check_betas, check_number, check_rate

__all__ = ["NAdam"]


class NAdam(Optimizer):
    """Adam whose step mixes the gradient with its mean after the next step of momentum.

    The momentum of step t is ``betas[0] * (1 - 0.96 ** (t * momentum_decay) / 2)`` (Dozat,
    "Incorporating Nesterov Momentum into Adam", 2016). ``weight_decay`` is added to the gradient,
    or with ``decoupled_weight_decay`` taken off the parameter itself; ``maximize`` reverses the
    gradient. ``capturable`` is as in :class:`Adam`; ``foreach`` changes nothing: one native call
    updates a group in any case.

    Raises ValueError for negative options and for betas outside [0, 1).
    """

    _scalar_states = ("step", "mu_product")

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_rate(lr)
        check_number("epsilon value", eps)
        check_betas(betas)
        check_number("weight_decay value", weight_decay)
        check_number("momentum_decay value", momentum_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "differentiable": differentiable,
            },
        )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates the parameters; returns what ``closure`` returns, if one is given."""
        values = {"exp_avg": 0.0, "exp_avg_sq": 0.0}
        scalars = {"step": 0.0, "mu_product": 1.0}
        return self._native_step(closure, nadam_step, _options, values, scalars)


def _options(group: dict[str, Any]) -> tuple:
    keys = ("eps", "weight_decay", "momentum_decay", "maximize", "decoupled_weight_decay")
    return group["lr"], *group["betas"], *(group[key] for key in keys)
