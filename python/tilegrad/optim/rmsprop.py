"""RMSprop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ops.optimizer import rmsprop_step
from .optimizer import Optimizer, check_number, check_rate

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    """Steps of the gradient over the root of its running mean square (Hinton's lecture, 2012).

    ``alpha`` is the decay of that mean, ``eps`` is added to the root. ``centered`` takes the
    squared running mean off first, so that the root is a standard deviation (Graves, 2013). With
    ``momentum`` the steps accumulate. With ``capturable`` the steps of parameters on a CUDA device
    are counted there, so that a CUDA graph can repeat them; ``foreach`` changes nothing.

    Raises ValueError for negative options.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_rate(lr)
        check_number("epsilon value", eps)
        check_number("momentum value", momentum)
        check_number("weight_decay value", weight_decay)
        check_number("alpha value", alpha)
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "alpha": alpha,
                "eps": eps,
                "centered": centered,
                "weight_decay": weight_decay,
                "capturable": capturable,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
            },
        )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates the parameters; returns what ``closure`` returns, if one is given."""
        loss = None if closure is None else self._evaluate(closure)
        for group in self.param_groups:
            options = (
                group["lr"],
                group["alpha"],
                group["eps"],
                group["weight_decay"],
                group["momentum"],
                group["centered"],
                group["maximize"],
            )
            if not rmsprop_step(group["params"], self.state, *options):
                names = ["square_avg"]
                if group["momentum"] > 0:
                    names.append("momentum_buffer")
                if group["centered"]:
                    names.append("grad_avg")
                self._create_states(group, names, steps=True)
                rmsprop_step(group["params"], self.state, *options)
        return loss
