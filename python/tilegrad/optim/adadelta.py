"""Adadelta: rates from the ratio of past updates to past gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ops.optimizer import adadelta_step
from .optimizer import Optimizer, check_number, check_rate

__all__ = ["Adadelta"]


class Adadelta(Optimizer):
    """Steps ``lr * g * rms(updates) / rms(gradients)``, with running means of decay ``rho``.

    ``eps`` is added to both means (Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012).
    ``weight_decay * p`` is added to the gradient, ``maximize`` reverses it. With ``capturable`` the
    steps of parameters on a CUDA device are counted there, so that a CUDA graph can repeat them;
    ``foreach`` changes nothing: one native call updates a group in any case.

    Raises ValueError for negative options and for rho above 1.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_rate(lr)
        check_number("rho value", rho)
        if rho > 1:
            raise ValueError(f"Invalid rho value: {rho}")
        check_number("epsilon value", eps)
        check_number("weight_decay value", weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "rho": rho,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "capturable": capturable,
                "foreach": foreach,
                "differentiable": differentiable,
            },
        )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates the parameters; returns what ``closure`` returns, if one is given."""
        values = {"square_avg": 0.0, "acc_delta": 0.0}
        return self._native_step(closure, adadelta_step, _options, values)


def _options(group: dict[str, Any]) -> tuple:
    return tuple(group[key] for key in ("lr", "rho", "eps", "weight_decay", "maximize"))
