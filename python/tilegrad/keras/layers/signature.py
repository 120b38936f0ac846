"""What a layer's ``call`` and ``build`` take, read once per class."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import tilegrad as tg

from ..symbolic import KerasTensor

__all__ = [
    "CallSignature",
    "call_signature",
    "given_shape",
    "is_shape",
    "shape_of",
    "shapes_for_build",
]


class CallSignature:
    """The parameters of ``call``."""

    def __init__(self, function: Any) -> None:
        parameters = list(inspect.signature(function).parameters.values())[1:]  # without self
        self.names = [
            p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        by_name = {p.name: p for p in parameters}
        self.takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
        self.takes_training = "training" in by_name
        self.takes_mask = "mask" in by_name
        self.masks = {n: n[: -len("_mask")] for n in by_name if n.endswith("_mask")}
        default = by_name["training"].default if self.takes_training else None
        self.default_training = default if isinstance(default, bool) else None


@functools.lru_cache(maxsize=1024)
def call_signature(function: Any) -> CallSignature:
    """The parameters of an unbound ``call``."""
    return CallSignature(function)


def is_shape(x: Any) -> bool:
    """Whether it is a shape, a tuple or list of sizes and Nones."""
    return isinstance(x, (tuple, list)) and all(n is None or isinstance(n, int) for n in x)


def shape_of(x: Any) -> Any:
    """The shapes in a structure of tensors; None for what is no tensor."""
    if isinstance(x, (tg.Tensor, KerasTensor)):
        return tuple(x.shape)
    if isinstance(x, (list, tuple)):
        return [shape_of(item) for item in x]
    if isinstance(x, dict):
        return {key: shape_of(item) for key, item in x.items()}
    return None


@functools.lru_cache(maxsize=1024)
def _build_parameters(function: Any) -> tuple[str, ...]:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))


def shapes_for_build(build: Any, names: list[str], args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """The arguments of an unbound ``build``: the shapes of the call's tensors, by name where it has
    several parameters (``query_shape`` for ``query``), else that of the first."""
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    shapes = {
        f"{name}_shape": shape_of(value)
        for name, value in given.items()
        if name != "mask" and _has_tensor(value)
    }
    wanted = _build_parameters(build)
    if len(wanted) > 1:
        return (), {name: shapes[name] for name in wanted if name in shapes}
    first = args[0] if args else next(iter(kwargs.values()), None)
    return (shape_of(first),), {}


def _has_tensor(x: Any) -> bool:
    if isinstance(x, (list, tuple)):
        return any(map(_has_tensor, x))
    if isinstance(x, dict):
        return any(map(_has_tensor, x.values()))
    return isinstance(x, (tg.Tensor, KerasTensor))


def given_shape(kwargs: dict[str, Any]) -> tuple | None:
    """The input's shape among older keyword arguments, which are taken out."""
    batch = kwargs.pop("batch_size", None)
    if "batch_input_shape" in kwargs:
        return tuple(kwargs.pop("batch_input_shape"))
    if "batch_shape" in kwargs:
        return tuple(kwargs.pop("batch_shape"))
    if "input_shape" in kwargs:
        return (batch, *kwargs.pop("input_shape"))
    if "input_dim" in kwargs:
        return (batch, kwargs.pop("input_dim"))
    return None
