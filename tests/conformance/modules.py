"""PyTorch's ``module_db`` against us: forward and backward of every sample of every module."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from comparison import Mismatch, compare, leaves
from operators import fresh, weights
from torch.testing._internal.common_modules import ModuleErrorEnum, module_db
from translate import Untranslatable, to_ours

import tilegrad as tg

# With these, results in training mode are drawn from a generator of ours.
RANDOM = {"nn.FractionalMaxPool2d", "nn.FractionalMaxPool3d"}

ENTRIES = {info.name: info for info in module_db}
assert len(ENTRIES) == len(module_db)


def ours_of(info: Any) -> Any:
    """Our class of the same name."""
    short = info.name.removeprefix("nn.")
    if not hasattr(tg.nn, short):
        raise AttributeError(f"tilegrad has no nn.{short}")
    return getattr(tg.nn, short)


def outcome(m: Any, module: Any, args: Any, kwargs: Any) -> tuple[Any, list[Any], list[str]]:
    """Results, gradients of inputs and parameters, names of parameters and buffers."""
    output = module(*args, **kwargs)
    inputs = [x for x in leaves([args, kwargs]) if isinstance(x, m.Tensor) and x.requires_grad]
    roots = [x for x in leaves(output) if isinstance(x, m.Tensor) and x.requires_grad]
    if roots:
        m.autograd.backward(roots, [m.from_numpy(weights(x)).to(x.dtype) for x in roots])
    gradients = [x.grad for x in [*inputs, *module.parameters()]]
    state = [*dict(module.state_dict()).values()]
    return output, [*gradients, *state], list(module.state_dict())


def silent(module: torch.nn.Module) -> None:
    """Dropout without effect, as its random numbers are not PyTorch's."""
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
        if isinstance(getattr(part, "dropout", None), float):
            part.dropout = 0.0


def check_sample(info: Any, sample: Any, training: bool) -> None:
    """One sample gives the same results, gradients, parameters and buffers."""
    cls = ours_of(info)
    args, kwargs = sample.constructor_input.args, sample.constructor_input.kwargs
    theirs = info.module_cls(*args, **kwargs).float()
    ours = cls(*to_ours(args), **to_ours(kwargs)).float()
    given = (sample.forward_input.args, sample.forward_input.kwargs)
    translated = to_ours(given)
    theirs.train(training)
    ours.train(training)
    if info.is_lazy:  # materialized by a first call
        theirs(*fresh(given[0]), **fresh(given[1]))
        ours(*to_ours(given[0]), **to_ours(given[1]))
    silent(theirs)
    silent_ours(ours)
    ours.load_state_dict(to_ours(dict(theirs.state_dict())))
    their_output, their_rest, their_names = outcome(torch, theirs, *fresh(given))
    output, rest, names = outcome(tg, ours, *translated)
    if names != their_names:
        raise Mismatch(f"state_dict has {names}, expected {their_names}")
    values = info.name not in RANDOM
    exact: list[list[Any]] = []

    def in_float64(part: int) -> list[Any]:
        if not exact:
            double = info.module_cls(*args, **kwargs)
            if info.is_lazy:
                double(*fresh(given[0]), **fresh(given[1]))
            silent(double)
            double.load_state_dict(dict(zip(their_names, before, strict=True)))
            double.double().train(training)
            found = outcome(torch, double, *fresh(given, torch.float64))
            for x in found[:2]:
                exact.append(
                    [y.detach().numpy() if isinstance(y, torch.Tensor) else None
                     for y in leaves(x)]
                )  # fmt: skip
        return exact[part]

    before = [x.detach().clone() for x in theirs.state_dict().values()]
    compare(output, their_output, "output", lambda: in_float64(0), values)
    compare(rest, their_rest, "gradient or state", lambda: in_float64(1), values)


def silent_ours(module: Any) -> None:
    """The same for ours."""
    for part in module.modules():
        if isinstance(part, tg.nn.Dropout):
            part.p = 0.0
        if isinstance(getattr(part, "dropout", None), float):
            part.dropout = 0.0


def samples(info: Any, training: bool) -> list[Any]:
    """The samples of an entry, the same in every run."""
    torch.manual_seed(0)
    return info.module_inputs_func(
        info, device="cpu", dtype=torch.float32, requires_grad=True, training=training
    )


def check_module(entry: str) -> None:
    """Every sample in training and in evaluation mode, then the error inputs."""
    info = ENTRIES[entry]
    ours_of(info)
    compared = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for training in (True, False):
            for sample in samples(info, training):
                try:
                    check_sample(info, sample, training)
                except Untranslatable:
                    continue
                compared += 1
        if compared == 0:
            raise Untranslatable("no sample has real, dense values only")
        check_errors(info)


def check_errors(info: Any) -> None:
    """The error inputs raise exceptions of the types that the database states."""
    if info.module_error_inputs_func is None:
        return
    errors = info.module_error_inputs_func(
        info, device="cpu", dtype=torch.float32, requires_grad=False, training=True
    )
    for error in errors:
        sample = error.module_error_input
        made, given = sample.constructor_input, sample.forward_input
        try:
            arguments = to_ours((made.args, made.kwargs))
            if error.error_on is ModuleErrorEnum.FORWARD_ERROR:
                arguments += to_ours((given.args, given.kwargs))
        except Untranslatable:
            continue
        try:
            module = ours_of(info)(*arguments[0], **arguments[1])
            if error.error_on is ModuleErrorEnum.FORWARD_ERROR:
                module(*arguments[2], **arguments[3])
        except error.error_type:
            continue
        raise Mismatch(f"nothing raised, expected {error.error_regex}")
