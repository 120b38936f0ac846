"""Adam, and AMSGrad as its option."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ops.optimizer import adam_step
from ..tensor import Tensor
from .optimizer import Optimizer, check_betas, check_number, check_rate

__all__ = ["Adam"]


class Adam(Optimizer):
    """Steps of the running mean of the gradient over the root of its running mean square.

    Both averages, of decays ``betas``, are corrected for starting at zero; ``eps`` is added to the
    root (Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015). ``weight_decay`` is
    added to the gradient, or with ``decoupled_weight_decay`` taken off the parameter itself.
    ``amsgrad`` divides by the largest mean square so far (Reddi et al., 2018). With ``capturable``
    the steps of parameters on a CUDA device are counted there, so that a CUDA graph can repeat
    them, and ``lr`` may be a tensor there. ``foreach`` and ``fused`` change nothing: one native
    call updates a group in any case.

    Raises ValueError for negative options and for betas outside [0, 1).
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        check_rate(lr)
        if isinstance(lr, Tensor) and foreach and not capturable:
            raise ValueError(
                "lr as a Tensor is not supported for capturable=False and foreach=True"
            )
        check_number("epsilon value", eps)
        check_betas(betas)
        for i, beta in enumerate(betas):
            if isinstance(beta, Tensor) != isinstance(betas[0], Tensor):
                raise ValueError("betas must be either both floats or both Tensors")
            if isinstance(beta, Tensor) and foreach and not capturable:
                raise ValueError(
                    f"betas[{i}] as a Tensor is not supported for capturable=False and foreach=True"
                )
        check_number("weight_decay value", weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "differentiable": differentiable,
                "fused": fused,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates the parameters; returns what ``closure`` returns, if one is given."""
        loss = None if closure is None else self._evaluate(closure)
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            options = (
                group["lr"],
                beta1,
                beta2,
                group["eps"],
                group["weight_decay"],
                group["amsgrad"],
                group["maximize"],
                group["decoupled_weight_decay"],
            )
            if not adam_step(group["params"], self.state, *options):
                names = ["exp_avg", "exp_avg_sq"]
                if group["amsgrad"]:
                    names.append("max_exp_avg_sq")
                self._create_states(group, names, steps=True)
                adam_step(group["params"], self.state, *options)
        return loss
