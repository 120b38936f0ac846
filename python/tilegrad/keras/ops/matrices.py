"""Products of matrices, diagonals and triangles."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ..dtypes import convert_to_tensor
from ..op import op, promoted

__all__ = [
    "cross", "diag", "diagflat", "diagonal", "dot", "einsum", "inner", "kron", "matmul",
    "meshgrid", "outer", "tensordot", "trace", "tril", "triu", "vdot",
]  # fmt: skip


@op
def matmul(x1: Any, x2: Any) -> Any:
    """The matrix product. Raises RuntimeError for shapes that do not fit."""
    a, b = promoted([x1, x2])
    return tg.matmul(a, b)


@op
def dot(x1: Any, x2: Any) -> Any:
    """The sum over the last axis of ``x1`` and the last but one of ``x2``."""
    a, b = promoted([x1, x2])
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    return tg.tensordot(a, b, dims=([a.ndim - 1], [max(b.ndim - 2, 0)]))


@op
def einsum(subscripts: str, *operands: Any, **kwargs: Any) -> Any:
    """Einstein's summation convention."""
    return tg.einsum(subscripts, *promoted(operands))


@op
def tensordot(x1: Any, x2: Any, axes: Any = 2) -> Any:
    """The sum over pairs of axes."""
    a, b = promoted([x1, x2])
    if not isinstance(axes, int):
        axes = tuple([x] if isinstance(x, int) else list(x) for x in axes)
    return tg.tensordot(a, b, dims=axes)


@op
def inner(x1: Any, x2: Any) -> Any:
    """The sum over the last axes."""
    return tg.inner(*promoted([x1, x2]))


@op
def outer(x1: Any, x2: Any) -> Any:
    """All products of two elements."""
    a, b = promoted([x1, x2])
    return tg.outer(a.reshape(-1), b.reshape(-1))


@op
def vdot(x1: Any, x2: Any) -> Any:
    """The inner product of two flat tensors."""
    a, b = promoted([x1, x2])
    return tg.dot(a.reshape(-1), b.reshape(-1))


@op
def kron(x1: Any, x2: Any) -> Any:
    """The Kronecker product."""
    return tg.kron(*promoted([x1, x2]))


@op
def cross(
    x1: Any, x2: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None
) -> Any:
    """The cross product of vectors of three numbers."""
    a, b = promoted([x1, x2])
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = tg.broadcast_tensors(tg.moveaxis(a, axisa, -1), tg.moveaxis(b, axisb, -1))
    return tg.moveaxis(tg.cross(a, b, dim=-1), -1, axisc)


@op
def diag(x: Any, k: int = 0) -> Any:
    """A matrix with that diagonal, or the diagonal of a matrix."""
    return tg.diag(convert_to_tensor(x), k)


@op
def diagflat(x: Any, k: int = 0) -> Any:
    """A matrix with the flat elements on its diagonal."""
    return tg.diagflat(convert_to_tensor(x), k)


@op
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonal of two axes."""
    return tg.diagonal(convert_to_tensor(x), offset, axis1, axis2)


@op
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of the diagonal."""
    return tg.diagonal(convert_to_tensor(x), offset, axis1, axis2).sum(-1)


@op
def tril(x: Any, k: int = 0) -> Any:
    """The lower triangle."""
    return tg.tril(convert_to_tensor(x), k)


@op
def triu(x: Any, k: int = 0) -> Any:
    """The upper triangle."""
    return tg.triu(convert_to_tensor(x), k)


@op
def meshgrid(*x: Any, indexing: str = "xy") -> Any:
    """Grids of coordinates."""
    return list(tg.meshgrid(*[convert_to_tensor(a) for a in x], indexing=indexing))
