"""Rprop: steps that follow the gradient's sign alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ops.optimizer import rprop_step
from .optimizer import Optimizer, check_rate

__all__ = ["Rprop"]


class Rprop(Optimizer):
    """Each element has a step size of its own, of which it takes the gradient's sign.

    It starts at ``lr``, grows by ``etas[1]`` while the sign stays and shrinks by ``etas[0]`` when
    it turns, within ``step_sizes``; an element that turned rests for a step (Riedmiller and Braun,
    "A Direct Adaptive Method for Faster Backpropagation Learning", 1993). It is meant for full
    batches. ``maximize`` reverses the gradient. With ``capturable`` the steps of parameters on a
    CUDA device are counted there, so that a CUDA graph can repeat them; ``foreach`` changes
    nothing: one native call updates a group in any case.

    Raises ValueError for a negative rate and unless ``0 < etas[0] < 1 < etas[1]``.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_rate(lr)
        if not 0 < etas[0] < 1 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(
            params,
            {
                "lr": lr,
                "etas": etas,
                "step_sizes": step_sizes,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates the parameters; returns what ``closure`` returns, if one is given."""
        loss = None if closure is None else self._evaluate(closure)
        for group in self.param_groups:
            options = (*group["etas"], *group["step_sizes"], group["maximize"])
            if not rprop_step(group["params"], self.state, *options):
                values = {"prev": 0.0, "step_size": float(group["lr"])}
                self._fill_states(group, values, {"step": 0.0})
                rprop_step(group["params"], self.state, *options)
        return loss
