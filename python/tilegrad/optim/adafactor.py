"""Adafactor: Adam's rates from sums over rows and columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _C
from .._limits import finfo
from ..autograd.mode import no_grad
from .optimizer import Optimizer, check_one_element, scalar_state

__all__ = ["Adafactor"]


class Adafactor(Optimizer):
    """Steps of the gradient over the root of a mean square that is kept as an outer product.

    A matrix needs the means of its rows and columns only, anything below two dimensions keeps all.
    The decay of step t is ``1 - t ** beta2_decay``, the rate ``min(lr, 1 / sqrt(t))`` times the
    parameter's own scale (at least ``eps[1]``), and the update's root mean square is clipped at
    ``d`` (Shazeer and Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost",
    2018). ``eps[0]`` bounds the mean square from below; None is the dtype's spacing at 1.
    ``weight_decay`` is decoupled, ``maximize`` reverses the gradient, ``foreach`` changes nothing.

    Raises ValueError for options out of their range.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        check_one_element(lr)
        for wrong, message in (
            (not lr >= 0, f"Learning rate should be >= 0 but is: {lr}"),
            (not beta2_decay <= 0, f"beta2_decay should be <= 0 but is: {beta2_decay}"),
            (eps[0] is not None and not eps[0] >= 0, f"epsilon1 should be >= 0 but is: {eps[0]}"),
            (not eps[1] >= 0, f"epsilon2 should be >= 0 but is: {eps[1]}"),
            (not d >= 1, f"Clipping threshold d should be >= 1 but is: {d}"),
            (not weight_decay >= 0, f"weight_decay should be >= 0 but is: {weight_decay}"),
        ):
            if wrong:
                raise ValueError(message)
        super().__init__(
            params,
            {
                "lr": lr,
                "beta2_decay": beta2_decay,
                "eps": eps,
                "d": d,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
            },
        )

    @no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates the parameters; returns what ``closure`` returns, if one is given."""
        loss = self._evaluate(closure)
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, -p.grad if group["maximize"] else p.grad, group)
        return loss

    def _update(self, p: Any, grad: Any, group: dict[str, Any]) -> None:
        state = self._state_of(p)
        state["step"] += 1
        step = state["step"].item()
        eps1, eps2 = group["eps"]
        eps1 = finfo(p.dtype).eps if eps1 is None else eps1
        lr = float(group["lr"])
        rate = max(eps2, _root_mean_square(p)) * min(lr, step**-0.5)
        if group["weight_decay"] != 0:
            p.mul_(1 - lr * group["weight_decay"])
        share = step ** group["beta2_decay"]
        if grad.ndim > 1:
            row, column = state["row_var"], state["col_var"]
            squares = grad * grad
            row.lerp_(squares.mean(-1, keepdim=True), share)
            column.lerp_(squares.mean(-2, keepdim=True), share)
            square = (row @ column).div_(row.mean(-2, keepdim=True).clamp_(min=eps1))
        else:
            square = state["variance"].lerp_(grad * grad, share).clone()
        update = square.clamp_(min=eps1 * eps1).rsqrt_().mul_(grad)
        p.add_(update, alpha=-rate / max(1.0, _root_mean_square(update) / group["d"]))

    def _state_of(self, p: Any) -> dict[str, Any]:
        state = self.state[p]
        if not state:
            state["step"] = scalar_state(0.0)
            shape = tuple(p.shape)
            if p.ndim > 1:
                state["row_var"] = _C.full((*shape[:-1], 1), 0, p.dtype, p.device)
                state["col_var"] = _C.full((*shape[:-2], 1, shape[-1]), 0, p.dtype, p.device)
            else:
                state["variance"] = _C.full(shape, 0, p.dtype, p.device)
        return state


def _root_mean_square(x: Any) -> float:
    return x.norm(2).item() / max(x.numel(), 1) ** 0.5
