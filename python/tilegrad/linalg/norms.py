"""Norms and powers of matrices: norm, vector_norm, matrix_norm, cond, matrix_rank, matrix_power.

Errors: RuntimeError for shapes, dtypes and orders that do not fit, IndexError for dimensions out of
range, TypeError for what is not a tensor.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

from .. import _C
from .._autocast import full_precision_on, lowered_on, widest_on
from ..autograd.graph import needs_grad, record
from ..ops import eye, norm, reshape, stack, where
from ..ops._register import put_out, takes_tensors
from ..ops.unary import zero_backward
from ..ops.view import diagonal as _diagonal
from ..tensor import Tensor
from ._lapack import check_matrix, check_square
from .factorizations import eigvalsh, svd, svdvals
from .solvers import inv

__all__ = [
    "cond",
    "cross",
    "diagonal",
    "householder_product",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "vander",
    "vecdot",
    "vector_norm",
]


def _dims(op: str, dim: Any, ndim: int) -> list[int]:
    dims = [dim] if isinstance(dim, int) else list(dim)
    for d in dims:
        if not -max(ndim, 1) <= d < max(ndim, 1):
            raise IndexError(
                f"{op}: Dimension out of range (expected to be in range of [{-max(ndim, 1)}, "
                f"{max(ndim, 1) - 1}], but got {d})"
            )
    return [d % max(ndim, 1) for d in dims]


def _converted_complex(op: str, x: Any, dtype: Any) -> Any:
    if dtype is None:
        return x
    if not isinstance(dtype, _C.dtype) or not dtype.is_complex:
        raise RuntimeError(f"{op}: dtype should be complex for complex inputs, but got {dtype}")
    return x.to(dtype)


def _converted(op: str, x: Any, dtype: Any, magnitudes: bool = True) -> Any:
    if not isinstance(x, Tensor):
        raise TypeError(f"{op}: expected a Tensor, got {type(x).__name__}")
    if x.dtype.is_complex:
        x = _converted_complex(op, x, dtype)
        return x.abs() if magnitudes else x
    if not x.dtype.is_floating_point:
        raise RuntimeError(
            f"{op}: Expected a floating point or complex tensor as input. Got {x.dtype}"
        )
    if dtype is None or dtype is x.dtype:
        return x
    if not isinstance(dtype, _C.dtype) or not dtype.is_floating_point:
        raise RuntimeError(f"{op}: dtype should be floating point or complex, but got {dtype}")
    if _C.promote_types(x.dtype, dtype) is not dtype:
        raise RuntimeError(
            f"{op}: the dtype of the input ({x.dtype}) should be convertible without narrowing to "
            f"the specified dtype ({dtype})"
        )
    return x.to(dtype)


@full_precision_on("cuda")
def vector_norm(
    x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None,
    out: Any = None,
) -> Any:  # fmt: skip
    """``sum(|x| ** ord) ** (1 / ord)`` over ``dim``, or over all elements.

    ``ord`` inf and -inf give the largest and smallest size, 0 the count of what is not zero. Raises
    RuntimeError for other dtypes than floating and an empty dimension without a norm.
    """
    x = _converted("linalg.vector_norm", x, dtype)
    if isinstance(ord, (str, Tensor)) or not isinstance(ord, (int, float)):
        raise TypeError(f"linalg.vector_norm: expected a number as ord, got {ord!r}")
    dims = None if dim is None else _dims("linalg.vector_norm", dim, x.ndim)
    if dims is not None and not dims:
        dims = None
    _check_not_empty("linalg.vector_norm", x, ord, dims)
    if x.numel() == 0:
        output = (x * 0 if ord else x.detach()).sum(dims, keepdim)
    else:
        output = norm(x, float(ord), dims, keepdim)
    if keepdim and dims is None:
        output = reshape(output, [1] * x.ndim)
    return output if out is None else put_out(out, output)


def _check_not_empty(op: str, x: Any, ord: float, dims: list[int] | None) -> None:
    if x.numel() or not (ord < 0 or ord == math.inf):
        return
    sizes = x.shape if dims is None else [x.shape[d] for d in dims]
    if dims is None or 0 in sizes:
        raise RuntimeError(
            f"{op} cannot compute the {ord} norm on an empty tensor because the operation does not "
            "have an identity"
        )


@full_precision_on("cuda")
def matrix_norm(
    A: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None,
    out: Any = None,
) -> Any:  # fmt: skip
    """A norm of matrices: 'fro', 'nuc' (sum of singular values), 2 and -2 (the largest and smallest
    of them), 1 and -1 (of sums of columns), inf and -inf (of rows).

    Raises RuntimeError for other orders and anything but two different dimensions.
    """
    A = _converted("linalg.matrix_norm", A, dtype, magnitudes=False)
    if A.ndim < 2:
        raise RuntimeError(
            "linalg.matrix_norm: The input tensor A must have at least 2 dimensions, got "
            f"{list(A.shape)}"
        )
    if isinstance(dim, int) or len(tuple(dim)) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {dim}")
    rows, columns = _dims("linalg.matrix_norm", dim, A.ndim)
    if rows == columns:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({rows}, {columns})")
    output = _matrix_norm(A, ord, rows, columns)
    if keepdim:
        output = reshape(output, [1 if d in (rows, columns) else n for d, n in enumerate(A.shape)])
    return output if out is None else put_out(out, output)


def _matrix_norm(A: Any, ord: Any, rows: int, columns: int) -> Any:
    spectral = ord == "nuc" or (not isinstance(ord, str) and math.fabs(ord) == 2)
    if A.dtype.is_complex and not spectral:
        A = A.abs()
    if ord == "fro":
        return vector_norm(A, 2, [rows, columns])
    if isinstance(ord, str) and ord != "nuc":
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    if spectral:
        values = svdvals(A.movedim((rows, columns), (-2, -1)))
        if ord == "nuc":
            return values.sum(-1)
        return values.amax(-1) if ord > 0 else values.amin(-1)
    if math.fabs(ord) not in (1, math.inf):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    first, second = (rows, columns) if math.fabs(ord) == 1 else (columns, rows)
    sums = vector_norm(A, 1, first, keepdim=True)
    output = sums.amax(second, keepdim=True) if ord > 0 else sums.amin(second, keepdim=True)
    return output.squeeze((rows, columns))


@full_precision_on("cuda")
def _norm(
    A: Any, ord: Any = None, dim: Any = None, keepdim: bool = False, *, out: Any = None,
    dtype: Any = None,
) -> Any:  # fmt: skip
    """:func:`matrix_norm` for two dimensions or a string as ``ord``, else :func:`vector_norm`.

    Without ``ord`` the 2-norm of all elements. Raises RuntimeError for numbers of dimensions and
    orders that do not fit.
    """
    if not isinstance(A, Tensor):
        raise TypeError(f"linalg.norm: expected a Tensor, got {type(A).__name__}")
    dims = None if dim is None else ([dim] if isinstance(dim, int) else list(dim))
    if ord is not None:
        if dims is not None and len(dims) not in (1, 2):
            raise RuntimeError(
                f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {dims}"
            )
        if dims is None and A.ndim not in (1, 2):
            raise RuntimeError(
                "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got "
                f"{A.ndim}D."
            )
        if isinstance(ord, str) and (dims is not None and len(dims) != 2):
            raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {dims}")
        if (dims is not None and len(dims) == 2) or (dims is None and A.ndim == 2):
            return matrix_norm(A, ord, dims or (-2, -1), keepdim, dtype=dtype, out=out)
        if isinstance(ord, str):
            raise RuntimeError(
                "linalg.matrix_norm: The input tensor A must have at least 2 dimensions."
            )
    return vector_norm(A, 2 if ord is None else ord, dims, keepdim, dtype=dtype, out=out)


@full_precision_on("cpu")
def cond(A: Any, p: Any = None, *, out: Any = None) -> Any:
    """The condition number for the norm ``p`` (2 by default): (..., m, n) -> (...).

    Infinite for singular matrices. Raises RuntimeError for other orders, and unless matrices are
    square for all but 2 and -2.
    """
    check_matrix("linalg.cond", "A", A)
    if p is None or (not isinstance(p, str) and math.fabs(p) == 2):
        values = svdvals(A)
        if values.shape[-1] == 0:
            output = values.sum(-1)
        elif p == -2:
            output = values[..., -1] / values[..., 0]
        else:
            output = values[..., 0] / values[..., -1]
    else:
        if isinstance(p, str) and p not in ("fro", "nuc"):
            raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
        if not isinstance(p, str) and math.fabs(p) not in (1, math.inf):
            raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
        check_square("linalg.cond", "A", A)
        if A.numel() == 0:
            output = A.sum((-2, -1))
        else:
            try:
                output = matrix_norm(A, p) * matrix_norm(inv(A), p)
            except RuntimeError:
                output = A.new_full(A.shape[:-2], math.inf)
    return output if out is None else put_out(out, output)


@full_precision_on("cpu")
def matrix_rank(
    A: Any, tol: Any = None, *, atol: Any = None, rtol: Any = None, hermitian: bool = False,
    out: Any = None,
) -> Any:  # fmt: skip
    """The number of singular values above a tolerance, int64: (..., m, n) -> (...).

    The tolerance is that of :func:`pinv`; ``tol`` is an absolute one.
    """
    from .solvers import _tolerances

    (check_square if hermitian else check_matrix)("linalg.matrix_rank", "A", A)
    if tol is not None:
        atol, rtol = tol, 0.0
    atol, rtol = _tolerances(A, atol, rtol)
    values = eigvalsh(A.detach()).abs() if hermitian else svd(A.detach(), False).S
    if values.shape[-1] == 0:
        return _C.full(A.shape[:-2], 0, _C.int64, A.device)
    limit = _C.maximum(atol, rtol * values.amax(-1)).unsqueeze(-1)
    output = (values > limit).sum(-1)
    return output if out is None else put_out(out, output)


# --- products -------------------------------------------------------------------------------------


def matmul(input: Any, other: Any, *, out: Any = None) -> Any:
    """Alias of :func:`tilegrad.matmul`."""
    from ..ops import matmul as product

    return product(input, other, out=out)


def matrix_power(A: Any, n: int, *, out: Any = None) -> Any:
    """The n-th power of square matrices; negative powers of the inverse.

    Raises LinAlgError for a negative power of a singular matrix.
    """
    if isinstance(A, Tensor) and not A.dtype.is_floating_point and A.ndim >= 2 and n >= 0:
        base = A
    else:
        check_square("linalg.matrix_power", "A", A)
        base = inv(A) if n < 0 else A
    if not isinstance(n, int):
        raise TypeError(f"linalg.matrix_power: expected an int, got {type(n).__name__}")
    result, left = None, n if n >= 0 else -n
    while left:
        if left & 1:
            result = base if result is None else result @ base
        left >>= 1
        if left:
            base = base @ base
    if result is None:
        result = eye(A.shape[-1], dtype=A.dtype, device=A.device).expand(A.shape).clone()
        if needs_grad(A):
            record(result, zero_backward, (A,))
    elif result is A:
        result = A.clone()
    return result if out is None else put_out(out, result)


def multi_dot(tensors: Any, *, out: Any = None) -> Any:
    """The product of matrices, in the order that takes the fewest multiplications.

    The first and the last may be vectors. Raises RuntimeError for fewer than two and sizes that do
    not fit.
    """
    tensors = list(tensors)
    for x in tensors:
        if not isinstance(x, Tensor):
            raise TypeError(f"multi_dot: expected tensors, got {type(x).__name__}")
    if len(tensors) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(tensors)}")
    for i, x in enumerate(tensors):
        edge = i in (0, len(tensors) - 1)
        if x.ndim not in ((1, 2) if edge else (2,)):
            raise RuntimeError(
                f"multi_dot(): tensor {i} must be {'1D or 2D' if edge else '2D'} but got {x.ndim}D"
            )
        if x.dtype is not tensors[0].dtype:
            raise RuntimeError("multi_dot(): all tensors must have be the same dtype")
    row, column = tensors[0].ndim == 1, tensors[-1].ndim == 1
    if row:
        tensors[0] = tensors[0].unsqueeze(0)
    if column:
        tensors[-1] = tensors[-1].unsqueeze(-1)
    for i, (a, b) in enumerate(itertools.pairwise(tensors)):
        if a.shape[1] != b.shape[0]:
            raise RuntimeError(
                f"multi_dot(): tensors {i} and {i + 1} with shapes {list(a.shape)} and "
                f"{list(b.shape)} cannot be multiplied"
            )
    result = _multiplied(tensors)
    if row:
        result = result.squeeze(0)
    if column:
        result = result.squeeze(-1)
    return result if out is None else put_out(out, result)


def _multiplied(matrices: list) -> Any:
    """Splits the chain where the textbook's dynamic programme finds the least work."""
    sizes = [matrices[0].shape[0], *(x.shape[1] for x in matrices)]

    @functools.cache
    def best(first: int, last: int) -> tuple[int, int]:
        if first == last:
            return 0, first
        return min(
            (
                best(first, k)[0]
                + best(k + 1, last)[0]
                + sizes[first] * sizes[k + 1] * sizes[last + 1],
                k,
            )
            for k in range(first, last)
        )

    def product(first: int, last: int) -> Any:
        if first == last:
            return matrices[first]
        k = best(first, last)[1]
        return product(first, k) @ product(k + 1, last)

    return product(0, len(matrices) - 1)


def matrix_exp(A: Any) -> Any:
    """The exponential of square matrices: a Taylor polynomial of the matrix divided by a power of
    two, squared as often. (..., n, n) -> (..., n, n). Raises RuntimeError unless square."""
    check_square("linalg.matrix_exp", "A", A)
    if A.numel() == 0:
        return A.clone()
    size = float(vector_norm(A.detach(), 1, -2).amax())
    if not math.isfinite(size):
        return A * math.nan
    halvings = max(0, math.ceil(math.log2(size / 0.5))) if size > 0.5 else 0
    x = A / 2.0**halvings
    result = one = eye(A.shape[-1], dtype=A.dtype, device=A.device).expand(A.shape)
    for k in range(18 if A.dtype is _C.float64 else 10, 0, -1):  # Horner
        result = one + x @ result / k
    for _ in range(halvings):
        result = result @ result
    return result


def vander(x: Any, N: int | None = None) -> Any:
    """Powers 0, ..., N - 1 of each element along a new last dimension. Raises RuntimeError for a
    scalar and an N below 1."""
    if not isinstance(x, Tensor):
        raise TypeError(f"linalg.vander: expected a Tensor, got {type(x).__name__}")
    count = x.shape[-1] if N is None and x.ndim else N
    count = 1 if count is None else count
    if not isinstance(count, int) or count > 2**20:
        raise RuntimeError(f"linalg.vander: expected at most 2**20 powers, got {N}")
    if count <= 1 and N is not None and count < 1:
        raise RuntimeError(f"N must be greater than 1. Got {N}")
    is_exact = not (x.dtype.is_floating_point or x.dtype.is_complex)
    if is_exact and x.dtype is not _C.int64:
        x = x.to(_C.int64)
    ones = x * 0 + 1 if not is_exact else _C.full(x.shape, 1, x.dtype, x.device)
    if x.ndim == 0:
        x, ones = reshape(x, (1,)), reshape(ones, (1,))
    powers = [ones]
    for _ in range(1, count):
        powers.append(powers[-1] * x)
    return stack(powers[:count], -1)


@lowered_on(None)
def vecdot(x: Any, y: Any, *, dim: int = -1, out: Any = None) -> Any:
    """The sum along ``dim`` of ``x``, conjugated, times ``y``. Shapes broadcast; RuntimeError
    where they do not."""
    for given in (x, y):
        if not isinstance(given, Tensor):
            raise TypeError(f"linalg.vecdot: expected a Tensor, got {type(given).__name__}")
    output = (x.conj() * y).sum(dim)
    return output if out is None else put_out(out, output)


@widest_on("cuda")
def cross(input: Any, other: Any, *, dim: int = -1, out: Any = None) -> Any:
    """The cross product along ``dim``. Errors are those of :func:`tilegrad.cross`."""
    from ..ops import cross as product

    return product(input, other, dim, out=out)


def diagonal(A: Any, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """The diagonals of matrices as a view. Errors are those of :func:`tilegrad.diagonal`."""
    return _diagonal(A, offset, dim1, dim2)


@takes_tensors
@full_precision_on("cpu")
def householder_product(input: Any, tau: Any, *, out: Any = None) -> Any:
    """The first columns of a product of reflections ``I - tau[i] * v v^T``, whose vectors v stand
    below the diagonal of the columns of ``input``.

    (..., m, n), (..., k) -> (..., m, n). Raises RuntimeError for sizes that do not fit.
    """
    check_matrix("torch.linalg.householder_product", "input", input)
    rows, columns = input.shape[-2:]
    count = tau.shape[-1] if tau.ndim else 0
    if rows < columns or columns < count:
        raise RuntimeError(
            "torch.linalg.householder_product: input.shape[-2] must be greater than or equal to "
            f"input.shape[-1], which must be at least tau.shape[-1], got {list(input.shape)} and "
            f"{list(tau.shape)}"
        )
    if input.ndim - tau.ndim != 1 or tuple(input.shape[:-2]) != tuple(tau.shape[:-1]):
        raise RuntimeError(
            "torch.linalg.householder_product: Expected tau to have one dimension less than input "
            f"and the same batch, got {list(tau.shape)} and {list(input.shape)}"
        )
    if input.dtype is not tau.dtype:
        raise RuntimeError(
            "torch.linalg.householder_product: tau dtype "
            f"{tau.dtype} does not match input dtype {input.dtype}"
        )
    result = eye(rows, columns, dtype=input.dtype, device=input.device)
    result = result.expand(input.shape)
    place = _C.arange(0, rows, 1, _C.int64, input.device)
    for i in range(count - 1, -1, -1):
        v = where(place > i, input[..., i], where(place == i, 1.0, 0.0).to(input.dtype))
        along = v.unsqueeze(-2) @ result
        result = result - tau[..., i, None, None] * v.unsqueeze(-1) * along
    return result if out is None else put_out(out, result)
