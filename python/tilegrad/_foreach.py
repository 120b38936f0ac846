"""``_foreach_add_`` and its relatives: an operation on each tensor of a list.

PyTorch keeps them private and its users call them all the same, to average weights. Here each is a
loop over the operation; a scalar or a tensor stands for a list of equal ones.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from . import ops
from .linalg import vector_norm
from .ops.binary import pow as power
from .tensor import Tensor

__all__: list[str] = []

_UNARY = [
    "abs", "acos", "asin", "atan", "ceil", "cos", "cosh", "erf", "erfc", "exp", "expm1", "floor",
    "frac", "lgamma", "log", "log10", "log1p", "log2", "neg", "reciprocal", "round", "rsqrt",
    "sigmoid", "sign", "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
]  # fmt: skip
_BINARY = {
    "add": "add", "sub": "sub", "mul": "mul", "div": "div", "clamp_max": "minimum",
    "clamp_min": "maximum", "maximum": "maximum", "minimum": "minimum", "pow": "pow",
}  # fmt: skip


def _tensors(op: str, items: Any) -> list[Any]:
    if not isinstance(items, (list, tuple)) or not all(isinstance(x, Tensor) for x in items):
        raise TypeError(f"{op}: expected a list or tuple of tensors, got {type(items).__name__}")
    if not items:
        raise RuntimeError("Tensor list must have at least one tensor.")
    return list(items)


def _each(op: str, value: Any, count: int) -> Sequence[Any]:
    """A value per tensor."""
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        what = "lists" if all(isinstance(x, Tensor) for x in value) else "scalars"
        raise RuntimeError(
            f"{op}: Tensor lists must have the same number of tensors as {what}, got {count} and "
            f"{len(value)}"
        )
    return value


def _store(tensors: list[Any], results: Sequence[Any], given: Any) -> Any:
    """Writes results in place, by the rules of ``copy_``; returns what was given."""
    for x, y in zip(tensors, results, strict=True):
        if x.shape != y.shape:
            raise RuntimeError(
                f"output with shape {list(x.shape)} doesn't match the broadcast shape "
                f"{list(y.shape)}"
            )
        x.copy_(y)
    return given


def _make(name: str, compute: Callable[..., list[Any]], doc: str) -> None:
    """Defines ``_foreach_<name>`` and ``_foreach_<name>_``."""

    def outside(self: Any, *args: Any, **kwargs: Any) -> tuple:
        return tuple(compute(self, *args, **kwargs))

    def inside(self: Any, *args: Any, **kwargs: Any) -> Any:
        tensors = _tensors(f"_foreach_{name}_", self)
        return _store(tensors, compute(self, *args, **kwargs), self)

    for suffix, function, says in (
        ("", outside, "a tuple of results"),
        ("_", inside, "written in place; returns the list"),
    ):
        public = f"_foreach_{name}{suffix}"
        function.__name__ = function.__qualname__ = public
        function.__doc__ = (
            f"{doc}: {says}. Raises TypeError for what is no list of tensors, RuntimeError for "
            "empty lists and lengths that differ."
        )
        globals()[public] = function
        __all__.append(public)


def _unary(name: str, self: Any) -> list[Any]:
    operation = getattr(ops, name)
    return [operation(x) for x in _tensors(f"_foreach_{name}", self)]


def _binary(name: str, self: Any, other: Any, **kwargs: Any) -> list[Any]:
    op = f"_foreach_{name}"
    operation = power if name == "pow" else getattr(ops, _BINARY[name])
    if name == "pow" and not isinstance(self, (list, tuple)):  # a number to the power of each
        return [operation(self, y) for y in _tensors(op, other)]
    tensors = _tensors(op, self)
    others = _each(op, other, len(tensors))
    if _BINARY[name] in ("maximum", "minimum"):
        others = [
            y if isinstance(y, Tensor) else x.new_tensor(y)
            for x, y in zip(tensors, others, strict=True)
        ]
    return [operation(x, y, **kwargs) for x, y in zip(tensors, others, strict=True)]


def _lerp(self: Any, tensors1: Any, weight: Any) -> list[Any]:
    tensors = _tensors("_foreach_lerp", self)
    ends, weights = (_each("_foreach_lerp", x, len(tensors)) for x in (tensors1, weight))
    return [ops.lerp(x, y, w) for x, y, w in zip(tensors, ends, weights, strict=True)]


def _with_factors(
    name: str, self: Any, tensor1: Any, tensor2: Any, scalars: Any = None, *, value: Any = 1
) -> list[Any]:
    op, operation = f"_foreach_{name}", getattr(ops, name)
    tensors = _tensors(op, self)
    firsts, seconds = (_each(op, x, len(tensors)) for x in (tensor1, tensor2))
    scalars = value if scalars is None else scalars
    scalars = scalars.tolist() if isinstance(scalars, Tensor) else scalars
    factors = _each(op, scalars, len(tensors))
    rows = zip(tensors, firsts, seconds, factors, strict=True)
    return [operation(x, a, b, value=factor) for x, a, b, factor in rows]


def _define() -> None:
    for name in _UNARY:
        _make(name, functools.partial(_unary, name), f"``{name}`` of each tensor")
    for name in _BINARY:
        _make(name, functools.partial(_binary, name), f"``{name}`` of each tensor and another")
    _make("lerp", _lerp, "``lerp`` from each tensor towards another")
    for name in ("addcmul", "addcdiv"):
        _make(name, functools.partial(_with_factors, name), f"``{name}`` of each three tensors")


_define()


def _foreach_copy_(self: Any, src: Any, non_blocking: bool = False) -> Any:
    """Copies each tensor of ``src`` into one of ``self``, which it returns. Errors as above."""
    tensors = _tensors("_foreach_copy_", self)
    for x, y in zip(tensors, _each("_foreach_copy_", src, len(tensors)), strict=True):
        x.copy_(y)
    return self


def _foreach_zero_(self: Any) -> Any:
    """Sets each tensor to zero; returns the list. Errors as above."""
    for x in _tensors("_foreach_zero_", self):
        x.zero_()
    return self


def _foreach_clone(self: Any) -> tuple:
    """A copy of each tensor. Errors as above."""
    return tuple(x.clone() for x in _tensors("_foreach_clone", self))


def _foreach_max(self: Any) -> tuple:
    """The maximum of each tensor. Errors as above."""
    return tuple(x.max() for x in _tensors("_foreach_max", self))


def _foreach_norm(self: Any, ord: float = 2, dtype: Any = None) -> tuple:
    """The norm of each tensor, a vector of all its elements. Errors as above."""
    return tuple(vector_norm(x, ord, dtype=dtype) for x in _tensors("_foreach_norm", self))


__all__ += ["_foreach_clone", "_foreach_copy_", "_foreach_max", "_foreach_norm", "_foreach_zero_"]
