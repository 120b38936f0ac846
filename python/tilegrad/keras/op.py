"""``op``: makes a function on tensors one of ``keras.ops``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tilegrad

from ..tensor import Tensor
from .dtypes import cast, convert_to_tensor
from .symbolic import Operation, any_symbolic

__all__ = ["as_ints", "both", "on_tensors", "op", "ordered", "promoted", "table", "to_float"]

_ON_TENSORS: dict[Any, Callable[..., Any]] = {}


def op(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which adds to a graph instead where it is given a ``KerasTensor``."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if any_symbolic(args) or (kwargs and any_symbolic(kwargs)):
            return Operation(function)(*args, **kwargs)
        return function(*args, **kwargs)

    function.__qualname__ += ".__wrapped__"  # where pickle finds it
    _ON_TENSORS[call] = function
    return call


def on_tensors(function: Any) -> Any:
    """What an :func:`op` does with tensors, without the look for tensors to come; others stay as
    they are, whatever they wrap."""
    try:
        return _ON_TENSORS.get(function, function)
    except TypeError:  # an object that cannot be looked up
        return function


def to_float(x: Any) -> Any:
    """A tensor of floating-point numbers: integers become ``floatx``."""
    x = x if isinstance(x, Tensor) else convert_to_tensor(x)
    return x if x.dtype.is_floating_point else cast(x, None)


def ordered(x: Any) -> Any:
    """A tensor of which one element can be the largest: truths become 0 and 1."""
    x = convert_to_tensor(x)
    return x.to(tilegrad.uint8) if x.dtype is tilegrad.bool else x


def both(x1: Any, x2: Any) -> tuple[Any, Any]:
    """Two operands, at least one of them a tensor; a Python number stays one."""
    numbers = (bool, int, float)
    if isinstance(x1, Tensor) and type(x2) in numbers:
        return x1, x2
    if isinstance(x2, Tensor) and type(x1) in numbers:
        return x1, x2
    return convert_to_tensor(x1), convert_to_tensor(x2)


def table(
    names: dict[str, Callable[..., Any]], place: dict[str, Any], floating: bool, what: str
) -> None:
    """Puts functions of one tensor into a module, under their names."""
    for name, function in names.items():

        def made(x: Any, _function: Any = function) -> Any:
            return _function(to_float(x) if floating else convert_to_tensor(x))

        made.__name__ = made.__qualname__ = name
        made.__module__ = place["__name__"]
        made.__doc__ = f"{what.format(name)} Raises ValueError for what is no array of numbers."
        place[name] = op(made)


def as_ints(shape: Any) -> tuple[int, ...]:
    """A shape of Python numbers."""
    return (int(shape),) if isinstance(shape, int) else tuple(int(n) for n in shape)


def promoted(xs: Any) -> list[Any]:
    """Tensors, all of the dtype that holds them all."""
    tensors = [convert_to_tensor(x) for x in xs]
    dtype = tensors[0].dtype
    for x in tensors[1:]:
        dtype = tilegrad.promote_types(dtype, x.dtype)
    return [x.to(dtype) for x in tensors]
