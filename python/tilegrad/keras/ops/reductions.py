"""Along axes: sums, means, extremes, sorting, cumulated sums."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ..dtypes import cast, convert_to_tensor
from ..op import op, ordered, to_float

__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "argpartition",
    "argsort",
    "average",
    "bincount",
    "corrcoef",
    "count_nonzero",
    "cumprod",
    "cumsum",
    "diff",
    "digitize",
    "histogram",
    "in_top_k",
    "logsumexp",
    "max",
    "mean",
    "median",
    "min",
    "nanmax",
    "nanmean",
    "nanmin",
    "nansum",
    "norm",
    "prod",
    "ptp",
    "quantile",
    "searchsorted",
    "segment_max",
    "segment_sum",
    "sort",
    "std",
    "sum",
    "top_k",
    "trapezoid",
    "unique",
    "var",
]  # fmt: skip


def _axes(axis: Any) -> Any:
    return tuple(axis) if isinstance(axis, list) else axis


@op
def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The sum along axes, of all without any."""
    x = convert_to_tensor(x)
    total = tg.sum(x, dim=_axes(axis), keepdim=keepdims)
    return total if x.dtype.is_floating_point or x.dtype is tg.int64 else total.to(tg.int32)


@op
def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The mean along axes; integers become floating."""
    return tg.mean(to_float(x), dim=_axes(axis), keepdim=keepdims)


def _one_by_one(function: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """A reduction of one axis, applied to several."""
    axes = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    for a in sorted((a % x.ndim for a in axes), reverse=True):
        x = function(x, dim=a, keepdim=keepdims)
    return x


@op
def prod(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """The product along axes."""
    x = convert_to_tensor(x, dtype)
    result = _one_by_one(tg.prod, x, axis, keepdims)
    return result if x.dtype.is_floating_point or x.dtype is tg.int64 else result.to(tg.int32)


@op
def max(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Any:
    """The largest element along axes."""
    x = convert_to_tensor(x)
    result = tg.amax(x, dim=() if axis is None else _axes(axis), keepdim=keepdims)
    return result if initial is None else result.clamp(min=initial)


@op
def min(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Any:
    """The smallest element along axes."""
    x = convert_to_tensor(x)
    result = tg.amin(x, dim=() if axis is None else _axes(axis), keepdim=keepdims)
    return result if initial is None else result.clamp(max=initial)


amax, amin = max, min


@op
def all(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether all elements along axes are not zero."""
    return _one_by_one(tg.all, cast(x, "bool"), axis, keepdims)


@op
def any(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether any element along axes is not zero."""
    return _one_by_one(tg.any, cast(x, "bool"), axis, keepdims)


@op
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The place of the largest element, int32."""
    return tg.argmax(ordered(x), dim=axis, keepdim=keepdims).to(tg.int32)


@op
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The place of the smallest element, int32."""
    return tg.argmin(ordered(x), dim=axis, keepdim=keepdims).to(tg.int32)


@op
def sort(x: Any, axis: int = -1) -> Any:
    """The elements in ascending order."""
    return tg.sort(convert_to_tensor(x), dim=axis, stable=True)[0]


@op
def argsort(x: Any, axis: int | None = -1) -> Any:
    """The places of the elements in ascending order, int32."""
    x = convert_to_tensor(x)
    if axis is None:
        x, axis = x.reshape(-1), 0
    return tg.sort(x, dim=axis, stable=True)[1].to(tg.int32)


@op
def argpartition(x: Any, kth: int, axis: int = -1) -> Any:
    """Places in an order that puts the ``kth`` smallest where it belongs: the sorted one."""
    return tg.sort(convert_to_tensor(x), dim=axis, stable=True)[1].to(tg.int32)


@op
def average(x: Any, axis: Any = None, weights: Any = None) -> Any:
    """The mean, weighted if there are weights."""
    x = to_float(x)
    if weights is None:
        return tg.mean(x, dim=_axes(axis))
    weights = convert_to_tensor(weights).to(x.dtype)
    if weights.ndim == 1 and x.ndim > 1 and isinstance(axis, int):
        shape = [1] * x.ndim
        shape[axis] = -1
        weights = weights.reshape(shape)
    weights = weights.expand(x.shape)
    return tg.sum(x * weights, dim=_axes(axis)) / tg.sum(weights, dim=_axes(axis))


@op
def var(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The variance (divided by the count)."""
    return tg.var(to_float(x), dim=_axes(axis), correction=0, keepdim=keepdims)


@op
def std(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The standard deviation (divided by the count)."""
    return tg.std(to_float(x), dim=_axes(axis), correction=0, keepdim=keepdims)


@op
def median(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The middle element, or the mean of both."""
    return _quantile(x, 0.5, axis, keepdims, "linear")


def _quantile(x: Any, q: Any, axis: Any, keepdims: bool, method: str) -> Any:
    x = to_float(x)
    if axis is None:
        return tg.quantile(x.reshape(-1), q, dim=0, interpolation=method)
    if not isinstance(axis, int):
        axes = [a % x.ndim for a in axis]
        rest = [a for a in range(x.ndim) if a not in axes]
        x = x.permute(*rest, *axes).reshape([x.shape[a] for a in rest] + [-1])
        axis = -1
    return tg.quantile(x, q, dim=axis, keepdim=keepdims, interpolation=method)


@op
def quantile(
    x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
) -> Any:
    """The value below which the share ``q`` of the elements lies."""
    x = to_float(x)
    return _quantile(x, convert_to_tensor(q).to(x.dtype), axis, keepdims, method)


@op
def ptp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The difference of the largest and the smallest element."""
    x = convert_to_tensor(x)
    dim = () if axis is None else _axes(axis)
    return tg.amax(x, dim=dim, keepdim=keepdims) - tg.amin(x, dim=dim, keepdim=keepdims)


@op
def count_nonzero(x: Any, axis: Any = None) -> Any:
    """How many elements are not zero, int32."""
    return tg.count_nonzero(convert_to_tensor(x), dim=_axes(axis)).to(tg.int32)


@op
def cumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """The running sum."""
    x = convert_to_tensor(x, dtype)
    made = tg.cumsum(x.reshape(-1) if axis is None else x, dim=axis or 0)
    return made if x.dtype.is_floating_point or x.dtype is tg.int64 else made.to(tg.int32)


@op
def cumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """The running product."""
    x = convert_to_tensor(x, dtype)
    made = tg.cumprod(x.reshape(-1) if axis is None else x, dim=axis or 0)
    return made if x.dtype.is_floating_point or x.dtype is tg.int64 else made.to(tg.int32)


@op
def diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    """Differences of neighbours, ``n`` times."""
    return tg.diff(convert_to_tensor(a), n=n, dim=axis)


@op
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The norm of a vector or matrix, by default that of all elements as one vector."""
    return tg.linalg.norm(to_float(x), ord=ord, dim=_axes(axis), keepdim=keepdims)


@op
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The logarithm of the sum of exponentials."""
    x = to_float(x)
    dims = tuple(range(x.ndim)) if axis is None else _axes(axis)
    return tg.logsumexp(x, dim=dims, keepdim=keepdims)


@op
def nansum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The sum without NaN."""
    return tg.nansum(convert_to_tensor(x), dim=_axes(axis), keepdim=keepdims)


@op
def nanmean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The mean without NaN."""
    return tg.nanmean(to_float(x), dim=_axes(axis), keepdim=keepdims)


@op
def nanmax(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The largest element that is not NaN."""
    x = to_float(x)
    x = tg.where(tg.isnan(x), tg.full_like(x, -tg.inf), x)
    return tg.amax(x, dim=() if axis is None else _axes(axis), keepdim=keepdims)


@op
def nanmin(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The smallest element that is not NaN."""
    x = to_float(x)
    x = tg.where(tg.isnan(x), tg.full_like(x, tg.inf), x)
    return tg.amin(x, dim=() if axis is None else _axes(axis), keepdim=keepdims)


@op
def bincount(x: Any, weights: Any = None, minlength: int = 0, sparse: bool = False) -> Any:
    """How often each number occurs, along the last axis. Raises ValueError for ``sparse``."""
    if sparse:
        raise ValueError("bincount: sparse tensors are not supported (sparse=True)")
    x = convert_to_tensor(x).long()
    weights = None if weights is None else convert_to_tensor(weights)
    if x.ndim == 1:
        counts = tg.bincount(x, weights, minlength)
        return counts if weights is not None else counts.to(tg.int32)
    length = builtin_max(int(x.max()) + 1 if x.numel() else 0, minlength)
    rows = []
    for i in range(x.shape[0]):
        row = tg.bincount(x[i], None if weights is None else weights[i], length)
        rows.append(row if weights is not None else row.to(tg.int32))
    return tg.stack(rows)


@op
def corrcoef(x: Any) -> Any:
    """Correlations of the rows."""
    return tg.corrcoef(to_float(x))


@op
def digitize(x: Any, bins: Any) -> Any:
    """The number of the bin that each element falls into, int32."""
    x = convert_to_tensor(x)
    edges = convert_to_tensor(bins)
    return tg.bucketize(
        x, edges.to(x.dtype) if x.dtype.is_floating_point else edges, right=True
    ).to(tg.int32)


@op
def histogram(x: Any, bins: int = 10, range: Any = None) -> Any:
    """Counts in equal bins, and their edges."""
    x = to_float(x)
    low, high = (float(x.min()), float(x.max())) if range is None else range
    return tg.histc(x, bins, low, high), tg.linspace(low, high, bins + 1)


@op
def searchsorted(sorted_sequence: Any, values: Any, side: str = "left") -> Any:
    """Where values would be inserted, int32."""
    found = tg.searchsorted(
        convert_to_tensor(sorted_sequence), convert_to_tensor(values), side=side
    )
    return found.to(tg.int32)


def _segments(data: Any, ids: Any, num_segments: int | None) -> tuple[Any, Any, int]:
    data, ids = convert_to_tensor(data), convert_to_tensor(ids).long()
    count = int(ids.max()) + 1 if num_segments is None else num_segments
    return data, ids, count


@op
def segment_sum(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> Any:
    """Sums of the rows with the same number."""
    data, ids, count = _segments(data, segment_ids, num_segments)
    out = tg.zeros((count, *data.shape[1:]), dtype=data.dtype)
    return tg.index_add(out, 0, ids, data)


@op
def segment_max(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> Any:
    """The largest elements of the rows with the same number; -infinity where there are none."""
    data, ids, count = _segments(data, segment_ids, num_segments)
    low = -tg.inf if data.dtype.is_floating_point else tg.iinfo(data.dtype).min
    out = tg.full((count, *data.shape[1:]), low, dtype=data.dtype)
    return tg.index_reduce(out, 0, ids, data, "amax")


@op
def top_k(x: Any, k: int, sorted: bool = True) -> Any:
    """The ``k`` largest elements along the last axis, and their places (int32)."""
    values, places = tg.topk(convert_to_tensor(x), k, sorted=sorted)
    return values, places.to(tg.int32)


@op
def in_top_k(targets: Any, predictions: Any, k: int) -> Any:
    """Whether the prediction for the target is among the ``k`` largest."""
    predictions = convert_to_tensor(predictions)
    targets = convert_to_tensor(targets).long().reshape(-1, 1)
    own = predictions.gather(-1, targets)
    return ((predictions > own).sum(-1) < k) & tg.isfinite(own.squeeze(-1))


@op
def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    """The integral by trapezoids."""
    y = to_float(y)
    if x is not None:
        return tg.trapezoid(y, convert_to_tensor(x), dim=axis)
    return tg.trapezoid(y, dx=dx, dim=axis)


def unique(
    x: Any, sorted: bool = True, return_index: bool = False, return_inverse: bool = False,
    return_counts: bool = False, axis: int | None = None, size: int | None = None,
    fill_value: Any = None,
) -> Any:  # fmt: skip
    """The different elements, with the places where each is first (``return_index``), where each
    element of ``x`` is among them, and how often each occurs.

    ``size`` cuts them off, or adds ``fill_value`` (by default zero) up to that number.
    """
    x = convert_to_tensor(x)
    values, inverse, counts = tg.unique(x, sorted, True, True, axis)
    along = 0 if axis is None else axis % x.ndim
    flat = inverse.reshape(-1)
    places = tg.full((values.shape[along],), flat.numel(), dtype=tg.int64)
    places = places.scatter_reduce(0, flat, tg.arange(flat.numel()), "amin")
    made = [values if size is None else _sized(values, size, along, fill_value)]
    if return_index:
        made.append(places if size is None else _sized(places, size, 0, 1))
    if return_inverse:
        made.append(inverse)
    if return_counts:
        made.append(counts if size is None else _sized(counts, size, 0, 0))
    return made[0] if len(made) == 1 else tuple(made)


def _sized(x: Any, size: int, axis: int, fill_value: Any) -> Any:
    """``x`` with ``size`` elements along an axis, cut off or filled up."""
    count = x.shape[axis]
    if count >= size:
        return x.narrow(axis, 0, size)
    shape = [size - count if i == axis % x.ndim else n for i, n in enumerate(x.shape)]
    return tg.cat([x, tg.full(shape, fill_value or 0, dtype=x.dtype)], axis)


def builtin_max(a: int, b: int) -> int:
    """The larger of two numbers; ``max`` is another function here."""
    return a if a > b else b
