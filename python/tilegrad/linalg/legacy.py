"""Linear algebra under ``tilegrad`` itself: names and arguments from before ``tilegrad.linalg``.

Errors are those of the functions of :mod:`tilegrad.linalg` that do the work.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import _C
from .._autocast import full_precision_on
from ..autograd.graph import needs_grad, record
from ..ops import cat, eye, where
from ..ops._register import method, put_out, takes_tensors
from . import factorizations, norms, solvers
from ._lapack import call, check_matrix, check_square
from .factorizations import QR

__all__ = [
    "cholesky",
    "cholesky_inverse",
    "cholesky_solve",
    "det",
    "geqrf",
    "inverse",
    "logdet",
    "lu",
    "lu_solve",
    "lu_unpack",
    "matrix_exp",
    "matrix_power",
    "orgqr",
    "pinverse",
    "qr",
    "slogdet",
    "svd",
    "triangular_solve",
    "vander",
]

det = method("det")(solvers.det)
slogdet = method("slogdet")(solvers.slogdet)
matrix_power = method("matrix_power")(norms.matrix_power)
matrix_exp = method("matrix_exp")(norms.matrix_exp)
orgqr = method("orgqr")(norms.householder_product)


@takes_tensors
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """Powers of the numbers ``x`` (n), one row (n, N) each: from N - 1 down to 0, or up.

    Raises RuntimeError for what has not one dimension and for a negative ``N``.
    """
    if x.ndim != 1:
        raise RuntimeError(f"x must be a one-dimensional tensor, got {x.ndim} dimensions")
    count = len(x) if N is None else N
    if count < 0:
        raise RuntimeError(f"N must be non-negative, got {N}")
    powers = x.new_ones(len(x), count, dtype=x.dtype)
    if count > 1:
        repeated = x.unsqueeze(1).expand(len(x), count - 1).cumprod(1)
        powers = cat([powers[:, :1].to(repeated.dtype), repeated], 1)
    return powers if increasing else powers.flip(1)


class SVD(NamedTuple):
    """What :func:`svd` returns."""

    U: Any
    S: Any
    V: Any


class Reflections(NamedTuple):
    """What :func:`geqrf` returns."""

    a: Any
    tau: Any


class TriangularSolution(NamedTuple):
    """What :func:`triangular_solve` returns."""

    solution: Any
    cloned_coefficient: Any


class LUUnpacked(NamedTuple):
    """What :func:`lu_unpack` returns."""

    P: Any
    L: Any
    U: Any


@method()
@full_precision_on("cpu")
def cholesky(input: Any, upper: bool = False, *, out: Any = None) -> Any:
    """See :func:`tilegrad.linalg.cholesky`."""
    return factorizations.cholesky(input, upper=upper, out=out)


@method()
@full_precision_on("cpu")
def inverse(input: Any, *, out: Any = None) -> Any:
    """See :func:`tilegrad.linalg.inv`."""
    return solvers.inv(input, out=out)


@method()
@full_precision_on("cpu")
def pinverse(input: Any, rcond: float = 1e-15) -> Any:
    """The pseudoinverse with singular values up to ``rcond`` times the largest as zero; see
    :func:`tilegrad.linalg.pinv`."""
    return solvers.pinv(input, rtol=rcond)


@method()
def logdet(input: Any) -> Any:
    """The logarithm of the determinant, NaN for a negative one; see
    :func:`tilegrad.linalg.slogdet`."""
    sign, size = solvers.slogdet(input)
    if sign.dtype.is_complex:
        return sign.log() + size
    return where(sign < 0, math.nan, size)


@method()
@full_precision_on("cpu")
def qr(input: Any, some: bool = True, *, out: Any = None) -> QR:
    """See :func:`tilegrad.linalg.qr`; ``some`` means its mode 'reduced', else 'complete'."""
    return factorizations.qr(input, "reduced" if some else "complete", out=out)


@method()
@full_precision_on("cpu")
def svd(input: Any, some: bool = True, compute_uv: bool = True, *, out: Any = None) -> SVD:
    """(U, S, V), V with the right singular vectors in columns; see :func:`tilegrad.linalg.svd`.

    Without ``compute_uv`` U and V are zeros.
    """
    check_matrix("linalg.svd", "A", input)
    rows, columns = input.shape[-2:]
    if not compute_uv:
        batch = tuple(input.shape[:-2])
        results: tuple = (
            input.new_zeros((*batch, rows, rows)),
            factorizations.svdvals(input),
            input.new_zeros((*batch, columns, columns)),
        )
    else:
        U, S, Vh = factorizations.svd(input, full_matrices=not some)
        results = (U, S, Vh.mH)
    if out is not None:
        results = tuple(put_out(to, x) for to, x in zip(out, results, strict=True))
    return SVD(*results)


@method()
@full_precision_on("cpu")
def geqrf(input: Any, *, out: Any = None) -> Reflections:
    """(a, tau): R above the diagonal, the reflections' vectors below it, and their factors; see
    :func:`tilegrad.linalg.householder_product` and :func:`tilegrad.linalg.qr`."""
    check_matrix("geqrf", "input", input)

    def raw(x: np.ndarray) -> tuple:
        found, tau = np.linalg.qr(x, mode="raw")
        return np.swapaxes(found, -1, -2), tau

    results = call("geqrf", raw, input)
    if out is not None:
        results = tuple(put_out(to, x) for to, x in zip(out, results, strict=True))
    return Reflections(*results)


@method()
@full_precision_on("cpu")
def cholesky_solve(input: Any, L: Any, upper: bool = False, *, out: Any = None) -> Any:
    """X with ``A @ X = input`` from the factor of A, ``L @ L.mT`` or with ``upper`` ``L.mT @ L``;
    see :func:`tilegrad.linalg.solve_triangular`."""
    check_matrix("cholesky_solve", "input", input)
    check_square("cholesky_solve", "L", L)
    if L.shape[-1] != input.shape[-2]:
        raise RuntimeError(
            f"Incompatible matrix sizes for cholesky_solve: each A matrix is {L.shape[-1]} by "
            f"{L.shape[-1]} but each b matrix is {input.shape[-2]} by {input.shape[-1]}"
        )
    output = _from_factor(L.detach(), input.detach(), upper)
    if needs_grad(input, L):
        record(output, cholesky_solve_backward, (input, L), (L, upper, output))
    return output if out is None else put_out(out, output)


def _from_factor(L: Any, B: Any, upper: bool) -> Any:
    lower = L.mT if upper else L
    inner = solvers.solve_triangular(lower, B, upper=False)
    return solvers.solve_triangular(lower.mT, inner, upper=True)


def cholesky_solve_backward(node: Any, grad: Any) -> tuple:
    """As for ``solve``; the factor's other triangle takes part, as in PyTorch."""
    L, upper, X = node.saved
    grad_B = cholesky_solve(grad, L, upper)
    if not node.needs(1):
        return grad_B, None
    inner = grad_B @ X.mT
    inner = inner + inner.mT
    return grad_B, -(L @ inner) if upper else -(inner @ L)


@method()
@full_precision_on("cpu")
def cholesky_inverse(L: Any, upper: bool = False, *, out: Any = None) -> Any:
    """The inverse of a matrix from its factor; see :func:`cholesky_solve`."""
    check_square("cholesky_inverse", "L", L)
    ones = eye(L.shape[-1], dtype=L.dtype, device=L.device).expand(L.shape)
    return cholesky_solve(ones, L, upper, out=out)


@full_precision_on("cpu")
def triangular_solve(
    b: Any, A: Any, upper: bool = True, transpose: bool = False, unitriangular: bool = False, *,
    out: Any = None,
) -> TriangularSolution:  # fmt: skip
    """(X, a copy of A) with ``A @ X = b``, or ``A.mT @ X = b`` under ``transpose``; see
    :func:`tilegrad.linalg.solve_triangular`."""
    check_square("triangular_solve", "A", A)
    check_matrix("triangular_solve", "b", b)
    matrix = A.mT if transpose else A
    solution = solvers.solve_triangular(
        matrix, b, upper=upper != transpose, unitriangular=unitriangular
    )
    results = (solution, A.clone())
    if out is not None:
        results = tuple(put_out(to, x) for to, x in zip(out, results, strict=True))
    return TriangularSolution(*results)


method("triangular_solve")(triangular_solve)


@full_precision_on("cpu")
def lu(A: Any, pivot: bool = True, get_infos: bool = False, out: Any = None) -> tuple:
    """(LU, pivots), and the infos if asked for; see :func:`tilegrad.linalg.lu_factor_ex`."""
    compact, pivots, info = factorizations.lu_factor_ex(A, pivot=pivot)
    return (compact, pivots, info) if get_infos else (compact, pivots)


method("lu")(lu)


@method()
@takes_tensors
@full_precision_on("cpu")
def lu_solve(b: Any, LU_data: Any, LU_pivots: Any, *, out: Any = None) -> Any:
    """See :func:`tilegrad.linalg.lu_solve`."""
    return solvers.lu_solve(LU_data, LU_pivots, b, out=out)


@takes_tensors
def lu_unpack(
    LU_data: Any, LU_pivots: Any, unpack_data: bool = True, unpack_pivots: bool = True, *,
    out: Any = None,
) -> LUUnpacked:  # fmt: skip
    """(P, L, U) of what :func:`lu` returned; empty where it is not asked for.

    Raises RuntimeError for pivots that are not int32 or of another shape.
    """
    check_matrix("lu_unpack", "LU_data", LU_data)
    if LU_pivots.dtype is not _C.int32:
        raise RuntimeError(
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype."
        )
    empty = LU_data.new_empty((0,))
    P = L = U = empty
    rows = LU_data.shape[-2]
    if unpack_data:
        L, U = factorizations.unpack(LU_data)
    if unpack_pivots:
        ones = eye(rows, dtype=LU_data.dtype, device=LU_data.device)
        P = ones[factorizations.permutation(LU_pivots, rows).to(LU_data.device)].mT
    results = (P, L, U)
    if out is not None:
        results = tuple(put_out(to, x) for to, x in zip(out, results, strict=True))
    return LUUnpacked(*results)
