"""L-BFGS: Newton's method with curvature estimated from the last steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autograd.mode import enable_grad, no_grad
from ..ops.fill import zeros_like
from ..ops.join import cat
from .line_search import number, strong_wolfe
from .optimizer import Optimizer, check_rate

__all__ = ["LBFGS"]


class LBFGS(Optimizer):
    """Quasi-Newton steps along ``-H g``, H estimated from the last ``history_size`` steps.

    One call of :meth:`step` makes up to ``max_iter`` iterations and ``max_eval`` (default
    ``max_iter * 5 // 4``) evaluations of its closure. It stops once the largest gradient is at most
    ``tolerance_grad``, or the step or the change of the loss is below ``tolerance_change``.
    ``line_search_fn`` is None for steps of length ``lr`` or ``"strong_wolfe"`` (Liu and Nocedal,
    "On the limited memory BFGS method for large scale optimization", 1989). There can be only one
    parameter group.

    Raises ValueError for a negative rate and for several groups, RuntimeError at the first step for
    another line search.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_rate(lr)
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @property
    def _params(self) -> list[Any]:
        return self.param_groups[0]["params"]

    def _flat_grad(self) -> Any:
        grads = [zeros_like(p) if p.grad is None else p.grad for p in self._params]
        return cat([grad.reshape(-1) for grad in grads], 0)

    def _move(self, length: float, direction: Any) -> None:
        offset = 0
        for p in self._params:
            p.add_(direction[offset : offset + p.numel()].view(p.shape), alpha=float(length))
            offset += p.numel()

    @no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:
        """Minimizes the loss that ``closure`` returns after computing its gradients.

        Returns the loss before the first iteration.
        """
        closure = enable_grad()(closure)
        group = self.param_groups[0]
        lr = float(group["lr"])
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first_loss = closure()
        loss = float(first_loss)
        evaluations = 1
        state["func_evals"] += 1
        grad = self._flat_grad()
        if grad.abs().max().item() <= group["tolerance_grad"]:
            return first_loss
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            direction = self._direction(state, grad)
            state["d"] = direction
            state["prev_flat_grad"], state["prev_loss"] = grad.clone(), loss
            first = state["n_iter"] == 1
            length = min(1.0, 1.0 / number(grad.abs().sum())) * lr if first else lr
            state["t"] = float(length)
            slope = number(grad.dot(direction))
            if slope > -group["tolerance_change"]:
                break
            before = loss
            made = 0
            if group["line_search_fn"] is not None:
                left = group["max_eval"] - evaluations
                loss, grad, length, made = self._search(
                    closure, length, direction, loss, grad, slope, left
                )
                state["t"] = float(length)
                self._move(length, direction)
            else:
                self._move(length, direction)
                if iteration != group["max_iter"]:  # nobody would use the last one
                    loss, grad, made = float(closure()), self._flat_grad(), 1
            evaluations += made
            state["func_evals"] += made
            if (
                evaluations >= group["max_eval"]
                or grad.abs().max().item() <= group["tolerance_grad"]
                or abs(length) * direction.abs().max().item() <= group["tolerance_change"]
                or abs(loss - before) < group["tolerance_change"]
            ):
                break
        return first_loss

    def _direction(self, state: dict[str, Any], grad: Any) -> Any:
        """``-H grad`` by the two-loop recursion, after learning from the last step."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return -grad
        changes, steps, inverses = state["old_dirs"], state["old_stps"], state["ro"]
        change = grad - state["prev_flat_grad"]
        step = state["d"] * float(state["t"])
        curvature = change.dot(step)
        if curvature.item() > 1e-10:
            if len(changes) == self.param_groups[0]["history_size"]:
                for history in (changes, steps, inverses):
                    history.pop(0)
            changes.append(change)
            steps.append(step)
            inverses.append(1.0 / curvature)
            state["H_diag"] = curvature / change.dot(change)
        along = state.setdefault("al", [None] * self.param_groups[0]["history_size"])
        direction = -grad
        for i in range(len(changes) - 1, -1, -1):
            along[i] = steps[i].dot(direction) * inverses[i]
            direction.add_(changes[i], alpha=-along[i].item())
        direction.mul_(state["H_diag"])
        for i, step in enumerate(steps):
            back = changes[i].dot(direction) * inverses[i]
            direction.add_(step, alpha=(along[i] - back).item())
        return direction

    def _search(
        self,
        closure: Callable[[], Any],
        length: float,
        direction: Any,
        loss: float,
        grad: Any,
        slope: float,
        evaluations: int,
    ) -> tuple[float, Any, float, int]:
        if self.param_groups[0]["line_search_fn"] != "strong_wolfe":
            raise RuntimeError("only 'strong_wolfe' is supported")
        start = [p.clone() for p in self._params]

        def evaluate(t: float) -> tuple[float, Any]:
            self._move(t, direction)
            result = float(closure()), self._flat_grad()
            for p, value in zip(self._params, start, strict=True):
                p.copy_(value)
            return result

        return strong_wolfe(evaluate, length, direction, loss, grad, slope, evaluations)
