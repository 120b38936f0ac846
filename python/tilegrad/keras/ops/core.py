"""Shapes, dtypes, slices, scattering, control flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tilegrad as tg

from .. import tree
from ..dtypes import cast as _cast
from ..dtypes import convert_to_numpy as _to_numpy
from ..dtypes import convert_to_tensor as _to_tensor
from ..dtypes import is_tensor, standardize_dtype
from ..op import op
from ..symbolic import KerasTensor

__all__ = [
    "associative_scan", "cast", "cond", "convert_to_numpy", "convert_to_tensor", "custom_gradient",
    "dtype", "fori_loop", "get_item", "is_tensor", "map", "scan", "scatter", "scatter_update",
    "shape", "slice", "slice_update", "stop_gradient", "switch", "unstack", "vectorized_map",
    "while_loop",
]  # fmt: skip


def convert_to_tensor(x: Any, dtype: Any = None, sparse: Any = None, ragged: Any = None) -> Any:
    """A tensor of an array, a list or a number. Raises ValueError for what is neither."""
    if isinstance(x, KerasTensor):
        return x if dtype is None else cast(x, dtype)
    return _to_tensor(x, dtype, sparse, ragged)


def convert_to_numpy(x: Any) -> Any:
    """An array of the values, without history."""
    return _to_numpy(x)


@op
def cast(x: Any, dtype: Any) -> Any:
    """``x`` in another dtype. Raises ValueError for an unknown one."""
    return _cast(x, dtype)


def shape(x: Any) -> tuple:
    """The shape as a tuple, with None for open sizes of a tensor to come."""
    return tuple(x.shape) if hasattr(x, "shape") else tuple(_to_tensor(x).shape)


def dtype(x: Any) -> str:
    """The name of the dtype."""
    return standardize_dtype(x.dtype)


@op
def get_item(x: Any, key: Any) -> Any:
    """``x[key]``."""
    return _to_tensor(x)[key]


@op
def slice(inputs: Any, start_indices: Any, shape: Any) -> Any:
    """The block of that shape that starts at those indices; -1 is the rest of an axis."""
    import builtins

    inputs = _to_tensor(inputs)
    starts = [int(i) for i in start_indices]
    stops = [None if n == -1 else i + int(n) for i, n in zip(starts, shape, strict=True)]
    return inputs[tuple(builtins.slice(i, j) for i, j in zip(starts, stops, strict=True))]


@op
def slice_update(inputs: Any, start_indices: Any, updates: Any) -> Any:
    """``inputs`` with a block replaced."""
    import builtins

    result, updates = _to_tensor(inputs).clone(), _to_tensor(updates)
    starts = [int(i) for i in start_indices]
    pairs = zip(starts, updates.shape, strict=True)
    result[tuple(builtins.slice(i, i + n) for i, n in pairs)] = updates
    return result


@op
def scatter(indices: Any, values: Any, shape: Any) -> Any:
    """Zeros of a shape, with ``values`` added at the rows of ``indices``."""
    values = _to_tensor(values)
    result = tg.zeros(tuple(int(n) for n in shape), dtype=values.dtype)
    index = tuple(_to_tensor(indices).long().unbind(-1))
    return tg.index_put(result, index, values, accumulate=True)


@op
def scatter_update(inputs: Any, indices: Any, updates: Any, reduction: Any = None) -> Any:
    """``inputs`` with the elements at the rows of ``indices`` replaced, or added to (``"add"``).

    Raises ValueError for another reduction."""
    if reduction not in (None, "add"):
        raise ValueError(f"scatter_update: expected reduction None or 'add', got {reduction!r}")
    inputs, updates = _to_tensor(inputs), _to_tensor(updates)
    index = tuple(_to_tensor(indices).long().unbind(-1))
    return tg.index_put(inputs, index, updates.to(inputs.dtype), accumulate=reduction == "add")


def stop_gradient(variable: Any) -> Any:
    """The same values, through which no gradient flows."""
    if isinstance(variable, KerasTensor):
        return _stop_gradient(variable)
    return _to_tensor(variable).detach()


@op
def _stop_gradient(variable: Any) -> Any:
    return variable.detach()


@op
def unstack(x: Any, num: int | None = None, axis: int = 0) -> Any:
    """The slices along an axis."""
    return list(_to_tensor(x).unbind(axis))


# --- control flow -------------------------------------------------------------------------------


def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """One of two functions, by a condition known now."""
    return true_fn() if bool(pred) else false_fn()


def switch(index: Any, branches: Any, *operands: Any) -> Any:
    """The branch of that number, called with the operands."""
    return branches[max(0, min(int(index), len(branches) - 1))](*operands)


def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    maximum_iterations: Any = None,
) -> Any:
    """Calls ``body`` on the loop's variables as long as ``cond`` of them holds."""
    single = not isinstance(loop_vars, (tuple, list))
    state = (loop_vars,) if single else tuple(loop_vars)
    count = 0
    while bool(cond(*state)) and (maximum_iterations is None or count < maximum_iterations):
        made = body(*state)
        state = tuple(made) if isinstance(made, (tuple, list)) else (made,)
        count += 1
    return state[0] if single else state


def fori_loop(lower: int, upper: int, body_fun: Callable[..., Any], init_val: Any) -> Any:
    """``body_fun(i, value)`` for i from ``lower`` to below ``upper``."""
    value = init_val
    for i in range(int(lower), int(upper)):
        value = body_fun(i, value)
    return value


def map(f: Callable[..., Any], xs: Any) -> Any:
    """``f`` of each slice along the first axis, stacked."""
    count = tree.flatten(xs)[0].shape[0]
    results = [f(tree.map_structure(lambda x, i=i: x[i], xs)) for i in range(count)]
    return tree.map_structure(lambda *parts: tg.stack([_to_tensor(p) for p in parts]), *results)


def vectorized_map(function: Callable[..., Any], elements: Any) -> Any:
    """``function`` of each slice along the first axis, the results stacked."""
    return map(function, elements)


def scan(
    f: Callable[..., Any], init: Any, xs: Any = None, length: Any = None, reverse: bool = False,
    unroll: Any = 1,
) -> Any:  # fmt: skip
    """``carry, y = f(carry, x)`` along the first axis: the last carry and the stacked outputs."""
    count = tree.flatten(xs)[0].shape[0] if xs is not None else int(length)
    carry, results = init, []
    for i in reversed(range(count)) if reverse else range(count):
        x = None if xs is None else tree.map_structure(lambda t, i=i: t[i], xs)
        carry, y = f(carry, x)
        results.append(y)
    if reverse:
        results.reverse()
    if results[0] is None:
        return carry, None
    return carry, tree.map_structure(lambda *parts: tg.stack(list(parts)), *results)


def associative_scan(
    f: Callable[..., Any], elems: Any, reverse: bool = False, axis: int = 0
) -> Any:
    """The running combination of the slices along an axis."""
    slices = [list(x.unbind(axis)) for x in tree.flatten(elems)]
    order = list(range(len(slices[0])))
    if reverse:
        order.reverse()
    pack = [tree.pack_sequence_as(elems, [s[i] for s in slices]) for i in order]
    results = [pack[0]]
    for item in pack[1:]:
        results.append(f(results[-1], item))
    if reverse:
        results.reverse()
    return tree.map_structure(lambda *parts: tg.stack(list(parts), dim=axis), *results)


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose gradient it says itself: ``f(*args)`` returns a value and a function from
    the gradient of that value to those of the arguments."""

    class Custom(tg.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *args: Any) -> Any:
            value, ctx.gradient = f(*args)
            return value

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            upstream = grads[0] if len(grads) == 1 else grads
            try:
                return ctx.gradient(upstream)
            except TypeError:
                return ctx.gradient(upstream=upstream)

    return lambda *args: Custom.apply(*args)
