"""Linear algebra, and what is left of NumPy's functions: NaN-free reductions, bits and folds."""

from __future__ import annotations

from typing import Any

import numpy as np

import tilegrad as tg

from ..dtypes import convert_to_tensor
from ..op import op, promoted, table, to_float

_FLOATING = {
    "det": tg.linalg.det, "erfc": tg.erfc, "inv": tg.linalg.inv, "logdet": tg.logdet,
    "rad2deg": tg.rad2deg,
}  # fmt: skip
__all__ = [
    *_FLOATING, "allclose", "bitwise_invert", "cdist", "cholesky", "cholesky_inverse", "conj",
    "depth_to_space", "eig", "eigh", "fabs", "fmod", "imag", "isreal", "jvp", "lstsq",
    "lu_factor", "matrix_power", "matrix_rank", "nanargmax", "nanargmin", "nancumprod",
    "nancumsum", "nanmedian", "nanpercentile", "nanprod", "nanquantile", "nanstd", "nanvar",
    "percentile", "pinv", "psnr", "qr", "segment_min", "segment_prod", "slogdet", "solve",
    "solve_triangular", "space_to_depth", "svd", "vectorize", "view",
]  # fmt: skip
table(_FLOATING, globals(), True, "``{}`` of a matrix or of each element.")


@op
def cholesky(x: Any, upper: bool = False) -> Any:
    """The triangular factor of a positive definite matrix. Raises RuntimeError for another."""
    return tg.linalg.cholesky(to_float(x), upper=upper)


@op
def cholesky_inverse(x: Any, upper: bool = False) -> Any:
    """The inverse of the matrix whose triangular factor this is."""
    return tg.cholesky_inverse(to_float(x), upper=upper)


@op
def pinv(x: Any, rcond: Any = None) -> Any:
    """The pseudo-inverse; singular values below ``rcond`` times the largest count as zero."""
    x = to_float(x)
    return tg.linalg.pinv(x) if rcond is None else tg.linalg.pinv(x, rtol=rcond)


@op
def qr(x: Any, mode: str = "reduced") -> Any:
    """An orthogonal and an upper triangular factor."""
    return tuple(tg.linalg.qr(to_float(x), mode))


@op
def eigh(x: Any) -> Any:
    """Eigenvalues and eigenvectors of a symmetric matrix."""
    return tuple(tg.linalg.eigh(to_float(x)))


@op
def svd(x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """Singular values, with ``compute_uv`` between their vectors."""
    x = to_float(x)
    return tuple(tg.linalg.svd(x, full_matrices)) if compute_uv else tg.linalg.svdvals(x)


@op
def slogdet(x: Any) -> Any:
    """The sign and the logarithm of the magnitude of a determinant."""
    return tuple(tg.linalg.slogdet(to_float(x)))


@op
def solve(a: Any, b: Any) -> Any:
    """The solution of ``a @ x = b``. Raises RuntimeError for a singular matrix."""
    return tg.linalg.solve(to_float(a), to_float(b))


@op
def solve_triangular(a: Any, b: Any, lower: bool = False) -> Any:
    """The solution of ``a @ x = b`` for a triangular matrix."""
    a, b = to_float(a), to_float(b)
    if b.ndim == a.ndim - 1:
        return tg.linalg.solve_triangular(a, b.unsqueeze(-1), upper=not lower).squeeze(-1)
    return tg.linalg.solve_triangular(a, b, upper=not lower)


@op
def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    """The least-squares solution of ``a @ x = b``."""
    a, b = to_float(a), to_float(b)
    if b.ndim == 1:
        return tg.linalg.lstsq(a, b.unsqueeze(-1), rcond=rcond)[0].squeeze(-1)
    return tg.linalg.lstsq(a, b, rcond=rcond)[0]


@op
def lu_factor(x: Any) -> Any:
    """The LU factors in one matrix, and the pivots counted from zero."""
    lu, pivots = tg.linalg.lu_factor(to_float(x))
    return lu, pivots - 1


@op
def matrix_rank(x: Any, tol: Any = None) -> Any:
    """The number of singular values that are not negligible."""
    return tg.linalg.matrix_rank(to_float(x), tol=tol)


@op
def cdist(x: Any, y: Any) -> Any:
    """The distances of all pairs of rows."""
    return tg.cdist(to_float(x), to_float(y))


@op
def allclose(
    x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """Whether all elements are equal within tolerances."""
    a, b = promoted([x1, x2])
    return tg.isclose(a, b, rtol, atol, equal_nan).all()


@op
def fmod(x1: Any, x2: Any) -> Any:
    """The remainder with the sign of the dividend."""
    a, b = promoted([x1, x2])
    return tg.fmod(a, b)


@op
def fabs(x: Any) -> Any:
    """The magnitude, floating."""
    return tg.abs(to_float(x))


@op
def bitwise_invert(x: Any) -> Any:
    """All bits turned over."""
    return tg.bitwise_not(convert_to_tensor(x))


@op
def conj(x: Any) -> Any:
    """Complex numbers with the other sign of their imaginary parts."""
    return tg.conj(convert_to_tensor(x))


@op
def imag(x: Any) -> Any:
    """The imaginary parts; zeros of real numbers."""
    x = convert_to_tensor(x)
    return tg.imag(x) if x.is_complex() else tg.zeros_like(x)


@op
def isreal(x: Any) -> Any:
    """Whether the imaginary part is zero."""
    x = convert_to_tensor(x)
    return tg.imag(x) == 0 if x.is_complex() else tg.ones(x.shape, dtype=tg.bool)


@op
def percentile(
    x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
) -> Any:
    """The value below which ``q`` percent of the elements lie."""
    from .reductions import quantile

    return quantile(x, convert_to_tensor(q) / 100.0, axis, method, keepdims)


def _filled(x: Any, value: float) -> Any:
    x = to_float(x)
    return tg.where(tg.isnan(x), tg.full_like(x, value), x)


@op
def nanquantile(
    x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
) -> Any:
    """The quantile without NaN."""
    x = to_float(x)
    q = convert_to_tensor(q).to(x.dtype)
    if axis is None:
        return tg.nanquantile(x.reshape(-1), q, dim=0, interpolation=method)
    return tg.nanquantile(x, q, dim=axis, keepdim=keepdims, interpolation=method)


@op
def nanpercentile(
    x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
) -> Any:
    """The percentile without NaN."""
    return nanquantile(x, convert_to_tensor(q) / 100.0, axis, method, keepdims)


@op
def nanmedian(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The median without NaN."""
    return nanquantile(x, 0.5, axis, "linear", keepdims)


@op
def nanprod(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The product without NaN."""
    from .reductions import prod

    return prod(_filled(x, 1.0), axis, keepdims)


@op
def nancumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """The running sum without NaN."""
    from .reductions import cumsum

    return cumsum(_filled(x, 0.0), axis, dtype)


@op
def nancumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """The running product without NaN."""
    from .reductions import cumprod

    return cumprod(_filled(x, 1.0), axis, dtype)


@op
def nanargmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The place of the largest element that is not NaN."""
    return tg.argmax(_filled(x, -tg.inf), dim=axis, keepdim=keepdims).to(tg.int32)


@op
def nanargmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The place of the smallest element that is not NaN."""
    return tg.argmin(_filled(x, tg.inf), dim=axis, keepdim=keepdims).to(tg.int32)


@op
def nanvar(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The variance without NaN."""
    x = to_float(x)
    dim = tuple(axis) if isinstance(axis, list) else axis
    mean = tg.nanmean(x, dim=dim, keepdim=axis is not None)
    return tg.nanmean((x - mean) ** 2, dim=dim, keepdim=keepdims)


@op
def nanstd(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The standard deviation without NaN."""
    return tg.sqrt(nanvar(x, axis, keepdims))


@op
def psnr(x1: Any, x2: Any, max_val: float) -> Any:
    """The ratio of the largest signal to the mean squared error, in decibels."""
    a, b = promoted([x1, x2])
    return 10 * tg.log10(max_val**2 / ((a - b) ** 2).mean())


def _segments(data: Any, ids: Any, count: int | None, start: float, how: str) -> Any:
    data, ids = convert_to_tensor(data), convert_to_tensor(ids).long()
    size = int(ids.max()) + 1 if count is None else count
    if start == tg.inf and not data.dtype.is_floating_point:
        start = tg.iinfo(data.dtype).max
    out = tg.full((size, *data.shape[1:]), start, dtype=data.dtype)
    return tg.index_reduce(out, 0, ids, data, how)


@op
def segment_min(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> Any:
    """The smallest elements of the rows with the same number; infinity where there are none."""
    return _segments(data, segment_ids, num_segments, tg.inf, "amin")


@op
def segment_prod(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> Any:
    """The products of the rows with the same number."""
    return _segments(data, segment_ids, num_segments, 1, "prod")


@op
def depth_to_space(x: Any, block_size: int, data_format: str = "channels_last") -> Any:
    """Channels as blocks of pixels."""
    x, b = convert_to_tensor(x), block_size
    if data_format == "channels_first":
        n, c, h, w = x.shape
        x = x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2)
        return x.reshape(n, c // b**2, h * b, w * b)
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, b, b, c // b**2).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h * b, w * b, c // b**2)


@op
def space_to_depth(x: Any, block_size: int, data_format: str = "channels_last") -> Any:
    """Blocks of pixels as channels."""
    x, b = convert_to_tensor(x), block_size
    if data_format == "channels_first":
        n, c, h, w = x.shape
        x = x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4)
        return x.reshape(n, c * b**2, h // b, w // b)
    n, h, w, c = x.shape
    x = x.reshape(n, h // b, b, w // b, b, c).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h // b, w // b, c * b**2)


@op
def view(x: Any, dtype: Any = None) -> Any:
    """The same bytes as numbers of another dtype."""
    from ..dtypes import convert_to_numpy, standardize_dtype

    x = convert_to_tensor(x)
    if dtype is None:
        return x
    return tg.from_numpy(np.ascontiguousarray(convert_to_numpy(x)).view(standardize_dtype(dtype)))


def vectorize(pyfunc: Any, *, excluded: Any = None, signature: Any = None) -> Any:
    """A function of one element at a time, applied to all. Raises NotImplementedError for
    ``excluded`` and ``signature``."""
    if excluded is not None or signature is not None:
        raise NotImplementedError("vectorize: 'excluded' and 'signature' are not supported")

    def over_all(*args: Any) -> Any:
        arrays = np.broadcast_arrays(*(np.asarray(a) for a in args))
        made = [
            pyfunc(*(tg.asarray(v) for v in vs))
            for vs in zip(*(a.flat for a in arrays), strict=True)
        ]
        return tg.stack([convert_to_tensor(m) for m in made]).reshape(arrays[0].shape)

    return over_all


@op
def eig(x: Any) -> tuple[Any, Any]:
    """Eigenvalues and eigenvectors, complex, of square matrices."""
    values, vectors = tg.linalg.eig(to_float(x))
    return values, vectors


@op
def matrix_power(x: Any, n: int) -> Any:
    """A square matrix times itself, ``n`` times; negative ``n`` inverts it first."""
    return tg.linalg.matrix_power(to_float(x), int(n))


def jvp(fun: Any, primals: Any, tangents: Any, has_aux: bool = False) -> tuple:
    """``fun(*primals)`` and its derivative in the direction ``tangents``; with ``has_aux`` also the
    second thing that ``fun`` returns."""
    from ...autograd.functional import jvp as derivative

    kept: list[Any] = []

    def main(*args: Any) -> Any:
        made = fun(*args)
        if has_aux:
            kept.append(made[1])
            return made[0]
        return made

    points = tuple(to_float(x) for x in primals)
    ways = tuple(to_float(x) for x in tangents)
    values, moved = derivative(main, points, ways)
    return (values, moved, kept[-1]) if has_aux else (values, moved)


def __getattr__(name: str) -> Any:  # of the functions of this room that others hold
    from .. import ops

    if name not in ops.__all__:
        raise AttributeError(f"module 'keras.ops.linalg' has no attribute {name!r}")
    return getattr(ops, name)
