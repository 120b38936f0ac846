"""Factorizations of matrices and their gradients: cholesky, qr, svd, eigh, lu.

Matrices are the last two dimensions, all before them a batch. Errors: RuntimeError for shapes and
dtypes that do not fit, LinAlgError (a RuntimeError) for matrices that cannot be factorized,
TypeError for what is not a tensor.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import _C
from .._autocast import full_precision_on
from ..autograd.conjugation import wirtinger
from ..autograd.graph import needs_grad, record
from ..ops import diag_embed, eye, tril, triu, where
from ..ops._register import put_out
from ._lapack import LinAlgError, call, check_matrix, check_square, put_all

__all__ = [
    "cholesky",
    "cholesky_ex",
    "eigh",
    "eigvalsh",
    "lu",
    "lu_factor",
    "lu_factor_ex",
    "qr",
    "svd",
    "svdvals",
]


class QR(NamedTuple):
    """What :func:`qr` returns."""

    Q: Any
    R: Any


class SVD(NamedTuple):
    """What :func:`svd` returns."""

    U: Any
    S: Any
    Vh: Any


class Eigh(NamedTuple):
    """What :func:`eigh` returns."""

    eigenvalues: Any
    eigenvectors: Any


class CholeskyEx(NamedTuple):
    """What :func:`cholesky_ex` returns."""

    L: Any
    info: Any


class LU(NamedTuple):
    """What :func:`lu` returns."""

    P: Any
    L: Any
    U: Any


class LUFactor(NamedTuple):
    """What :func:`lu_factor` returns."""

    LU: Any
    pivots: Any


class LUFactorEx(NamedTuple):
    """What :func:`lu_factor_ex` returns."""

    LU: Any
    pivots: Any
    info: Any


# --- Cholesky -------------------------------------------------------------------------------------


@full_precision_on("cpu")
def cholesky(A: Any, *, upper: bool = False, out: Any = None) -> Any:
    """The lower triangular L with ``A = L @ L.mH`` (or the upper one), A being positive definite.

    (..., n, n) -> (..., n, n); only one triangle is read. Raises LinAlgError for a matrix that is
    not positive definite, RuntimeError for one that is not square.
    """
    check_square("linalg.cholesky", "A", A)
    matrix = A.detach()
    try:
        lower = call("linalg.cholesky", np.linalg.cholesky, matrix.mH if upper else matrix)
    except LinAlgError:
        raise LinAlgError(
            "linalg.cholesky: The factorization could not be completed because the input is not "
            "positive-definite"
        ) from None
    output = lower.mH if upper else lower
    if needs_grad(A):
        record(output, cholesky_backward, (A,), (output, upper))
    return output if out is None else put_out(out, output)


@wirtinger
def cholesky_backward(node: Any, grad: Any) -> Any:
    from .solvers import solve_triangular

    lower, upper = node.saved
    if upper:
        lower, grad = lower.mH, grad.mH
    inner = tril(lower.mH @ grad)
    inner = (inner + tril(inner, -1).mH) / 2
    left = solve_triangular(lower.mH, inner, upper=True)
    return solve_triangular(lower, left, upper=False, left=False)


@full_precision_on("cpu")
def cholesky_ex(
    A: Any, *, upper: bool = False, check_errors: bool = False, out: Any = None
) -> CholeskyEx:
    """(:func:`cholesky`, info), where info (int32) is 0 for success, else the order of the leading
    minor that is not positive definite. With ``check_errors`` that raises LinAlgError."""
    check_square("linalg.cholesky", "A", A)
    info = _C.full(A.shape[:-2], 0, _C.int32, A.device)
    try:
        lower = cholesky(A, upper=upper)
    except LinAlgError:
        if check_errors:
            raise
        values, failures = _cholesky_each(A)
        lower, info = values.mH if upper else values, failures
    return CholeskyEx(*put_all(out, (lower, info)))


def _cholesky_each(A: Any) -> tuple[Any, Any]:
    """Factors where they exist, zeros elsewhere, and the orders of the failing minors."""
    flat = A.detach().reshape(-1, *A.shape[-2:])
    parts, info = [], []
    for matrix in flat:
        order = next(
            (
                k
                for k in range(1, matrix.shape[0] + 1)
                if float(np.linalg.det(matrix[:k, :k].numpy()).real) <= 0
            ),
            0,
        )
        parts.append(cholesky(matrix) if order == 0 else matrix * 0)
        info.append(order)
    factors = _C.stack(parts, 0).reshape(A.shape)
    return factors, _C.from_numpy(np.array(info, np.int32)).reshape(A.shape[:-2])


# --- QR -------------------------------------------------------------------------------------------


@full_precision_on("cpu")
def qr(A: Any, mode: str = "reduced", *, out: Any = None) -> QR:
    """(Q, R) with ``A = Q @ R``, Q orthogonal, R upper triangular.

    (..., m, n) -> (..., m, k), (..., k, n) with k = min(m, n) for 'reduced', k = m for 'complete';
    for 'r' Q is empty. Raises RuntimeError for another mode.
    """
    check_matrix("linalg.qr", "A", A)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', "
            "or 'complete'"
        )
    if mode == "r":
        Q = A.new_empty((0,))
        R = call("linalg.qr", np.linalg.qr, A, mode="r")
    else:
        Q, R = call("linalg.qr", lambda x: tuple(np.linalg.qr(x, mode)), A)
    if needs_grad(A):
        record((Q, R), qr_backward, (A,), (Q, R, mode, A.shape))
    return QR(*put_all(out, (Q, R)))


@wirtinger
def qr_backward(node: Any, grad_Q: Any, grad_R: Any) -> Any:
    Q, R, mode, shape = node.saved
    rows, columns = shape[-2:]
    if mode == "r":
        raise RuntimeError(
            "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please "
            "use linalg.qr(A, mode='reduced') if you are going to require gradients."
        )
    if mode == "complete" and rows > columns:
        raise RuntimeError(
            "The QR decomposition is not differentiable when mode='complete' and nrows > ncols"
        )
    grad_Q = Q * 0 if grad_Q is None else grad_Q
    grad_R = R * 0 if grad_R is None else grad_R
    if rows >= columns:
        return _square_qr_backward(Q, R, grad_Q, grad_R)
    # A = (X | Y) with X square: X = Q U, and Y = Q V moves with Q.
    U, V = R[..., :rows], R[..., rows:]
    grad_U, grad_V = grad_R[..., :rows], grad_R[..., rows:]
    Y = Q @ V
    grad_X = _square_qr_backward(Q, U, grad_Q + Y @ grad_V.mH, grad_U)
    return _joined(grad_X, Q @ grad_V)


def _joined(a: Any, b: Any) -> Any:
    from ..ops import cat

    return cat([a, b], -1)


def _square_qr_backward(Q: Any, R: Any, grad_Q: Any, grad_R: Any) -> Any:
    from .solvers import solve_triangular

    inner = R @ grad_R.mH - grad_Q.mH @ Q
    lower = tril(inner, -1)
    symmetric = lower + lower.mH + diag_embed(inner.diagonal(0, -2, -1).real)
    # (grad_Q + Q symmetric) R^-H
    return solve_triangular(R.mH, grad_Q + Q @ symmetric, upper=False, left=False)


# --- singular values ------------------------------------------------------------------------------


@full_precision_on("cpu")
def svd(A: Any, full_matrices: bool = True, *, driver: str | None = None, out: Any = None) -> SVD:
    """(U, S, Vh) with ``A = U @ diag(S) @ Vh``, singular values in descending order.

    (..., m, n) -> (..., m, m), (..., k), (..., n, n), or with k = min(m, n) columns and rows if not
    ``full_matrices``. Gradients need distinct singular values where they go through U or Vh. Raises
    LinAlgError if the iteration does not converge.
    """
    check_matrix("linalg.svd", "A", A)
    if driver is not None:
        raise RuntimeError(
            "linalg.svd: keyword argument `driver=` is only supported on CUDA inputs"
        )
    U, S, Vh = call("linalg.svd", lambda x: tuple(np.linalg.svd(x, full_matrices=full_matrices)), A)
    if needs_grad(A):
        k = S.shape[-1]
        record((U, S, Vh), svd_backward, (A,), (U, S, Vh, k))
    return SVD(*put_all(out, (U, S, Vh)))


@wirtinger
def svd_backward(node: Any, grad_U: Any, grad_S: Any, grad_Vh: Any) -> Any:
    U, S, Vh, k = node.saved
    wide_U, wide_V = U.shape[-1] > k, Vh.shape[-2] > k
    U, Vh = U[..., :k], Vh[..., :k, :]
    if (wide_U and grad_U is not None) or (wide_V and grad_Vh is not None):
        for grad, part in ((grad_U, wide_U), (grad_Vh, wide_V)):
            beyond = None
            if part and grad is not None:
                beyond = grad[..., k:] if grad is grad_U else grad[..., k:, :]
            if beyond is not None and bool((beyond.detach() != 0).any()):
                raise RuntimeError(
                    "svd_backward: The singular vectors beyond the first min(m, n) are not "
                    "differentiable; use full_matrices=False"
                )
        grad_U = None if grad_U is None else grad_U[..., :k]
        grad_Vh = None if grad_Vh is None else grad_Vh[..., :k, :]
    row, column = S.unsqueeze(-2), S.unsqueeze(-1)
    inner = U.new_zeros(()) if grad_S is None else diag_embed(grad_S).to(U.dtype)
    gaps = (row - column) * (row + column)
    gaps = gaps + eye(k, dtype=S.dtype, device=S.device)
    result = 0
    if grad_U is not None:
        turn = U.mH @ grad_U
        twist = turn - turn.mH
        inner = inner + twist / gaps * row
        if U.dtype.is_complex:  # on the diagonal: the phases of a pair of singular vectors
            phases = twist.diagonal(0, -2, -1)
            inner = inner + diag_embed(phases / (2 * S) - phases * S)
        if U.shape[-2] > k:
            result = (grad_U - U @ turn) / row @ Vh
    if grad_Vh is not None:
        turn = Vh @ grad_Vh.mH
        twist = turn - turn.mH
        inner = inner + column * (twist / gaps)
        if U.dtype.is_complex:
            inner = inner - diag_embed(twist.diagonal(0, -2, -1) * S)
        if Vh.shape[-1] > k:
            result = result + U @ ((grad_Vh - turn.mH @ Vh) / column)
    if inner.ndim == 0:
        return result
    return U @ inner @ Vh + result


@full_precision_on("cpu")
def svdvals(A: Any, *, driver: str | None = None, out: Any = None) -> Any:
    """The singular values in descending order: (..., m, n) -> (..., min(m, n)). Errors are those of
    :func:`svd`."""
    output = svd(A, full_matrices=False, driver=driver).S
    return output if out is None else put_out(out, output)


# --- symmetric matrices ---------------------------------------------------------------------------


@full_precision_on("cpu")
def eigh(A: Any, UPLO: str = "L", *, out: Any = None) -> Eigh:
    """(eigenvalues in ascending order, eigenvectors in columns) of a symmetric matrix.

    (..., n, n) -> (..., n), (..., n, n). Only the lower triangle is read, or the upper one with
    ``UPLO='U'``. Gradients through eigenvectors need distinct eigenvalues. Raises RuntimeError for
    another ``UPLO`` and matrices that are not square.
    """
    check_square("linalg.eigh", "A", A)
    if not isinstance(UPLO, str) or UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    values, vectors = call("linalg.eigh", lambda x: tuple(np.linalg.eigh(x, UPLO.upper())), A)
    if needs_grad(A):
        record((values, vectors), eigh_backward, (A,), (values, vectors))
    return Eigh(*put_all(out, (values, vectors)))


@wirtinger
def eigh_backward(node: Any, grad_values: Any, grad_vectors: Any) -> Any:
    values, vectors = node.saved
    if grad_vectors is None:
        return vectors * grad_values.unsqueeze(-2) @ vectors.mH
    turn = vectors.mH @ grad_vectors
    gaps = values.unsqueeze(-2) - values.unsqueeze(-1)
    diagonal = eye(values.shape[-1], dtype=_C.boolean, device=values.device)
    inner = (turn - turn.mH) / 2 / where(diagonal, 1.0, gaps)
    if turn.dtype.is_complex:
        inner = where(diagonal, 0.0, inner)
    if grad_values is not None:
        inner = inner + diag_embed(grad_values)
    return vectors @ inner @ vectors.mH


@full_precision_on("cpu")
def eigvalsh(A: Any, UPLO: str = "L", *, out: Any = None) -> Any:
    """The eigenvalues of :func:`eigh`, with its errors."""
    output = eigh(A, UPLO).eigenvalues
    return output if out is None else put_out(out, output)


# --- LU -------------------------------------------------------------------------------------------


def _lu_in_place(a: np.ndarray, pivot: bool) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian elimination: L below the diagonal, U on and above it; and the rows swapped."""
    a = a.copy()
    rows, columns = a.shape[-2:]
    count = math.prod(a.shape[:-2])
    flat = a.reshape(count, rows, columns)
    batch = np.arange(count)
    steps = min(rows, columns)
    pivots = np.tile(np.arange(1, steps + 1, dtype=np.int32), (len(flat), 1))
    for k in range(steps):
        if pivot:
            column = flat[:, k:, k]  # LAPACK compares the sums of both parts
            chosen = k + (np.abs(column.real) + np.abs(column.imag)).argmax(1)
            pivots[:, k] = chosen + 1
            swapped = flat[batch, chosen].copy()
            flat[batch, chosen] = flat[:, k]
            flat[:, k] = swapped
        divisor = flat[:, k, k][:, None]
        usable = divisor != 0
        flat[:, k + 1 :, k] = np.where(
            usable, flat[:, k + 1 :, k] / np.where(usable, divisor, 1), flat[:, k + 1 :, k]
        )
        flat[:, k + 1 :, k + 1 :] -= flat[:, k + 1 :, k, None] * flat[:, k, None, k + 1 :]
    return a, pivots.reshape(*a.shape[:-2], steps)


def permutation(pivots: Any, rows: int) -> Any:
    """The order of rows that a list of swaps leaves: (..., k) -> (..., rows), int64."""
    swaps = pivots.detach().cpu().numpy()
    flat = swaps.reshape(math.prod(swaps.shape[:-1]), swaps.shape[-1])
    order = np.tile(np.arange(rows), (len(flat), 1))
    batch = np.arange(len(flat))
    for k in range(flat.shape[-1]):
        other = flat[:, k] - 1
        kept = order[batch, other].copy()
        order[batch, other] = order[:, k]
        order[:, k] = kept
    return _C.from_numpy(order.reshape(*swaps.shape[:-1], rows).astype(np.int64))


def lu_factor_ex(
    A: Any, *, pivot: bool = True, check_errors: bool = False, out: Any = None
) -> LUFactorEx:
    """(LU, pivots, info): L below the diagonal and U on and above it in one matrix; the row that
    each step swapped with its own, counted from 1, int32; the number of a zero on U's diagonal.

    (..., m, n) -> (..., m, n), (..., min(m, n)), (...). Raises RuntimeError for other shapes.
    """
    check_matrix("linalg.lu_factor", "A", A)
    compact, pivots = call("linalg.lu_factor", lambda x: _lu_in_place(x, pivot), A)
    if needs_grad(A):
        record(compact, lu_factor_backward, (A,), (compact, pivots))
    zeros = compact.detach().diagonal(0, -2, -1).cpu().numpy() == 0
    first = np.zeros(zeros.shape[:-1])
    if zeros.shape[-1]:
        first = np.where(zeros.any(-1), zeros.argmax(-1) + 1, 0)
    info = _C.from_numpy(np.asarray(first, np.int32))
    if check_errors and bool((info != 0).any()):
        raise LinAlgError(f"linalg.lu_factor: U[{int(info.max())}] is zero, A is singular")
    return LUFactorEx(*put_all(out, (compact, pivots, info)))


def lu_factor_backward(node: Any, grad: Any) -> Any:
    """For A = P L U, differentiated as two triangles side by side."""
    compact, pivots = node.saved
    rows, columns = compact.shape[-2:]
    order = permutation(pivots, rows).to(compact.device)
    L, U = unpack(compact)
    k = min(rows, columns)
    grad_L, grad_U = tril(grad, -1)[..., :k], triu(grad)[..., :k, :]
    inner = _lu_gradient(L, U, grad_L, grad_U)
    back = order.argsort(-1).unsqueeze(-1).expand(inner.shape)
    return inner.gather(-2, back)


def _lu_gradient(L: Any, U: Any, grad_L: Any, grad_U: Any) -> Any:
    """The gradient of a matrix ``L @ U``; beyond the square part only one factor moves."""
    from ..ops import cat
    from .solvers import solve_triangular

    k, rows, columns = L.shape[-1], L.shape[-2], U.shape[-1]
    L1, U1 = L[..., :k, :], U[..., :k]
    grad_L1, grad_U1 = grad_L[..., :k, :], grad_U[..., :k]
    inner = tril(L1.mT @ grad_L1, -1) + triu(grad_U1 @ U1.mT)
    below = right = None
    if rows > k:  # L2 = A2 U^-1
        grad_L2 = grad_L[..., k:, :]
        below = solve_triangular(U1.mT, grad_L2, upper=False, left=False)
        inner = inner - triu(L[..., k:, :].mT @ grad_L2)
    if columns > k:  # U2 = L^-1 A2
        grad_U2 = grad_U[..., k:]
        right = solve_triangular(L1.mT, grad_U2, upper=True, unitriangular=True)
        inner = inner - tril(grad_U2 @ U[..., k:].mT, -1)
    inner = solve_triangular(U1.mT, inner, upper=False, left=False)
    result = solve_triangular(L1.mT, inner, upper=True, unitriangular=True)
    if below is not None:
        result = cat([result, below], -2)
    return result if right is None else cat([result, right], -1)


def unpack(compact: Any) -> tuple[Any, Any]:
    """(L, U) of the compact form."""
    k = min(compact.shape[-2:])
    ones = eye(compact.shape[-2], k, dtype=compact.dtype, device=compact.device)
    return tril(compact, -1)[..., :k] + ones, triu(compact)[..., :k, :]


def lu_factor(A: Any, *, pivot: bool = True, out: Any = None) -> LUFactor:
    """(LU, pivots) of :func:`lu_factor_ex`. Raises LinAlgError for a singular square matrix."""
    compact, pivots, _ = lu_factor_ex(A, pivot=pivot)
    return LUFactor(*put_all(out, (compact, pivots)))


def lu(A: Any, *, pivot: bool = True, out: Any = None) -> LU:
    """(P, L, U) with ``A = P @ L @ U``: a permutation, a lower and an upper triangle.

    (..., m, n) -> (..., m, m), (..., m, k), (..., k, n). Without ``pivot`` P is empty. Raises
    RuntimeError for other shapes.
    """
    check_matrix("linalg.lu", "A", A)
    compact, pivots, _ = lu_factor_ex(A, pivot=pivot)
    rows = A.shape[-2]
    if pivot:
        ones = eye(rows, dtype=A.dtype, device=A.device)
        P = ones[permutation(pivots, rows).to(A.device)].mT
    else:
        P = A.new_empty((0,))
    return LU(*put_all(out, (P, *unpack(compact))))
