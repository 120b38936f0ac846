"""Distances and angles between vectors: functions, and the layers that call them."""

from __future__ import annotations

from typing import Any

from .._autocast import full_precision_on
from ..ops._register import put_out, rounded_once, takes_tensors
from ..tensor import Tensor
from .module import Module

__all__ = [
    "CosineSimilarity",
    "PairwiseDistance",
    "cosine_similarity",
    "normalize",
    "pairwise_distance",
    "pdist",
]


def _vector_norm(x: Any, p: float, dim: int, keepdim: bool = False) -> Any:
    """The p-norm along a dimension, with gradient 0 where it is 0."""
    return x.norm(p, dim, keepdim=keepdim)


def _check_tensors(op: str, *values: Any) -> None:
    for value in values:
        if not isinstance(value, Tensor):
            raise TypeError(f"{op}: expected a Tensor, got {type(value).__name__}")


@takes_tensors
@full_precision_on("cuda")
def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """``x1 . x2 / (max(|x1|, eps) * max(|x2|, eps))`` along ``dim``.

    Shapes that broadcast, ``dim`` counted after that; floating dtypes. Raises RuntimeError for
    integers and shapes that do not broadcast, IndexError for a dimension out of range.
    """
    if not (x1.is_floating_point() and x2.is_floating_point()):
        raise RuntimeError("expected common dtype to be floating point, yet common dtype is int64")
    from ..ops.view import broadcast_tensors

    a, b = broadcast_tensors(x1, x2)
    lengths = [_vector_norm(x, 2, dim, True) for x in (a, b)]
    # Only the value is bounded: the gradient of a short vector is that of its length.
    scales = [n + (n.detach().clamp(min=eps) - n.detach()) for n in lengths]
    return ((a / scales[0]) * (b / scales[1])).sum(dim)


@takes_tensors
@rounded_once
def pairwise_distance(
    x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Any:
    """The p-norm of ``x1 - x2 + eps`` along the last dimension.

    (batch, features) or (features), broadcasting. Raises RuntimeError for shapes that do not
    broadcast.
    """
    _check_tensors("pairwise_distance", x1, x2)
    return _vector_norm(x1 - x2 + eps, p, -1, keepdim)


@takes_tensors
@full_precision_on("cuda")
def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Any = None) -> Any:
    """``input / max(|input|_p, eps)``, the norm taken along ``dim``.

    Any shape; floating dtypes. Raises IndexError for a dimension out of range.
    """
    result = input / _vector_norm(input, p, dim, True).clamp_min(eps)
    return result if out is None else put_out(out, result)


@takes_tensors
@full_precision_on("cuda")
def pdist(input: Any, p: float = 2.0) -> Any:
    """The p-norm distances between all pairs of rows: (n, m) -> (n (n - 1) / 2).

    The order is (0, 1), (0, 2), ..., (1, 2), and so on. Raises RuntimeError for other than two
    dimensions and for a negative p.
    """
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    import numpy as np

    from ..ops.fill import from_numpy

    pairs = np.triu_indices(len(input), 1)
    first, second = (from_numpy(i.astype(np.int64)).to(input.device) for i in pairs)
    difference = input.index_select(0, first) - input.index_select(0, second)
    distances = _vector_norm(difference, p, -1)
    return distances if p else distances + 0 * difference.sum(-1)  # so that there is a gradient


class CosineSimilarity(Module):
    """:func:`cosine_similarity` of two inputs along ``dim``."""

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x1: Any, x2: Any) -> Any:
        return cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """:func:`pairwise_distance` of two inputs: the p-norm along the last dimension."""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Any, x2: Any) -> Any:
        return pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
