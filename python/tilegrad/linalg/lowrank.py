"""Decompositions of low rank from random projections: svd_lowrank, pca_lowrank.

Halko, Martinsson and Tropp, "Finding structure with randomness", 2011, algorithm 4.4.
"""

from __future__ import annotations

import operator
from typing import Any

from ..ops._register import takes_tensors
from ..ops.random import randn
from .factorizations import qr, svd

__all__ = ["pca_lowrank", "svd_lowrank"]

# More improvements change nothing: two or three suffice, and each takes two factorizations.
_MOST_ITERATIONS = 1000


def _basis(A: Any, q: int, niter: int) -> Any:
    """q orthonormal columns that nearly span the columns of A."""
    Q, _ = qr(A @ randn(A.shape[-1], q, dtype=A.dtype, device=A.device))
    for _ in range(niter):
        Q, _ = qr(A.mT @ Q)
        Q, _ = qr(A @ Q)
    return Q


@takes_tensors
def svd_lowrank(A: Any, q: int | None = 6, niter: int | None = 2, M: Any = None) -> tuple:
    """(U, S, V) with ``q`` singular values of ``A - M``, so that ``U diag(S) V^T`` is close to it.

    ``A`` is (*, m, n), floating, the results (*, m, q), (*, q) and (*, n, q); ``M`` broadcasts to
    the shape of A. ``niter`` times the subspace is improved; the projections come from the default
    generator. Raises RuntimeError for shapes that do not fit, ValueError for a ``niter``
    above 1000, TypeError for one that is no integer.
    """
    niter = 2 if niter is None else operator.index(niter)
    if niter > _MOST_ITERATIONS:
        raise ValueError(
            f"svd_lowrank: argument 'niter': expected at most {_MOST_ITERATIONS}, got {niter}"
        )
    A = A if M is None else A - M.expand(A.shape)
    wide = A.shape[-2] < A.shape[-1]
    tall = A.mT if wide else A
    Q = _basis(tall, 6 if q is None else q, niter)
    U, S, Vh = svd(Q.mT @ tall, full_matrices=False)
    U, V = Q @ U, Vh.mT
    return (V, S, U) if wide else (U, S, V)


@takes_tensors
def pca_lowrank(A: Any, q: int | None = None, center: bool = True, niter: int = 2) -> tuple:
    """:func:`svd_lowrank` of ``A``, with ``center`` of its columns less their means: the columns of
    V are the principal directions of the rows.

    ``q`` is min(6, m, n) unless given. Raises ValueError for a ``q`` beyond m or n and for a
    negative ``niter``.
    """
    m, n = A.shape[-2:]
    q = min(6, m, n) if q is None else q
    if not 0 <= q <= min(m, n):
        raise ValueError(
            f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}"
        )
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter)
