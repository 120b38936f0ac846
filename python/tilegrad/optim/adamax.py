"""Adamax: Adam with the largest magnitude in place of the mean square."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ops.optimizer import adamax_step
from .optimizer import Optimizer, check_betas, check_number, check_rate

__all__ = ["Adamax"]


class Adamax(Optimizer):
    """Steps of the running mean of the gradient over its decaying largest magnitude.

    ``eps`` is added to each magnitude (Kingma and Ba, "Adam: A Method for Stochastic Optimization",
    2015, section 7.1). ``weight_decay * p`` is added to the gradient, ``maximize`` reverses it.
    ``capturable`` is as in :class:`Adam`; ``foreach`` changes nothing: one native call updates a
    group in any case.

    Raises ValueError for negative options and for betas outside [0, 1).
    """

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_rate(lr)
        check_number("epsilon value", eps)
        check_betas(betas)
        check_number("weight_decay value", weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates the parameters; returns what ``closure`` returns, if one is given."""
        values = {"exp_avg": 0.0, "exp_inf": 0.0}
        return self._native_step(closure, adamax_step, _options, values)


def _options(group: dict[str, Any]) -> tuple:
    beta1, beta2 = group["betas"]
    return group["lr"], beta1, beta2, group["eps"], group["weight_decay"], group["maximize"]
