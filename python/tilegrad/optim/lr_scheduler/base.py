"""``LRScheduler``: counting steps, writing rates, saving; shared by all schedulers."""

from __future__ import annotations

import contextlib
import types
import warnings
from collections.abc import Iterator
from typing import Any

from ...tensor import Tensor
from ..optimizer import Optimizer

__all__ = ["LRScheduler", "group_values", "one_per_group", "set_in_group", "warn_about_epoch"]


def check_optimizer(optimizer: Any) -> None:
    """Raises TypeError for what is no optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


def group_values(optimizer: Any, key: str) -> list[Any]:
    """An option of each group; tensors are copied, so that nobody can change them from outside."""
    values = [group[key] for group in optimizer.param_groups]
    return [value.clone() if isinstance(value, Tensor) else value for value in values]


def set_in_group(group: dict[str, Any], key: str, value: Any) -> None:
    """Writes an option, into the tensor if it is one."""
    if isinstance(group[key], Tensor):
        group[key].fill_(float(value))
    else:
        group[key] = value


def one_per_group(name: str, optimizer: Any, value: Any) -> list[Any]:
    """A list with a value per group, from such a list or from one value for all.

    Raises ValueError for a list of another length.
    """
    groups = len(optimizer.param_groups)
    values = list(value) if isinstance(value, (list, tuple)) else [value] * groups
    if len(values) != groups:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups. "
            f"{name} has {len(values)} values, param_groups has {groups}."
        )
    return [x.clone() if isinstance(x, Tensor) else x for x in values]


def warn_about_epoch() -> None:
    """PyTorch's advice not to pass ``epoch`` to ``step``."""
    warnings.warn(
        "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where "
        "possible. Please use `scheduler.step()` to step the scheduler. If epoch is different from "
        "None, the closed form is used instead of the chainable form, where available.",
        UserWarning,
        stacklevel=3,
    )


class LRScheduler:
    """The base class: a subclass defines ``get_lr``, which returns the rate of each group.

    The constructor takes the first step, which sets the rates of epoch 0. ``last_epoch`` other than
    -1 resumes: every group must then hold its ``initial_lr``.

    Raises TypeError for what is no optimizer, KeyError for a missing ``initial_lr``.
    """

    _get_lr_called_within_step = False
    _is_initial = False

    def __init__(self, optimizer: Any, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                lr = group["lr"]
                group.setdefault("initial_lr", lr.clone() if isinstance(lr, Tensor) else lr)
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming "
                    "scheduler with last_epoch >= 0: load the optimizer's state first"
                )
        self.base_lrs = group_values(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def get_last_lr(self) -> list[Any]:
        """The rates that the last step has set, one per group."""
        return self._last_lr

    def get_lr(self) -> list[Any]:
        """The rates of ``self.last_epoch``, one per group; called by :meth:`step`."""
        raise NotImplementedError(f"{type(self).__name__}: get_lr is not defined")

    def step(self, epoch: int | None = None) -> None:
        """Goes on to the next epoch, or to ``epoch``, and sets the rates."""
        if self._step_count == 1 and not getattr(self.optimizer, "_opt_called", False):
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. Call them in "
                "the opposite order: `optimizer.step()` before `lr_scheduler.step()`. Otherwise "
                "the first value of the learning rate schedule is skipped.",
                UserWarning,
                stacklevel=2,
            )
        self._step_count += 1
        if epoch is not None:
            warn_about_epoch()
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        with self._asking():
            if epoch is None:
                self.last_epoch += 1
                values = self.get_lr()
            else:
                self.last_epoch = epoch
                values = getattr(self, "_get_closed_form_lr", self.get_lr)()
        self._set_rates(values)

    def _set_rates(self, values: list[Any]) -> None:
        for group, lr in zip(self.optimizer.param_groups, values, strict=True):
            set_in_group(group, "lr", lr)
        self._last_lr = group_values(self.optimizer, "lr")

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """While the scheduler itself calls ``get_lr``, whose values others may misread."""
        self._get_lr_called_within_step = True
        try:
            yield
        finally:
            self._get_lr_called_within_step = False

    def _warn_unless_asking(self) -> None:
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use "
                "`get_last_lr()`.",
                UserWarning,
                stacklevel=3,
            )

    def _scaled(self, factor: float) -> list[Any]:
        """The present rates times a factor."""
        return [group["lr"] * factor for group in self.optimizer.param_groups]

    def _unchanged(self) -> list[Any]:
        return group_values(self.optimizer, "lr")

    def state_dict(self) -> dict[str, Any]:
        """All attributes but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` gave."""
        self.__dict__.update(state_dict)


def saved_functions(functions: list[Any]) -> list[dict[str, Any] | None]:
    """The attributes of callable objects; functions and lambdas cannot be saved and give None."""
    return [
        None if isinstance(function, types.FunctionType) else dict(function.__dict__)
        for function in functions
    ]


class _LRScheduler(LRScheduler):
    """The base class under its old name."""
