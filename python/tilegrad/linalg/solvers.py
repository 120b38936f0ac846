"""Equations, inverses and determinants: solve, inv, pinv, lstsq, det, slogdet, solve_triangular.

Matrices are the last two dimensions, all before them a batch. Errors: RuntimeError for shapes and
dtypes that do not fit, LinAlgError (a RuntimeError) for singular matrices, TypeError for what is
not a tensor.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import _C
from .._autocast import full_precision_on
from ..autograd.conjugation import wirtinger
from ..autograd.graph import needs_grad, record
from ..ops import complex, eye, tril, triu, where
from ..ops._register import put_out, takes_tensors
from ..tensor import Tensor
from ._lapack import LinAlgError, call, check_matrix, check_square, put_all
from .factorizations import eigh, lu_factor_ex, permutation, svd, unpack

__all__ = [
    "det",
    "inv",
    "inv_ex",
    "lstsq",
    "lu_solve",
    "pinv",
    "slogdet",
    "solve",
    "solve_ex",
    "solve_triangular",
    "tensorinv",
    "tensorsolve",
]


class InvEx(NamedTuple):
    """What :func:`inv_ex` returns."""

    inverse: Any
    info: Any


class SolveEx(NamedTuple):
    """What :func:`solve_ex` returns."""

    result: Any
    info: Any


class SlogDet(NamedTuple):
    """What :func:`slogdet` returns."""

    sign: Any
    logabsdet: Any


class LeastSquares(NamedTuple):
    """What :func:`lstsq` returns."""

    solution: Any
    residuals: Any
    rank: Any
    singular_values: Any


def _same_dtype(op: str, A: Any, B: Any) -> None:
    if not isinstance(B, Tensor):
        raise TypeError(f"{op}: argument 'B': expected a Tensor, got {type(B).__name__}")
    if A.dtype is not B.dtype:
        raise RuntimeError(
            f"{op}: Expected A and B to have the same dtype, but found A of type {A.dtype} and B "
            f"of type {B.dtype} instead"
        )
    if A.device != B.device:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found {A.device} and {B.device}"
        )


# --- inverses -------------------------------------------------------------------------------------


@full_precision_on("cpu")
def inv(A: Any, *, out: Any = None) -> Any:
    """The inverse: (..., n, n) -> (..., n, n). Raises LinAlgError for a singular matrix."""
    check_square("linalg.inv", "A", A)
    try:
        output = call("linalg.inv", np.linalg.inv, A)
    except LinAlgError:
        raise LinAlgError(
            "linalg.inv: The diagonal element is zero, the inversion could not be completed "
            "because the input matrix is singular."
        ) from None
    if needs_grad(A):
        record(output, inv_backward, (A,), (output,))
    return output if out is None else put_out(out, output)


def inv_backward(node: Any, grad: Any) -> Any:
    (inverse,) = node.saved
    return -(inverse.mT @ grad @ inverse.mT)


def _singular(A: Any) -> Any:
    """For each matrix the number of the first zero on U's diagonal, int32; 0 if there is none."""
    return lu_factor_ex(A.detach()).info


@full_precision_on("cpu")
def inv_ex(A: Any, *, check_errors: bool = False, out: Any = None) -> InvEx:
    """(:func:`inv`, info), where info (int32) is not 0 for a singular matrix, whose inverse is then
    undefined; with ``check_errors`` it raises LinAlgError."""
    check_square("linalg.inv_ex", "A", A)
    info = _singular(A)
    if not bool((info != 0).any()) or check_errors:
        return InvEx(*put_all(out, (inv(A), info)))
    return InvEx(*put_all(out, (_C.full(A.shape, math.inf, A.dtype, A.device), info)))


def pinv(
    A: Any, *, atol: Any = None, rtol: Any = None, hermitian: bool = False, out: Any = None
) -> Any:
    """The pseudoinverse: (..., m, n) -> (..., n, m).

    Singular values at or below ``max(atol, rtol * largest)`` count as zero; ``rtol`` is
    ``max(m, n)`` times the dtype's epsilon unless one of both is given. With ``hermitian`` the
    matrix is symmetric. Raises RuntimeError for other shapes and dtypes.
    """
    (check_square if hermitian else check_matrix)("linalg.pinv", "A", A)
    plain = A.detach()
    atol, rtol = _tolerances(A, atol, rtol)
    if hermitian:
        values, vectors = eigh(plain)
        size = values.abs()
        left, right = vectors, vectors.mH
    else:
        left, values, right = svd(plain, full_matrices=False)
        size = values
    limit = atol
    if size.shape[-1]:
        limit = _C.maximum(atol, rtol * size.amax(-1)).unsqueeze(-1)
    inverse = where(size > limit, 1 / values, 0.0)
    output = right.mH * inverse.unsqueeze(-2) @ left.mH
    if needs_grad(A):
        record(output, pinv_backward, (A,), (A, output))
    return output if out is None else put_out(out, output)


def _tolerances(A: Any, atol: Any, rtol: Any) -> tuple[Any, Any]:
    """Both as tensors of the singular values' dtype."""
    dtype = A.real.dtype
    if rtol is None:
        given = atol is not None and (not isinstance(atol, Tensor) and atol > 0)
        epsilon = np.finfo(A.dtype.name).eps * max(A.shape[-2:])
        rtol = 0.0 if given else float(epsilon)
        if isinstance(atol, Tensor):
            rtol = where(atol > 0, 0.0, float(epsilon))
    atol = 0.0 if atol is None else atol
    return tuple(
        x.to(dtype) if isinstance(x, Tensor) else A.new_full((), float(x), dtype=dtype)
        for x in (atol, rtol)
    )


@wirtinger
def pinv_backward(node: Any, grad: Any) -> Any:
    """Golub and Pereyra (1973): how a pseudoinverse of constant rank moves."""
    A, P = node.saved
    outside = grad.mH - (A @ P) @ grad.mH  # (I - A P) G^H
    inside = grad.mH - grad.mH @ (P @ A)  # G^H (I - P A)
    return outside @ P @ P.mH + P.mH @ P @ inside - P.mH @ grad @ P.mH


# --- equations ------------------------------------------------------------------------------------


def _is_vector(A: Any, B: Any) -> bool:
    """Whether ``B`` holds one right-hand side per matrix, without a dimension of columns."""
    return B.ndim == 1 or (A.ndim - 1 == B.ndim and tuple(B.shape) == tuple(A.shape[:-1]))


@full_precision_on("cpu")
def solve(A: Any, B: Any, *, left: bool = True, out: Any = None) -> Any:
    """X with ``A @ X = B``, or ``X @ A = B`` if not ``left``.

    (..., n, n), (..., n, k) or (..., n); leading dimensions broadcast. Raises LinAlgError for a
    singular matrix, RuntimeError for sizes that do not fit.
    """
    check_square("linalg.solve", "A", A)
    _same_dtype("linalg.solve", A, B)
    vector = _is_vector(A, B)
    if vector and not left:
        raise RuntimeError(
            "linalg.solve: Vector broadcasting of the left hand side is not supported for "
            "left=False. In this case linalg.solve is equivalent to B / A.squeeze(-1)"
        )
    columns = B.unsqueeze(-1) if vector else B
    if columns.ndim < 2:
        raise RuntimeError(f"linalg.solve: B must have at least 1 dimension, got {list(B.shape)}")
    if not left:
        return _put(out, solve(A.mT, columns.mT).mT)
    if columns.shape[-2] != A.shape[-1]:
        raise RuntimeError(
            "linalg.solve: Incompatible shapes of A and B for the equation AX = B "
            f"({A.shape[-2]}x{A.shape[-1]} and {columns.shape[-2]}x{columns.shape[-1]})"
        )
    output = _solve(A, columns)
    return _put(out, output.squeeze(-1) if vector else output)


def _put(out: Any, output: Any) -> Any:
    return output if out is None else put_out(out, output)


def _solve(A: Any, B: Any) -> Any:
    try:
        output = call("linalg.solve", np.linalg.solve, A, B)
    except LinAlgError:
        raise LinAlgError(
            "linalg.solve: The solver failed because the input matrix is singular."
        ) from None
    if needs_grad(A, B):
        record(output, solve_backward, (A, B), (A, output))
    return output


def solve_backward(node: Any, grad: Any) -> tuple:
    A, X = node.saved
    grad_B = _solve(A.mT, grad)
    return -(grad_B @ X.mT) if node.needs(0) else None, grad_B


@takes_tensors
def solve_ex(
    A: Any, B: Any, *, left: bool = True, check_errors: bool = False, out: Any = None
) -> SolveEx:
    """(:func:`solve`, info), where info (int32) is not 0 for a singular matrix, whose solution is
    then undefined; with ``check_errors`` it raises LinAlgError."""
    check_square("linalg.solve", "A", A)
    info = _singular(A)
    if bool((info != 0).any()) and not check_errors:
        return SolveEx(*put_all(out, (_C.full(B.shape, math.nan, A.dtype, A.device), info)))
    return SolveEx(*put_all(out, (solve(A, B, left=left), info)))


def solve_triangular(
    A: Any, B: Any, *, upper: bool, left: bool = True, unitriangular: bool = False, out: Any = None
) -> Any:
    """X with ``A @ X = B`` for a triangular A, of which the other triangle is not read.

    With ``unitriangular`` its diagonal counts as ones, unread. (..., n, n), (..., n, k); leading
    dimensions broadcast. Raises RuntimeError for sizes that do not fit, LinAlgError for a zero on
    the diagonal.
    """
    check_square("linalg.solve_triangular", "A", A)
    check_matrix("linalg.solve_triangular", "B", B)
    _same_dtype("linalg.solve_triangular", A, B)
    fits = A.shape[-1] == B.shape[-2 if left else -1]
    if not fits:
        raise RuntimeError(
            "linalg.solve_triangular: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({A.shape[-2]}x{A.shape[-1]} and "
            f"{B.shape[-2]}x{B.shape[-1]})"
        )
    kept = triu if upper else tril
    if unitriangular:
        ones = eye(A.shape[-1], dtype=A.dtype, device=A.device)
        triangle = kept(A, 1 if upper else -1) + ones
    else:
        triangle = kept(A)
    output = _solve(triangle, B) if left else _solve(triangle.mT, B.mT).mT
    return _put(out, output)


@takes_tensors
@full_precision_on("cpu")
def lu_solve(
    LU: Any, pivots: Any, B: Any, *, left: bool = True, adjoint: bool = False, out: Any = None
) -> Any:
    """X with ``A @ X = B`` from :func:`lu_factor` of A;
    ``adjoint`` solves for the conjugate transpose of A.

    Raises RuntimeError for sizes and dtypes that do not fit.
    """
    check_square("linalg.lu_solve", "LU", LU)
    check_matrix("linalg.lu_solve", "B", B)
    _same_dtype("linalg.lu_solve", LU, B)
    if pivots.dtype is not _C.int32:
        raise RuntimeError("linalg.lu_solve: pivots should be a Tensor of scalar type torch.int32")
    rows = LU.shape[-1]
    if rows != B.shape[-2 if left else -1]:
        raise RuntimeError(
            f"linalg.lu_solve: Incompatible shapes of A and B, {list(LU.shape)} and {list(B.shape)}"
        )
    if tuple(pivots.shape) != tuple(LU.shape[:-1]):
        raise RuntimeError(
            "linalg.lu_solve: Number of pivots per batch should be same as the dimension of the "
            f"matrix, got {list(pivots.shape)} and {list(LU.shape)}"
        )
    if not left:
        return _put(out, lu_solve(LU, pivots, B.mH, adjoint=not adjoint).mH)
    L, U = unpack(LU)
    ones = eye(rows, dtype=LU.dtype, device=LU.device)
    P = ones[permutation(pivots, rows).to(LU.device)].mT
    if adjoint:
        inner = solve_triangular(U.mH, B, upper=False)
        return _put(out, P @ solve_triangular(L.mH, inner, upper=True, unitriangular=True))
    inner = solve_triangular(L, P.mT @ B, upper=False, unitriangular=True)
    return _put(out, solve_triangular(U, inner, upper=True))


@full_precision_on("cpu")
def lstsq(A: Any, B: Any, rcond: Any = None, *, driver: str | None = None) -> LeastSquares:
    """(solution, residuals, rank, singular_values) of the least squares problem ``A @ X = B``.

    (..., m, n), (..., m, k) or (..., m). Residuals are the sums of squares for m > n, full rank and
    a driver other than 'gelsy' (the default), else empty; singular values are there for the
    drivers 'gelsd' and 'gelss'. Raises RuntimeError for sizes that do not fit and another driver.
    """
    check_matrix("torch.linalg.lstsq", "input", A)
    _same_dtype("torch.linalg.lstsq", A, B)
    if B.ndim == 0:
        raise RuntimeError("torch.linalg.lstsq: other must have at least 1 dimension")
    if A.ndim not in (B.ndim, B.ndim + 1):
        raise RuntimeError(
            "torch.linalg.lstsq: input.dim() must be greater or equal to other.dim() and "
            f"(input.dim() - other.dim()) <= 1, got {A.ndim} and {B.ndim}"
        )
    drivers = ("gels", "gelsy", "gelsd", "gelss")
    if driver is not None and driver not in drivers:
        raise RuntimeError(
            f"torch.linalg.lstsq: parameter `driver` should be one of (gels, gelsy, gelsd, gelss), "
            f"got {driver}"
        )
    driver = driver or "gelsy"
    vector = A.ndim - 1 == B.ndim and tuple(B.shape) == tuple(A.shape[:-1])
    columns = B.unsqueeze(-1) if vector else B
    rows, unknowns = A.shape[-2:]
    if columns.shape[-2] != rows:
        raise RuntimeError(
            f"torch.linalg.lstsq: input.size(-2) should match other.size({-1 if vector else -2})"
        )
    epsilon = float(np.finfo(A.dtype.name).eps) * max(rows, unknowns)
    if rcond is None and driver == "gels":
        rcond = 0.0
    inverse = pinv(A, rtol=epsilon if rcond is None else rcond)
    solution = inverse @ columns
    empty = A.new_empty((0,))
    singular = svd(A.detach(), full_matrices=False).S
    limit = singular[..., :1] * (epsilon if rcond is None else rcond)
    rank = (singular > limit).sum(-1) if min(rows, unknowns) else (singular > 0).sum(-1)
    residuals = empty
    if driver != "gelsy" and rows > unknowns and bool((rank == unknowns).all()):
        residuals = (A @ solution - columns).square().sum(-2)
    return LeastSquares(
        solution.squeeze(-1) if vector else solution,
        residuals,
        _C.full((0,), 0, _C.int64, A.device) if driver == "gels" else rank,
        singular if driver in ("gelsd", "gelss") else empty,
    )


# --- determinants ---------------------------------------------------------------------------------


def det(A: Any, *, out: Any = None) -> Any:
    """The determinant: (..., n, n) -> (...). Raises RuntimeError unless matrices are square."""
    check_square("linalg.det", "A", A)
    output = call("linalg.det", np.linalg.det, A).to(A.dtype)
    if needs_grad(A):
        record(output, det_backward, (A,), (A, output))
    return output if out is None else put_out(out, output)


def det_backward(node: Any, grad: Any) -> Any:
    A, output = node.saved
    grad = grad.unsqueeze(-1).unsqueeze(-1)
    if bool((output.detach().abs() > 1e-30).all()) and not bool((_singular(A) != 0).any()):
        return grad * output.unsqueeze(-1).unsqueeze(-1) * inv(A).mT
    return grad * _cofactors(A)


def _cofactors(A: Any) -> Any:
    """The transposed adjugate, which singular matrices have too, from the singular values."""
    U, S, Vh = svd(A, full_matrices=False)
    n = S.shape[-1]
    ones = eye(n, dtype=_C.boolean, device=S.device)
    others = where(ones, 1.0, S.unsqueeze(-2).expand(*S.shape, n)).prod(-1)
    orientation = (det(U.detach()) * det(Vh.detach())).sgn()
    return U.conj() * others.unsqueeze(-2) @ Vh.conj() * orientation.unsqueeze(-1).unsqueeze(-1)


def slogdet(A: Any, *, out: Any = None) -> SlogDet:
    """(sign, log of the size) of the determinant; 0 and -inf for a singular matrix. Raises
    RuntimeError unless matrices are square."""
    check_square("linalg.slogdet", "A", A)
    sign, size = call("linalg.slogdet", lambda x: tuple(np.linalg.slogdet(x)), A)
    sign, size = sign.to(A.dtype), size.to(A.real.dtype)
    if needs_grad(A):
        outputs = (sign if A.dtype.is_complex else None, size)
        record(outputs, slogdet_backward, (A,), (A, sign))
    return SlogDet(*put_all(out, (sign, size)))


@wirtinger
def slogdet_backward(node: Any, grad_sign: Any, grad_size: Any) -> Any:
    """The logarithm of the determinant moves by trace(A^-1 dA): its real part is that of the size,
    its imaginary part turns the sign."""
    A, sign = node.saved
    grad = A.real.new_zeros(A.shape[:-2]) if grad_size is None else grad_size
    if grad_sign is not None:
        grad = complex(grad, -(grad_sign.conj() * sign).imag)
    return grad.unsqueeze(-1).unsqueeze(-1) * inv(A).mH


# --- tensors as matrices --------------------------------------------------------------------------


@takes_tensors
@full_precision_on("cpu")
def tensorinv(A: Any, ind: int = 2, *, out: Any = None) -> Any:
    """The inverse for :func:`tensordot` over ``ind`` dimensions. Raises RuntimeError unless the
    first ``ind`` sizes have the product of the others."""
    if ind <= 0:
        raise RuntimeError(f"Expected a strictly positive integer for 'ind', got {ind}")
    rows, columns = tuple(A.shape[:ind]), tuple(A.shape[ind:])
    if math.prod(rows) != math.prod(columns):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == "
            f"prod(self.shape[:ind]), but got {math.prod(columns)} != {math.prod(rows)}"
        )
    made = inv(A.reshape(math.prod(columns), math.prod(rows))).reshape(columns + rows)
    return _put(out, made)


@takes_tensors
@full_precision_on("cpu")
def tensorsolve(A: Any, B: Any, dims: Any = None, *, out: Any = None) -> Any:
    """X with ``tensordot(A, X, X.ndim) == B``; ``dims`` of A are moved to its end first. Raises
    RuntimeError for sizes that do not fit."""
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A.ndim - len(dims), A.ndim)))
    result = tuple(A.shape[B.ndim :])
    if math.prod(result) != math.prod(A.shape[: B.ndim]):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
            f"prod(self.shape[:other.ndim]), but got {math.prod(result)} != "
            f"{math.prod(A.shape[: B.ndim])}"
        )
    made = solve(A.reshape(math.prod(result), math.prod(result)), B.reshape(-1)).reshape(result)
    return _put(out, made)
