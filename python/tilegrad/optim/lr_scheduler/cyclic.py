"""Schedulers that let the rate rise and fall, and the momentum fall and rise."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from typing import Any

from .base import LRScheduler, check_optimizer, one_per_group, set_in_group

__all__ = ["CyclicLR", "OneCycleLR"]


class _WithMomentum(LRScheduler):
    """What both share: momentum, or the first of the betas, as the second thing scheduled."""

    use_beta1: bool

    def _init_momentum(self, optimizer: Any, base: Any, highest: Any, resumed: bool) -> None:
        if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
            raise ValueError(
                "optimizer must support momentum or beta1 with `cycle_momentum` option enabled"
            )
        self.use_beta1 = "betas" in optimizer.defaults
        for low, high, group in zip(base, highest, optimizer.param_groups, strict=True):
            if not resumed:
                self._set_momentum(group, high)
                group["max_momentum"], group["base_momentum"] = high, low

    def _set_momentum(self, group: dict[str, Any], value: Any) -> None:
        if self.use_beta1:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value


class CyclicLR(_WithMomentum):
    """The rate climbs from ``base_lr`` to ``max_lr`` in ``step_size_up`` steps and down again.

    ``mode``: all peaks of one height (``"triangular"``), each half as high as the one before
    (``"triangular2"``), or scaled by ``gamma ** step`` (``"exp_range"``); or ``scale_fn``, of the
    number of the cycle or of the step, as ``scale_mode`` says. With ``cycle_momentum`` the momentum
    goes the other way between ``max_momentum`` and ``base_momentum`` (Smith, "Cyclical Learning
    Rates for Training Neural Networks", 2017).

    Raises TypeError for what is no optimizer, ValueError for an unknown mode, for lists of another
    length than there are groups and for momentum that the optimizer does not have.
    """

    def __init__(
        self,
        optimizer: Any,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        base_lrs = one_per_group("base_lr", optimizer, base_lr)
        if last_epoch == -1:
            for lr, group in zip(base_lrs, optimizer.param_groups, strict=True):
                set_in_group(group, "lr", lr)
        self.max_lrs = one_per_group("max_lr", optimizer, max_lr)
        up = float(step_size_up)
        down = up if step_size_down is None else float(step_size_down)
        self.total_size = up + down
        self.step_ratio = up / self.total_size
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError("mode is invalid and scale_fn is None")
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = scale_mode
        if scale_fn is None:
            self.scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.base_momentums = one_per_group("base_momentum", optimizer, base_momentum)
            self.max_momentums = one_per_group("max_momentum", optimizer, max_momentum)
            self._init_momentum(
                optimizer, self.base_momentums, self.max_momentums, last_epoch != -1
            )
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def scale_fn(self, x: float) -> float:
        """The height of the peaks at a cycle or step."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        if self.mode == "triangular2":
            return 1 / (2.0 ** (x - 1))
        return self.gamma**x if self.mode == "exp_range" else 1.0

    def get_lr(self) -> list[Any]:
        """The rates of ``self.last_epoch``; also sets the momentum."""
        self._warn_unless_asking()
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        rising = x <= self.step_ratio
        height = x / self.step_ratio if rising else (x - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            momenta = zip(
                self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True
            )
            for group, low, high in momenta:
                self._set_momentum(group, high - (high - low) * height * scale)
        pairs = zip(self.base_lrs, self.max_lrs, strict=True)
        return [low + (high - low) * height * scale for low, high in pairs]

    def state_dict(self) -> dict[str, Any]:
        """All attributes but the optimizer; of a function that is an object, its attributes."""
        state = super().state_dict()
        function = state["_scale_fn_custom"]
        state["_scale_fn_custom"] = (
            None
            if function is None or isinstance(function, types.FunctionType)
            else dict(function.__dict__)
        )
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` gave; a function must have been given again."""
        rest = {key: value for key, value in state_dict.items() if key != "_scale_fn_custom"}
        super().load_state_dict(rest)
        saved = state_dict["_scale_fn_custom"]
        if saved is not None and self._scale_fn_custom is not None:
            self._scale_fn_custom.__dict__.update(saved)


class OneCycleLR(_WithMomentum):
    """One climb from ``max_lr / div_factor`` to ``max_lr`` and one descent, far below the start.

    ``total_steps``, or ``epochs * steps_per_epoch``, is the whole length, of which ``pct_start``
    is the climb; the last rate is the first one over ``final_div_factor``. With ``three_phase`` the
    descent first goes as fast as the climb, back to the start. The momentum goes the other way
    (Smith and Topin, "Super-Convergence", 2018).

    Raises TypeError for what is no optimizer; ValueError for lengths that are no positive integers,
    a share outside [0, 1], an unknown strategy, momentum that the optimizer does not have, and
    once more steps are taken than there are.
    """

    def __init__(
        self,
        optimizer: Any,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._anneal_func_type = anneal_strategy
        self._schedule_phases = _phases(self.total_steps, pct_start, three_phase)
        max_lrs = one_per_group("max_lr", optimizer, max_lr)
        if last_epoch == -1:
            for highest, group in zip(max_lrs, optimizer.param_groups, strict=True):
                group["initial_lr"] = highest / div_factor
                group["max_lr"] = highest
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            base = one_per_group("base_momentum", optimizer, base_momentum)
            highest = one_per_group("max_momentum", optimizer, max_momentum)
            self._init_momentum(optimizer, base, highest, last_epoch != -1)
        super().__init__(optimizer, last_epoch)

    def _between(self, start: Any, end: Any, share: float) -> Any:
        if self._anneal_func_type == "cos":
            return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)
        return (end - start) * share + start

    def get_lr(self) -> list[Any]:
        """The rates of ``self.last_epoch``; also sets the momentum."""
        self._warn_unless_asking()
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(
                f"Tried to step {step} times. The specified number of total steps is "
                f"{self.total_steps}"
            )
        begin = 0.0
        for phase in self._schedule_phases:
            if step <= phase["end_step"] or phase is self._schedule_phases[-1]:
                break
            begin = phase["end_step"]
        share = (step - begin) / (phase["end_step"] - begin)
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._between(group[phase["start_lr"]], group[phase["end_lr"]], share))
            if self.cycle_momentum:
                ends = group[phase["start_momentum"]], group[phase["end_momentum"]]
                self._set_momentum(group, self._between(*ends, share))
        return rates


def _total_steps(total: Any, epochs: Any, steps_per_epoch: Any) -> int:
    if total is not None:
        parts = {"total_steps": total}
    elif epochs is not None and steps_per_epoch is not None:
        parts = {"epochs": epochs, "steps_per_epoch": steps_per_epoch}
    else:
        raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
    for name, value in parts.items():
        if not isinstance(value, int) or value <= 0:
            raise ValueError(f"Expected positive integer {name}, but got {value}")
    return math.prod(parts.values())


def _phases(total: int, climb: float, three: bool) -> list[dict[str, Any]]:
    """Where each phase ends, and between which of a group's options it goes."""
    keys = ("end_step", "start_lr", "end_lr", "start_momentum", "end_momentum")
    high, low = "max_momentum", "base_momentum"
    rows: list[tuple] = [(float(climb * total) - 1, "initial_lr", "max_lr", high, low)]
    if three:
        rows.append((float(2 * climb * total) - 2, "max_lr", "initial_lr", low, high))
        rows.append((total - 1, "initial_lr", "min_lr", high, high))
    else:
        rows.append((total - 1, "max_lr", "min_lr", low, high))
    return [dict(zip(keys, row, strict=True)) for row in rows]
