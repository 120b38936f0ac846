"""``vmap``: a function of one example, applied to a batch.

The function is called once for each slice and the results are stacked. So it may do whatever a
function can (branch on values, draw, call anything), its gradients are those of its operations,
and the cost is that of a Python loop: an operation that takes a batch itself is faster.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..ops import stack
from ..ops.random import default_generator
from ..tensor import Tensor
from ..utils._pytree import tree_flatten, tree_leaves, tree_structure, tree_unflatten

__all__ = ["vmap"]


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable:
    """A function that applies ``func`` to each slice of its arguments and stacks the results.

    - ``in_dims``: the dimension along which each argument is sliced, None to pass it as it is; one
      for all, or a tuple that follows the structure of the arguments. Keyword arguments are
      passed as they are
    - ``out_dims``: where the new dimension goes in each result
    - ``randomness``: whether ``func`` may draw random numbers: ``"error"``, ``"different"`` for
      each slice, or the ``"same"``; only the default generator is watched
    - ``chunk_size`` changes nothing

    ``func`` is called once per slice. Raises ValueError for ``in_dims`` that do not fit, sizes that
    differ and results that are not tensors, RuntimeError for random numbers under ``"error"``.
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(
            "Only allowed values for randomness are 'error', 'different', or 'same'. "
            f"Got {randomness}"
        )
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        batch = _Batch(getattr(func, "__name__", repr(func)), in_dims, args)
        state = default_generator.get_state()
        results = []
        for place in range(batch.size):
            if place and randomness == "same":
                default_generator.set_state(state)
            results.append(func(*batch.slice(place), **kwargs))
            if randomness == "error" and not default_generator.get_state().equal(state):
                raise RuntimeError(
                    "vmap: called random operation while in randomness error mode. Please either "
                    "use the 'same' or 'different' randomness flags on vmap or perform the "
                    "randomness operation out of vmap"
                )
        return _stacked(results, out_dims)

    return call


class _Batch:
    """The arguments with the dimension along which each leaf is sliced."""

    def __init__(self, name: str, in_dims: Any, args: tuple) -> None:
        if not isinstance(in_dims, (int, tuple, list)):
            raise ValueError(
                f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): expected `in_dims` to be int or "
                "a (potentially nested) tuple matching the structure of inputs, got: "
                f"{type(in_dims)}."
            )
        if not args:
            raise ValueError(
                f"vmap({name})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you "
                "are trying to vmap over a function with no inputs."
            )
        self.leaves, self.spec = tree_flatten(list(args))
        dims = list(in_dims) if isinstance(in_dims, (tuple, list)) else in_dims
        self.dims = _spread(name, in_dims, dims, self.spec)
        pairs = zip(self.dims, self.leaves, strict=True)
        self.dims = [_checked_dim(name, in_dims, dim, x) for dim, x in pairs]
        sizes = [x.shape[d] for x, d in zip(self.leaves, self.dims, strict=True) if d is not None]
        if not sizes:
            raise ValueError(
                f"vmap({name}, in_dims={in_dims})(<inputs>): at least one must be mapped"
            )
        if len(set(sizes)) > 1:
            raise ValueError(
                "vmap: Expected all tensors to have the same size in the mapped dimension, got "
                f"sizes {sizes} for the mapped dimension"
            )
        self.size = sizes[0]
        if self.size == 0:
            raise ValueError("vmap: expected a mapped dimension that is not empty, got size 0")

    def slice(self, place: int) -> Any:
        """The arguments of one call."""
        leaves = [
            x if dim is None else x.select(dim, place)
            for x, dim in zip(self.leaves, self.dims, strict=True)
        ]
        return tree_unflatten(leaves, self.spec)


def _spread(name: str, in_dims: Any, dims: Any, spec: Any) -> list[Any]:
    """A dimension per leaf, where ``dims`` may name one for a whole container."""
    if dims is None or isinstance(dims, int):
        return [dims] * spec.num_leaves
    children, kinds = spec.children_specs, (list, tuple)
    same = spec.type is not None and isinstance(dims, spec.type)
    same = same or (isinstance(dims, kinds) and spec.type in kinds)
    if isinstance(dims, dict) and same:
        same, dims = list(dims) == list(spec.context), list(dims.values())
    if not same or len(dims) != len(children):
        raise ValueError(
            f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): in_dims is not compatible with the "
            "structure of `inputs`"
        )
    found = [_spread(name, in_dims, d, c) for d, c in zip(dims, children, strict=True)]
    return [dim for part in found for dim in part]


def _checked_dim(name: str, in_dims: Any, dim: Any, x: Any) -> int | None:
    where = f"vmap({name}, in_dims={in_dims}, ...)(<inputs>)"
    if dim is None:
        return None
    if not isinstance(x, Tensor):
        raise ValueError(
            f"{where}: Got in_dim={dim} for an input but the input is of type {type(x)}. We cannot "
            "vmap over non-Tensor arguments, please use None as the respective in_dim"
        )
    if not -x.ndim <= dim < x.ndim:
        raise ValueError(
            f"{where}: Got in_dim={dim} for some input, but that input is a Tensor of "
            f"dimensionality {x.ndim} so expected in_dim to satisfy -{x.ndim} <= in_dim < {x.ndim}."
        )
    return dim % x.ndim


def _stacked(results: list[Any], out_dims: Any) -> Any:
    columns, spec = [], tree_structure(results[0])
    for result in results:
        leaves = tree_leaves(result)
        for leaf in leaves:
            if not isinstance(leaf, Tensor):
                raise ValueError(
                    "vmap: the function must only return Tensors, got type "
                    f"{type(leaf)} as a return."
                )
        columns.append(leaves)
    count = len(columns[0])
    if any(len(leaves) != count for leaves in columns):
        raise ValueError("vmap: the function returned different structures for different slices")
    dims = [out_dims] * count if isinstance(out_dims, int) else list(tree_flatten(out_dims)[0])
    if len(dims) == 1 and count != 1:
        dims *= count
    if len(dims) != count or not all(isinstance(dim, (int, type(None))) for dim in dims):
        raise ValueError(f"vmap: out_dims={out_dims} is not compatible with the {count} results")
    stacked = [
        rows[0] if dim is None else stack(list(rows), dim)
        for dim, rows in zip(dims, zip(*columns, strict=True), strict=True)
    ]
    return tree_unflatten(stacked, spec)
