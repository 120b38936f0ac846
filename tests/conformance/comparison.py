"""What counts as the same result: structure, shape, dtype and, within a tolerance, values.

Values may differ by ``1e-5`` of their size, absolutely or relatively. Where they differ by more, as
long sums and cancellation make them, ours must be no further from the result in float64 than twice
PyTorch's own distance to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import tilegrad as tg

RTOL = ATOL = 1e-5
# Two roundings of an ill-conditioned result differ by chance: over all gradients of 40 decoder
# layers our worst distance from float64 is 0.97 times PyTorch's in the median, 0.5 to 2 times in
# four of five, and 6.1 times at most.
MOST = 8


class Mismatch(AssertionError):
    """A result that is not PyTorch's."""


def leaves(value: Any) -> list[Any]:
    """Everything in nested containers, in order."""
    if isinstance(value, dict):
        return [leaf for x in value.values() for leaf in leaves(x)]
    if isinstance(value, (list, tuple)):
        return [leaf for x in value for leaf in leaves(x)]
    return [value]


def as_array(x: Any) -> np.ndarray:
    """The values of a tensor of either library."""
    x = x.detach()
    return (x.float() if "bfloat16" in str(x.dtype) else x).numpy(force=True)


def dtype_name(x: Any) -> str:
    """A dtype's name, the same in both libraries."""
    return str(x.dtype).split(".")[1]


def compare(
    ours: Any,
    theirs: Any,
    what: str,
    exact: Callable[[], list[Any]] | None = None,
    values: bool = True,
) -> None:
    """Raises Mismatch unless both are the same; ``exact`` gives the leaves computed in float64.

    Without ``values``, where those are random or undefined, only shapes and dtypes are compared.
    """
    our_leaves, their_leaves = leaves(ours), leaves(theirs)
    if len(our_leaves) != len(their_leaves):
        raise Mismatch(f"{what}: {len(our_leaves)} results, expected {len(their_leaves)}")
    for i, (a, b) in enumerate(zip(our_leaves, their_leaves, strict=True)):
        name = what if len(our_leaves) == 1 else f"{what} {i}"
        if not isinstance(b, torch.Tensor):
            if str(a) != str(b).replace("torch.", "tilegrad.") and a != b and values:
                raise Mismatch(f"{name}: {a!r}, expected {b!r}")
            continue
        if not isinstance(a, tg.Tensor):
            raise Mismatch(f"{name}: {type(a).__name__}, expected a tensor")
        if tuple(a.shape) != tuple(b.shape):
            raise Mismatch(f"{name}: shape {tuple(a.shape)}, expected {tuple(b.shape)}")
        if dtype_name(a) != dtype_name(b):
            raise Mismatch(f"{name}: {dtype_name(a)}, expected {dtype_name(b)}")
        if values:
            compare_values(as_array(a), as_array(b), name, i, exact)


def compare_values(
    a: np.ndarray, b: np.ndarray, what: str, i: int, exact: Callable[[], list[Any]] | None
) -> None:
    """The same numbers, NaN and infinities in the same places."""
    with np.errstate(all="ignore"):
        if np.allclose(a, b, RTOL, ATOL, equal_nan=True):
            return
        if exact is not None and b.dtype.kind in "fc" and a.size:
            best = exact()[i]
            if best is not None and best.shape == b.shape:
                our_distance = np.abs(a.astype(best.dtype) - best)
                their_distance = np.abs(b.astype(best.dtype) - best)
                both_finite = np.isfinite(a) == np.isfinite(b)
                limit = MOST * np.nanmax(their_distance) + RTOL * np.abs(best)
                if both_finite.all() and not (our_distance > limit).any():
                    return
        apart = ~np.isclose(a, b, RTOL, ATOL, equal_nan=True)
    raise Mismatch(f"{what}: {a[apart].flat[0]}, expected {b[apart].flat[0]} and so on")
