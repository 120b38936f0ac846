"""PyTorch's ``optim_db`` against us: six steps with every sample of every optimizer."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import torch
from comparison import Mismatch, compare, leaves
from torch.testing._internal.common_optimizers import OptimizerErrorEnum, optim_db
from translate import Untranslatable, rerouted, to_ours

import tilegrad as tg

STEPS = 6
ENTRIES = {info.name: info for info in optim_db}
# They choose an implementation, which must not change the result.
IMPLEMENTATIONS = ("foreach", "fused", "differentiable", "capturable")


def parameters(m: Any, dtype: Any = np.float32) -> list[Any]:
    """Three matrices, with values from a fixed formula."""
    shapes = ((3, 4), (5, 2), (1, 7))
    arrays = [np.cos(np.arange(a * b, dtype=np.float32)).reshape(a, b) for a, b in shapes]
    arrays = [x.astype(dtype) for x in arrays]
    return [m.nn.Parameter(m.from_numpy(x)) for x in arrays]


def run(
    m: Any, kind: Any, kwargs: dict[str, Any], schedule: Any, dtype: Any = np.float32
) -> tuple[list[Any], Any]:
    """The parameters after each step, and the state of the optimizer."""
    given = parameters(m, dtype)
    optimizer = kind(given, **kwargs)
    schedulers = [make(optimizer) for make in schedule]
    history = []

    def closure() -> Any:
        optimizer.zero_grad()
        loss = sum(((x - 0.3 * i) ** 4).sum() + x.sin().mean() for i, x in enumerate(given))
        loss.backward()
        return loss

    for _ in range(STEPS):
        loss = optimizer.step(closure)
        history.append([x.detach().clone() for x in given])
        for scheduler in schedulers:
            plateau = "Plateau" in type(scheduler).__name__
            scheduler.step(*([loss.detach()] if plateau else []))
        history.append([float(group["lr"]) for group in optimizer.param_groups])
    return history, optimizer.state_dict()


def same_layout(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Two ``state_dict``s have the same keys, so that either library can load both."""
    for key in theirs["state"]:
        mine, other = ours["state"].get(key, {}), theirs["state"][key]
        if sorted(mine) != sorted(other):
            raise Mismatch(f"state has {sorted(mine)}, expected {sorted(other)}")
    for mine, other in zip(ours["param_groups"], theirs["param_groups"], strict=True):
        if sorted(mine) != sorted(other):
            raise Mismatch(f"param_groups have {sorted(mine)}, expected {sorted(other)}")


def check_optimizer(entry: str) -> None:
    """Every sample, alone and under every scheduler of the entry, then the error inputs."""
    info = ENTRIES[entry]
    if not hasattr(tg.optim, entry):
        raise AttributeError(f"tilegrad has no optim.{entry}")
    ours = getattr(tg.optim, entry)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inputs = info.optim_inputs_func(device="cpu")
        for sample in inputs:
            check_run(ours, info.optim_cls, sample.kwargs, [])
        for schedule in info.scheduler_inputs:
            kwargs = inputs[0].kwargs
            if not info.only_supports_sparse_grads:
                check_run(ours, info.optim_cls, kwargs, schedule)
        check_errors(info, ours)


def check_run(ours: Any, theirs: Any, kwargs: dict[str, Any], schedule: Any) -> None:
    """One choice of arguments gives the same parameters after every step, and the same state."""
    plain = {name: x for name, x in kwargs.items() if name not in IMPLEMENTATIONS}
    their_history, their_state = run(torch, theirs, plain, schedule)
    mine = [rerouted(make) for make in schedule]
    for make in mine:
        make.__globals__.update(vars(tg.optim.lr_scheduler))
    history, state = run(tg, ours, to_ours(kwargs), mine)

    def in_float64() -> list[Any]:
        # Near its goal a line search in float32 compares losses that differ by rounding alone.
        exact, _ = run(torch, theirs, plain, schedule, np.float64)
        return [x.numpy() if isinstance(x, torch.Tensor) else None for x in leaves(exact)]

    compare(history, their_history, f"parameters with {plain}", in_float64)
    same_layout(state, their_state)


def same_objects(params: Any) -> Any:
    """``params`` with every tensor replaced by ours, the same one wherever it comes again."""
    made: dict[int, Any] = {}

    def replace(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: replace(x) for key, x in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(map(replace, value))
        if id(value) not in made:
            made[id(value)] = to_ours(value)
        return made[id(value)]

    return replace(params)


def check_errors(info: Any, ours: Any) -> None:
    """The error inputs raise exceptions of the types that the database states."""
    if info.optim_error_inputs_func is None:
        return
    for error in info.optim_error_inputs_func(device="cpu", dtype=torch.float32):
        sample = error.optimizer_error_input
        try:
            given = parameters(tg) if sample.params is None else same_objects(sample.params)
        except Untranslatable:
            continue
        if error.error_on is not OptimizerErrorEnum.CONSTRUCTION_ERROR:
            continue
        warns = issubclass(error.error_type, Warning)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error" if warns else "ignore")
                ours(given, **to_ours(sample.kwargs))
        except error.error_type as raised:
            if not re.search(error.error_regex, str(raised)):
                raise Mismatch(f"message {raised}, expected {error.error_regex}") from raised
            continue
        raise Mismatch(f"nothing raised, expected {error.error_regex}")
