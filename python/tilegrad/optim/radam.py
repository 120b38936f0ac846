"""RAdam: Adam that waits until its mean square can be trusted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ops.optimizer import radam_step
from .optimizer import Optimizer, check_betas, check_number, check_rate

__all__ = ["RAdam"]


class RAdam(Optimizer):
    """Adam with a factor that rectifies the variance of its rate in the first steps.

    As long as the variance is not finite, the step is that of momentum alone (Liu et al., "On the
    Variance of the Adaptive Learning Rate and Beyond", 2020). ``weight_decay`` is added to the
    gradient, or with ``decoupled_weight_decay`` taken off the parameter itself; ``maximize``
    reverses the gradient. ``capturable`` is as in :class:`Adam`; ``foreach`` changes nothing: one
    native call updates a group in any case.

    Raises ValueError for negative options and for betas outside [0, 1).
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
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
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "decoupled_weight_decay": decoupled_weight_decay,
                "differentiable": differentiable,
            },
        )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates the parameters; returns what ``closure`` returns, if one is given."""
        values = {"exp_avg": 0.0, "exp_avg_sq": 0.0}
        return self._native_step(closure, radam_step, _options, values)


def _options(group: dict[str, Any]) -> tuple:
    keys = ("eps", "weight_decay", "maximize", "decoupled_weight_decay")
    return group["lr"], *group["betas"], *(group[key] for key in keys)
