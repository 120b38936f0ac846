"""Muon: momentum whose matrix is made orthogonal."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .. import _C
from ..autograd.mode import no_grad
from ..ops.matmul import addmm
from .optimizer import Optimizer, check_one_element

__all__ = ["Muon"]


class Muon(Optimizer):
    """Momentum for the matrices of hidden layers, replaced by the nearest orthogonal matrix.

    The matrix is found by ``ns_steps`` Newton-Schulz steps with ``ns_coefficients`` in bfloat16,
    after division by its norm (at least ``eps``); the singular values end up near 1, not at it
    (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024).
    ``weight_decay`` is decoupled. ``adjust_lr_fn``: ``"original"`` (the default) multiplies the
    rate by ``sqrt(max(1, rows / columns))``, ``"match_rms_adamw"`` by
    ``0.2 * sqrt(max(rows, columns))``.

    Raises ValueError for parameters that are no matrices and for negative options.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        check_one_element(lr)
        for wrong, message in (
            (not lr >= 0, f"Learning rate should be >= 0 but is: {lr}"),
            (not momentum >= 0, f"momentum should be >= 0 but is: {momentum}"),
            (not weight_decay >= 0, f"weight decay should be >= 0 but is: {weight_decay}"),
            (
                adjust_lr_fn not in (None, "original", "match_rms_adamw"),
                f"Adjust learning rate function {adjust_lr_fn} is not supported",
            ),
        ):
            if wrong:
                raise ValueError(message)
        super().__init__(
            params,
            {
                "lr": lr,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "nesterov": nesterov,
                "ns_coefficients": ns_coefficients,
                "eps": eps,
                "ns_steps": ns_steps,
                "adjust_lr_fn": adjust_lr_fn,
            },
        )
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(
                        "Muon only supports 2D parameters whereas we found a parameter with size: "
                        f"{p.size()}"
                    )

    @no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates the parameters; returns what ``closure`` returns, if one is given."""
        loss = self._evaluate(closure)
        for group in self.param_groups:
            lr, momentum = float(group["lr"]), group["momentum"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = _C.full(p.shape, 0, p.dtype, p.device)
                mean = state["momentum_buffer"].lerp_(p.grad, 1 - momentum)
                update = p.grad.lerp(mean, momentum) if group["nesterov"] else mean
                update = orthogonalize(
                    update, group["ns_coefficients"], group["ns_steps"], group["eps"]
                )
                p.mul_(1 - lr * group["weight_decay"])
                p.add_(update.to(p.dtype), alpha=-lr * _factor(group["adjust_lr_fn"], *p.shape))
        return loss


def orthogonalize(x: Any, coefficients: tuple, steps: int, eps: float) -> Any:
    """About ``U V^T`` of ``x = U S V^T``, in bfloat16: an odd polynomial drives S towards 1.

    Raises ValueError for 100 steps or more, and for other than three coefficients.
    """
    if steps >= 100:
        raise ValueError("Number of steps must be less than 100 for computational efficiency")
    if len(coefficients) != 3:
        raise ValueError("Coefficients must be a tuple of exactly 3 values")
    a, b, c = coefficients
    tall = x.shape[0] > x.shape[1]
    y = x.bfloat16()
    y = y.t() if tall else y
    y = y / y.norm().clamp(min=eps)
    for _ in range(steps):
        # Each result is rounded to bfloat16 once, the sums in it are not.
        wide = y.float()
        gram = (y @ y.t()).float()
        update = addmm(gram, gram, gram, beta=b, alpha=c).bfloat16()
        y = addmm(wide, update.float(), wide, beta=a).bfloat16()
    return y.t() if tall else y


def _factor(name: str | None, rows: int, columns: int) -> float:
    if name == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1, rows / columns))
