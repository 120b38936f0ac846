"""``Muon``: steps of matrices have singular values of nearly one; the rest goes by AdamW."""

from __future__ import annotations

import math
import re
from typing import Any

import tilegrad as tg

from ..registry import own_module
from .composed import Composed

__all__ = ["Muon"]


class Muon(Composed):
    """Momentum made orthogonal by Newton-Schulz steps (Jordan et al., 2024), for matrices;
    ``rms_rate`` scales the steps to the size of Adam's (Liu et al., 2025).

    Variables of another rank, embeddings (with ``exclude_embeddings``) and those whose path holds
    one of ``exclude_layers`` are updated as by AdamW, at ``adam_lr_ratio`` times the rate.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float = 1e-7,
        weight_decay: float | None = 0.004,
        *,
        name: str | None = None,
        exclude_layers: Any = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.7750,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        exclude_layers = list(exclude_layers or [])
        self._set(
            locals(), "adam_beta_1", "adam_beta_2", "epsilon", "exclude_layers", "muon_a", "muon_b",
            "muon_c", "adam_lr_ratio", "momentum", "ns_steps", "nesterov", "exclude_embeddings",
            "adam_weight_decay", "rms_rate",
        )  # fmt: skip

    def _by_adam(self, variable: Any) -> bool:
        path = variable.path
        return (
            variable.ndim != 2
            or (self.exclude_embeddings and "embedding" in path.lower())
            or any(re.search(word, path) for word in self.exclude_layers)
        )

    def build(self, variables: list[Any]) -> None:
        if self.built:
            return
        super(Composed, self).build(variables)
        for variable in variables:
            names = ("momentum", "velocity") if self._by_adam(variable) else ("momentum",)
            self._state[variable] = {name: self._slot(variable, name) for name in names}

    def _decay(self, variables: list[Any], rate: float) -> None:
        own, both = self.weight_decay, (True, False)
        for adam in both:
            self.weight_decay = self.adam_weight_decay if adam else own
            if self.weight_decay is not None:
                super()._decay([v for v in variables if self._by_adam(v) is adam], rate)
        self.weight_decay = own

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        state = self._state[variable]
        m = state["momentum"]
        if "velocity" not in state:
            m.mul_(self.momentum).add_(gradient)
            step = gradient + self.momentum * m if self.nesterov else m.detach()
            size = 1.0 if self.rms_rate is None else math.sqrt(max(variable.shape)) * self.rms_rate
            variable.sub_(self._orthogonal(step), alpha=learning_rate * size)
            return
        v, count = state["velocity"], self._steps + 1
        rate = learning_rate * self.adam_lr_ratio
        rate *= math.sqrt(1 - self.adam_beta_2**count) / (1 - self.adam_beta_1**count)
        m.add_(gradient - m, alpha=1 - self.adam_beta_1)
        v.add_(gradient * gradient - v, alpha=1 - self.adam_beta_2)
        variable.sub_(m * rate / (tg.sqrt(v) + self.epsilon))

    def _orthogonal(self, x: Any) -> Any:
        """Nearly the orthogonal factor of a matrix: each step is an odd polynomial of degree 5,
        which moves all singular values of a matrix of norm 1 towards one."""
        tall = x.shape[0] > x.shape[1]
        x = x.t() if tall else x
        x = x / (tg.sqrt((x * x).sum()) + 1e-7)
        for _ in range(self.ns_steps):
            square = x @ x.t()
            x = self.muon_a * x + (self.muon_b * square + self.muon_c * square @ square) @ x
        return x.t() if tall else x


own_module(globals())
