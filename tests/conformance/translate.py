"""From PyTorch's objects to ours: values, and the functions that its databases name.

A database entry names an operator; here it is looked up by that name and nothing else. Entries that
carry a lambda (``lambda x, n: torch.polygamma(n, x)``) are run as they stand, with ``torch``
answered by tilegrad: which is our promise.
"""

from __future__ import annotations

import contextlib
import dataclasses
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

import tilegrad as tg


class Untranslatable(Exception):
    """A value that has no counterpart here: sparse tensors, and the like."""


_seen: dict[Any, Any] | None = None  # what has been translated within shared_memory()


@contextlib.contextmanager
def shared_memory() -> Iterator[None]:
    """Within it, one tensor stays one tensor, and views of one storage stay so."""
    global _seen
    _seen = {}
    try:
        yield
    finally:
        _seen = None


def to_ours(value: Any) -> Any:
    """``value`` with every tensor, dtype and container of PyTorch's replaced by ours."""
    if isinstance(value, torch.Tensor):
        if _seen is None:
            return tensor_to_ours(value)
        if id(value) not in _seen:
            _seen[id(value)] = (value, tensor_to_ours(value))
        return _seen[id(value)][1]
    if isinstance(value, torch.Size):
        return tg.Size(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(to_ours, value))
    if isinstance(value, (list, tuple)):
        return type(value)(to_ours(x) for x in value)
    if isinstance(value, dict):
        return {key: to_ours(x) for key, x in value.items()}
    if isinstance(value, slice):
        return slice(*(to_ours(x) for x in (value.start, value.stop, value.step)))
    if isinstance(value, torch.device):
        return tg.device(str(value))
    if isinstance(value, (torch.dtype, torch.memory_format, torch.layout)):
        name = str(value).split(".")[1]
        if not hasattr(tg, name):
            raise Untranslatable(str(value))
        return getattr(tg, name)
    if isinstance(value, torch.Generator):
        return tg.Generator().manual_seed(value.initial_seed())
    module = getattr(value, "__module__", None) or ""
    if isinstance(value, torch.nn.Module) or module.startswith("torch"):
        return object_to_ours(value)
    return value


def tensor_to_ours(value: torch.Tensor) -> tg.Tensor:
    """A copy in the same memory order, a leaf if the original requires gradients."""
    if value.layout is not torch.strided or value.is_quantized:
        raise Untranslatable(f"{value.layout}, {value.dtype}")
    if value.device.type != "cpu" or value.ndim > 64:  # NumPy's limit
        raise Untranslatable(f"{value.device}, {value.ndim} dimensions")
    plain = value.detach().resolve_neg().resolve_conj()
    if not hasattr(tg, str(plain.dtype).split(".")[1]):
        raise Untranslatable(str(plain.dtype))
    if plain.dtype is torch.bfloat16:
        made = tg.from_numpy(plain.float().numpy().copy(order="K")).to(tg.bfloat16)
    else:
        memory = memory_of(plain)
        if memory.size == plain.numel() and plain.is_contiguous():
            made = tg.from_numpy(memory.reshape(tuple(plain.shape)))
        else:
            place = (tuple(plain.shape), plain.stride(), plain.storage_offset())
            made = tg.from_numpy(memory).as_strided(*place).detach()
    if isinstance(value, torch.nn.Parameter):
        return tg.nn.Parameter(made, value.requires_grad)
    return made.requires_grad_() if value.requires_grad else made


def memory_of(value: torch.Tensor) -> np.ndarray:
    """A copy of a tensor's storage, the same one for all its views within shared_memory()."""
    if _seen is None:
        return whole_storage(value).numpy().copy()
    key = (value.untyped_storage().data_ptr(), value.dtype)
    if value.numel() == 0:
        return whole_storage(value).numpy().copy()
    if key not in _seen:
        _seen[key] = whole_storage(value).numpy().copy()
    return _seen[key]


def whole_storage(value: torch.Tensor) -> torch.Tensor:
    """All elements that a tensor's memory holds, those that it skips included."""
    storage = value.untyped_storage()
    return torch.empty(0, dtype=value.dtype).set_(storage)


def object_to_ours(value: Any) -> Any:
    """A function, a class or a module of PyTorch's: ours of the same name, with the same state."""
    if isinstance(value, torch.nn.Module):
        made = build(value)
        made.load_state_dict(to_ours(value.state_dict()))
        return made.train(value.training)
    if isinstance(value, types.FunctionType) and value.__name__ == "<lambda>":
        return rerouted(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        options = {x.name: to_ours(getattr(value, x.name)) for x in dataclasses.fields(value)}
        return getattr(tg.nn, type(value).__name__)(**options)
    name = getattr(value, "__name__", None)
    for room in (tg.nn.functional, tg.nn, tg):
        if name is not None and hasattr(room, name):
            return getattr(room, name)
    raise Untranslatable(f"{type(value).__name__} {name}")


def build(module: torch.nn.Module) -> Any:
    """A module of ours, made as the given one was; knows those that the databases pass around."""
    kind = getattr(tg.nn, type(module).__name__)
    if isinstance(module, (torch.nn.TransformerEncoderLayer, torch.nn.TransformerDecoderLayer)):
        return kind(
            module.self_attn.embed_dim,
            module.self_attn.num_heads,
            module.linear1.out_features,
            module.dropout.p,
            to_ours(module.activation),
            module.norm1.eps,
            module.self_attn.batch_first,
            module.norm_first,
            module.linear1.bias is not None,
        )
    if isinstance(module, torch.nn.PairwiseDistance):
        return kind(module.norm, module.eps, module.keepdim)
    if isinstance(module, torch.nn.LayerNorm):
        return kind(module.normalized_shape, module.eps, bias=module.bias is not None)
    if not list(module.parameters()):
        return kind()
    raise Untranslatable(type(module).__name__)


def seeded(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Our ``wrapper_set_seed``: the databases wrap functions that draw random numbers in theirs."""
    tg.manual_seed(42)
    return function(*args, **kwargs)


def rerouted(function: types.FunctionType) -> Callable[..., Any]:
    """The same code with ``torch`` answered by tilegrad."""
    names = dict(function.__globals__)
    names.update({"torch": tg, "np": np, "wrapper_set_seed": seeded})
    made = types.FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, function.__closure__
    )
    made.__kwdefaults__ = function.__kwdefaults__
    return made


def lookup(name: str) -> Callable[..., Any]:
    """The function of this dotted name, or the method of the first argument."""
    found: Any = tg
    for part in name.split("."):
        found = getattr(found, part, None)
    if callable(found) and not isinstance(found, (type, tg.dtype)):
        return found
    if hasattr(tg.Tensor, name):

        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            if not isinstance(self, tg.Tensor):
                raise TypeError(f"{name} is a method of tensors, got {type(self).__name__}")
            method = getattr(self, name)  # or a property: T, mH
            return method(*args, **kwargs) if callable(method) else method

        return call
    raise AttributeError(f"tilegrad has no {name}")


def operator(info: Any) -> Callable[..., Any]:
    """The function of ours that an ``OpInfo`` describes. Raises AttributeError if there is none."""
    function = info.op
    in_database = getattr(function, "__module__", "") or ""
    if isinstance(function, types.FunctionType) and in_database.startswith("torch.testing"):
        return rerouted(function)
    return lookup(info.name)
