"""PyTorch's ``op_db`` against us: samples, error inputs, other forms of every operator."""

from __future__ import annotations

import itertools
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from comparison import Mismatch, compare, leaves
from torch.testing._internal.common_methods_invocations import op_db
from translate import (
    Untranslatable,
    lookup,
    operator,
    rerouted,
    shared_memory,
    to_ours,
    whole_storage,
)

import tilegrad as tg

# Results that PyTorch leaves undefined, and those drawn from a generator whose stream depends on
# the libraries PyTorch was built with: shapes and dtypes are compared.
UNDEFINED = {"empty", "empty_like", "empty_permuted", "empty_strided", "new_empty",
             "new_empty_strided"}  # fmt: skip
RANDOM = {
    "bernoulli", "cauchy", "exponential", "geometric", "log_normal", "multinomial",
    "nn.functional.alpha_dropout", "nn.functional.dropout", "nn.functional.dropout2d",
    "nn.functional.dropout3d", "nn.functional.feature_alpha_dropout",
    "nn.functional.fractional_max_pool2d", "nn.functional.fractional_max_pool3d",
    "nn.functional.multi_head_attention_forward", "nn.functional.rrelu",
    "nn.functional.scaled_dot_product_attention",
}  # fmt: skip


# How many complex samples of an entry are compared: they are as many as the real ones, and take as
# long.
MOST_COMPLEX = 8

# Their methods are called without a seed of their own.
UNSEEDED = {"normal", "uniform"}


def name_of(info: Any) -> str:
    """An entry's name, with its variant where the database has several."""
    variant = info.variant_test_name
    return f"{info.name}({variant})" if variant else info.name


def dtype_for(info: Any) -> torch.dtype | None:
    """float32, or the first dtype that we have of those the entry supports."""
    ours = (torch.float32, torch.int64, torch.int32, torch.bool, torch.complex64)
    return next((dtype for dtype in ours if dtype in info.dtypes), None)


ENTRIES = {name_of(info): info for info in op_db}
WITH_ERRORS = {name: info for name, info in ENTRIES.items() if info.error_inputs_func is not None}
WITH_FORMS = {
    name: info
    for name, info in ENTRIES.items()
    if info.aliases or info.method_variant or info.inplace_variant
}
WITH_COMPLEX = {
    name: info
    for name, info in ENTRIES.items()
    if torch.complex64 in info.dtypes and dtype_for(info) is not torch.complex64
}
assert len(ENTRIES) == len(op_db)


def has_dropout(sample: Any) -> bool:
    """Whether a sample of attention draws random numbers."""
    # multi_head_attention_forward(query; key, value, ..., its tenth: dropout_p; training=...)
    given = sample.args[9] if len(sample.args) > 9 else 0
    given = max(given, *(sample.kwargs.get(name, 0) for name in ("dropout_p", "p")))
    return given > 0 and sample.kwargs.get("training", True)


def samples(info: Any, dtype: torch.dtype | None = None) -> Iterator[Any]:
    """The samples of an entry, the same in every run; of :func:`dtype_for` unless given."""
    dtype = dtype_for(info) if dtype is None else dtype
    if dtype is None:
        raise Untranslatable("no dtype that we have")
    torch.manual_seed(0)
    gradients = info.supports_autograd and (dtype.is_floating_point or dtype.is_complex)
    # Not info.sample_inputs(...), which looks through the call stack for every sample.
    yield from info.sample_inputs_func(info, "cpu", dtype, gradients)


def fresh(value: Any, dtype: torch.dtype | None = None) -> Any:
    """The same values as new leaves, floating ones in ``dtype``."""
    if isinstance(value, torch.Tensor):
        made = value.detach()
        if dtype is not None and made.dtype in (torch.float32, torch.complex64):
            made = made.to(dtype if made.dtype is torch.float32 else dtype.to_complex())
        if isinstance(value, torch.nn.Parameter):
            return torch.nn.Parameter(made, value.requires_grad)
        if made.layout is torch.strided and dtype is None:
            memory = whole_storage(made).clone()
            made = memory.as_strided(made.shape, made.stride(), made.storage_offset()).detach()
        else:
            made = made.clone()
        return made.requires_grad_(value.requires_grad)
    if isinstance(value, torch.Size):
        return value
    if isinstance(value, (list, tuple)):
        return type(value)(fresh(x, dtype) for x in value)
    if isinstance(value, dict):
        return {key: fresh(x, dtype) for key, x in value.items()}
    if dtype is not None and value in (torch.float32, torch.complex64):
        return dtype if value is torch.float32 else dtype.to_complex()
    return value


def weights(output: Any) -> np.ndarray:
    """Fixed factors for the sum of a result that is differentiated."""
    angles = np.arange(output.numel()).reshape(tuple(output.shape))
    return np.asarray(np.exp(1j * angles) if output.is_complex() else np.cos(angles))


def evaluate(m: Any, function: Any, process: Any, arguments: tuple) -> tuple[Any, list[Any]]:
    """The results, and the gradients of all leaves, ``m`` being torch or tilegrad."""
    value, args, kwargs = arguments
    output = process(function(value, *args, **kwargs))
    inputs = [x for x in leaves([value, args, kwargs]) if isinstance(x, m.Tensor)]
    inputs = [x for x in inputs if x.requires_grad and x.is_leaf]
    roots = [x for x in leaves(output) if isinstance(x, m.Tensor) and x.requires_grad]
    if inputs and roots:
        factors = [m.from_numpy(weights(x)).to(x.dtype) for x in roots]
        m.autograd.backward(roots, factors)
    return output, [x.grad for x in inputs]


def process_of(sample: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """What a sample does to its results before they are compared (``abs`` of eigenvectors, ...),
    for PyTorch and for us."""
    process = sample.output_process_fn_grad
    if isinstance(process, types.FunctionType):
        return process, rerouted(process)
    return process, process


def check_sample(info: Any, sample: Any, ours: Callable[..., Any]) -> None:
    """One sample gives the same values and gradients."""
    theirs_process, ours_process = process_of(sample)
    given = (sample.input, sample.args, sample.kwargs)
    translated = to_ours(given)
    try:
        theirs, their_gradients = evaluate(torch, info.op, theirs_process, fresh(given))
    except RuntimeError as error:
        if "not implemented" in str(error):
            raise Untranslatable(str(error)) from None
        raise
    result, gradients = evaluate(tg, ours, ours_process, translated)
    exact: list[list[Any]] = []

    def in_float64(part: int) -> list[Any]:
        if not exact:
            outcome = evaluate(torch, info.op, theirs_process, fresh(given, torch.float64))
            for values in outcome:
                exact.append(
                    [x.detach().numpy() if isinstance(x, torch.Tensor) else None
                     for x in leaves(values)]
                )  # fmt: skip
        return exact[part]

    values = info.name not in UNDEFINED and not (info.name in RANDOM and draws(info, sample))
    compare(result, theirs, "value", lambda: in_float64(0), values)
    compare(gradients, their_gradients, "gradient", lambda: in_float64(1), values)


def draws(info: Any, sample: Any) -> bool:
    """Whether this sample's result is random."""
    if info.name.endswith(("attention", "attention_forward")):
        return has_dropout(sample)
    return True


def check_operator(entry: str, dtype: torch.dtype | None = None, most: int | None = None) -> None:
    """Every sample of an entry. Raises what went wrong at the first that fails."""
    info = ENTRIES[entry]
    ours = operator(info)
    compared = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for sample in itertools.islice(samples(info, dtype), most):
            try:
                check_sample(info, sample, ours)
            except Untranslatable:
                continue
            compared += 1
    if compared == 0:
        raise Untranslatable("no sample has dense values only")


def check_complex(entry: str) -> None:
    """The same for the first samples of complex numbers."""
    check_operator(entry, torch.complex64, MOST_COMPLEX)


def refused(function: Any, sample: Any) -> bool:
    """Whether PyTorch's own operator refuses an error input: a few it takes."""
    try:
        return function(sample.input, *sample.args, **sample.kwargs) is NotImplemented
    except Exception:
        return True


def check_errors(entry: str) -> None:
    """Every error input raises an exception of the type that the database states."""
    info = ENTRIES[entry]
    ours = operator(info)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        for error in info.error_inputs_func(info, "cpu"):
            sample = error.sample_input
            try:
                with shared_memory():
                    value, args, kwargs = to_ours((sample.input, sample.args, sample.kwargs))
            except Untranslatable:
                continue
            try:
                result = ours(value, *args, **kwargs)
                if result is NotImplemented:  # Python then raises a TypeError
                    raise TypeError("unsupported operand types")
            except error.error_type:
                continue
            except Exception as other:
                expected = getattr(error.error_type, "__name__", error.error_type)
                raise Mismatch(f"{type(other).__name__}, expected {expected}: {other}") from other
            if refused(info.op, sample):
                raise Mismatch(f"nothing raised, expected {error.error_regex}")


def check_forms(entry: str) -> None:
    """Methods, in-place methods and aliases exist, and give the same as the function."""
    info = ENTRIES[entry]
    names = [info.name, *(alias.name for alias in info.aliases)]
    missing = []
    for name in names:
        if name != info.name:
            try:
                lookup(name)
            except AttributeError:
                missing.append(name)
    for variant in (info.method_variant, info.inplace_variant):
        name = getattr(variant, "__name__", "<lambda>")
        if variant is not None and name != "<lambda>" and not hasattr(tg.Tensor, name):
            missing.append(f"Tensor.{name}")
    if missing:
        raise AttributeError(f"tilegrad has no {', '.join(missing)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for variant in (info.method_variant, info.inplace_variant):
            check_form(info, variant)


def check_form(info: Any, variant: Any) -> None:
    """The first sample that PyTorch accepts in this form gives the same result in ours."""
    name = getattr(variant, "__name__", "<lambda>")
    if variant is None or name == "<lambda>" or info.name in UNDEFINED | RANDOM | UNSEEDED:
        return
    for sample in samples(info):
        given = (sample.input, sample.args, sample.kwargs)
        try:
            value, args, kwargs = to_ours(given)
        except Untranslatable:
            continue
        with torch.no_grad(), tg.no_grad():
            try:
                their_value, their_args, their_kwargs = fresh(given)
                theirs = variant(their_value, *their_args, **their_kwargs)
            except Exception:
                continue
            process, our_process = process_of(sample)

            def in_float64() -> list[Any]:
                double, args, kwargs = fresh(given, torch.float64)
                found = leaves(process(variant(double, *args, **kwargs)))
                return [x.numpy() if isinstance(x, torch.Tensor) else None for x in found]

            result = getattr(tg.Tensor, name)(value, *args, **kwargs)
            compare(our_process(result), process(theirs), f"Tensor.{name}", in_float64)
        return
