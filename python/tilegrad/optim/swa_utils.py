"""Averages of a model over training: stochastic weight averaging and moving averages.

Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

from .. import _C
from ..autograd.mode import no_grad
from ..nn.batchnorm import _BatchNorm
from ..nn.module import Module
from ..ops.fill import tensor
from .lr_scheduler.base import LRScheduler, one_per_group

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]


def _check_decay(decay: float) -> None:
    if not 0 <= decay <= 1:
        raise ValueError(
            f"Invalid decay value {decay} provided. Please provide a value in [0,1] range."
        )


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Any, Any, Any], Any]:
    """An ``avg_fn``: ``decay * average + (1 - decay) * new``. ValueError outside [0, 1]."""
    _check_decay(decay)

    @no_grad()
    def update(average: Any, new: Any, count: Any) -> Any:
        return decay * average + (1 - decay) * new

    return update


def get_swa_avg_fn() -> Callable[[Any, Any, Any], Any]:
    """An ``avg_fn`` with the mean of all models so far. Never fails."""

    @no_grad()
    def update(average: Any, new: Any, count: Any) -> Any:
        return average + (new - average) / (count + 1)

    return update


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[[Any, Any, Any], None]:
    """A ``multi_avg_fn`` that moves all averages in place. ValueError for decays not in [0, 1]."""
    _check_decay(decay)

    @no_grad()
    def update(averages: Any, new: Any, count: Any) -> None:
        _move_towards(averages, new, 1 - decay)

    return update


def get_swa_multi_avg_fn() -> Callable[[Any, Any, Any], None]:
    """A ``multi_avg_fn`` with the mean of all models so far. Never fails."""

    @no_grad()
    def update(averages: Any, new: Any, count: Any) -> None:
        _move_towards(averages, new, 1 / (float(count) + 1))

    return update


def _move_towards(averages: Any, new: Any, share: float) -> None:
    for average, value in zip(averages, new, strict=True):
        if average.is_floating_point() or average.is_complex():
            average.lerp_(value, share)
        else:
            average.copy_(average * (1 - share) + value * share)


class AveragedModel(Module):
    """A copy of a model whose parameters are averages over all calls of ``update_parameters``.

    ``avg_fn(average, new, count)`` returns the new average of one parameter, ``multi_avg_fn`` takes
    lists and writes in place; the default is the plain mean. ``use_buffers`` averages buffers too;
    otherwise they are copied. ``n_averaged`` counts the calls.

    Raises AssertionError if both functions are given.
    """

    n_averaged: Any

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Callable[[Any, Any, Any], Any] | None = None,
        multi_avg_fn: Callable[[Any, Any, Any], None] | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", tensor(0, dtype=_C.int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model computes."""
        return self.module(*args, **kwargs)

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Takes one more model into the averages. The first one is copied."""
        averages = self._averaged(self.module)
        new = [x.to(a.device) for x, a in zip(self._averaged(model), averages, strict=True)]
        if self.n_averaged.item() == 0:
            for average, value in zip(averages, new, strict=True):
                average.copy_(value)
        elif self.avg_fn is not None:
            for average, value in zip(averages, new, strict=True):
                average.copy_(self.avg_fn(average, value, self.n_averaged))
        else:
            update = self.multi_avg_fn or get_swa_multi_avg_fn()
            update(averages, new, self.n_averaged)
        if not self.use_buffers:
            for mine, theirs in zip(self.module.buffers(), model.buffers(), strict=True):
                mine.detach().copy_(theirs)
        self.n_averaged += 1

    def _averaged(self, model: Module) -> list[Any]:
        found = chain(model.parameters(), model.buffers() if self.use_buffers else ())
        return [x.detach() for x in found]


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Computes the running statistics of all batch normalizations anew, over a whole ``loader``.

    Batches may be tensors or lists whose first entry is the input. Raises what the model raises.
    """
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    was_training = model.training
    model.train()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean over all batches
    for batch in loader:
        input = batch[0] if isinstance(batch, (list, tuple)) else batch
        model(input if device is None else input.to(device))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """Goes from the present rate to ``swa_lr`` in ``anneal_epochs``, and stays there.

    ``anneal_strategy``: ``"cos"`` or ``"linear"``. Raises ValueError for other strategies and for
    a length that is no integer from 0 on.
    """

    def __init__(
        self,
        optimizer: Any,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        rates = one_per_group("swa_lr", optimizer, swa_lr)
        for rate, group in zip(rates, optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._anneal_strategy = anneal_strategy
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step: int) -> float:
        t = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * t)) / 2 if self._anneal_strategy == "cos" else t

    def get_lr(self) -> list[Any]:
        """The rates of the present step."""
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use "
                "`get_last_lr()`.",
                UserWarning,
                stacklevel=2,
            )
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            end = group["swa_lr"]
            start = end if before == 1 else (group["lr"] - before * end) / (1 - before)
            rates.append(end * now + start * (1 - now))
        return rates
