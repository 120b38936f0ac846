"""Distances and norms of slices: cdist, pdist, dist, renorm.

All follow the PyTorch functions of the same names. Errors: RuntimeError for sizes that do not fit,
TypeError for what is not a tensor.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import _C
from .._autocast import full_precision, full_precision_on
from ..autograd.graph import needs_grad, record
from ._register import composed_in_place, method, rounded_once, takes_tensors
from .reduce import norm
from .unary import abs, sign
from .view import _dim, unsqueeze
from .where import where

__all__ = ["cdist", "dist", "pdist", "renorm"]

_MODES = (
    "use_mm_for_euclid_dist_if_necessary",
    "use_mm_for_euclid_dist",
    "donot_use_mm_for_euclid_dist",
)


@takes_tensors
@full_precision
def cdist(
    x1: Any, x2: Any, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary"
) -> Any:
    """The p-norm distance of every row of ``x1`` to every row of ``x2``.

    (..., n, d), (..., m, d) -> (..., n, m); leading dimensions broadcast. The gradient at distance
    0 is 0. ``compute_mode`` chooses a speed in PyTorch; here all are computed as differences, which
    is the accurate way. Raises RuntimeError for fewer than two dimensions, different row lengths
    and a negative ``p``, ValueError for another mode.
    """
    if x1.ndim < 2 or x2.ndim < 2:
        name, x = ("X1", x1) if x1.ndim < 2 else ("X2", x2)
        raise RuntimeError(f"cdist only supports at least 2D tensors, {name} got: {x.ndim}D")
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}"
        )
    if not x1.dtype.is_floating_point or not x2.dtype.is_floating_point:
        raise RuntimeError(
            f"cdist only supports floating-point dtypes, X1 got: {x1.dtype}, X2 got: {x2.dtype}"
        )
    if compute_mode not in _MODES:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    return _lengths(unsqueeze(x1, -2) - unsqueeze(x2, -3), p)


def _lengths(difference: Any, p: float) -> Any:
    """The p-norm of the last dimension, with gradient 0 at 0."""
    output = norm(difference.detach(), p, -1) if difference.shape[-1] else _zeros(difference)
    if needs_grad(difference):
        record(output, lengths_backward, (difference,), (difference, output, p))
    return output


def _zeros(difference: Any) -> Any:
    return difference.new_zeros(difference.shape[:-1])


def lengths_backward(node: Any, grad: Any) -> Any:
    difference, output, p = node.saved
    if p == 0 or difference.shape[-1] == 0:
        return difference * 0.0
    length, grad = unsqueeze(output, -1), unsqueeze(grad, -1)
    at_zero = length == 0
    length = where(at_zero, 1.0, length)
    if p == 1:
        slope = sign(difference)
    elif p == 2:
        slope = difference / length
    elif p == math.inf:
        slope = sign(difference) * (abs(difference) == length)
    else:
        magnitude = abs(difference)
        ratio = where(magnitude == 0, 0.0, where(magnitude == 0, 1.0, magnitude) / length)
        slope = sign(difference) * where(ratio == 0, 0.0, ratio ** (p - 1))
    return where(at_zero, 0.0, grad * slope)


@takes_tensors
@full_precision_on("cuda")
def pdist(input: Any, p: float = 2.0) -> Any:
    """The p-norm distances between the rows of a matrix, those above the diagonal, as a vector.

    (n, d) -> (n * (n - 1) / 2). Raises RuntimeError for another number of dimensions and a negative
    ``p``.
    """
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"pdist only supports floating-point dtypes, got {input.dtype}")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    rows, columns = (_C.from_numpy(x) for x in np.triu_indices(len(input), 1))
    first, second = (input.index_select(0, x.to(input.device)) for x in (rows, columns))
    return _lengths(first - second, p)


@method()
@takes_tensors
@full_precision_on("cuda")
@rounded_once
def dist(input: Any, other: Any, p: float = 2) -> Any:
    """The p-norm of ``input - other``, which broadcast; a 0-dimensional tensor."""
    input.dtype, other.dtype  # noqa: B018 - what has none is no tensor
    return norm((input - other).reshape(-1), p)


@method()
@takes_tensors
@full_precision_on("cuda")
def renorm(input: Any, p: float, dim: int, maxnorm: float) -> Any:
    """Each slice along ``dim`` scaled down to a p-norm of at most ``maxnorm``.

    Raises RuntimeError for fewer than two dimensions and ``p`` or ``maxnorm`` that are not
    positive.
    """
    if p <= 0:
        raise RuntimeError(f"renorm: non-positive-norm not supported, got {p}")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    if input.ndim < 2:
        raise RuntimeError(
            f"renorm: input needs at least 2 dimensions, got {input.ndim} dimensions"
        )
    at = _dim(dim, input.ndim, "renorm")
    others = [d for d in range(input.ndim) if d != at]
    length = norm(input, p, others, keepdim=True)
    factor = where(length > maxnorm, maxnorm / (length + 1e-7), 1.0)
    return input * factor


composed_in_place(renorm)
