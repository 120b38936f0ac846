"""Statistics: histc, histogram, quantile, nanmean, mode, cov, corrcoef, unique_consecutive, ...

All follow the PyTorch functions of the same names. Errors: IndexError for a dimension out of range,
RuntimeError for sizes, dtypes and ranges that do not fit, TypeError for what is not a tensor.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import _C
from .._autocast import full_precision_on
from ..autograd.graph import needs_grad
from ..tensor import Tensor, as_array
from ._register import method, put_out, rounded_once, takes_tensors
from .arithmetic import floating
from .reduce import amax, amin, mean, sum
from .sort import finish_selection, record_selection, sort
from .unary import isnan
from .view import _dim, reshape
from .where import where

__all__ = [
    "aminmax",
    "corrcoef",
    "cov",
    "histc",
    "histogram",
    "mode",
    "nanmean",
    "nanmedian",
    "nanquantile",
    "nansum",
    "quantile",
    "unique_consecutive",
]


# --- counts ---------------------------------------------------------------------------------------


def _range_of(
    op: str, values: np.ndarray, low: float, high: float, margin: float
) -> tuple[float, float]:
    """The given bounds, or those of the values if both are 0; with a margin if they are equal."""
    if low == high == 0 and values.size:
        low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"{op}: range of [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError(f"{op}: max must be larger than min, got [{low}, {high}]")
    return (low - margin, high + margin) if low == high else (low, high)


@method()
@takes_tensors
def histc(input: Any, bins: int = 100, min: Any = 0, max: Any = 0, *, out: Any = None) -> Any:
    """How many elements fall into each of ``bins`` equal parts of [min, max], a vector.

    With both bounds 0 they are those of the values; elements outside are not counted. Raises
    RuntimeError for no bins and bounds that are crossed or not finite.
    """
    if bins <= 0:
        raise RuntimeError("torch.histc(): bins must be > 0")
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f"histc is not implemented for dtype {input.dtype} on the CPU")
    values = as_array(input).reshape(-1)
    low, high = _range_of("torch.histc", values, float(min), float(max), 1)
    counts = _counts(values, low, high, bins, None)
    output = _C.from_numpy(counts).to(device=input.device, dtype=input.dtype)
    return output if out is None else put_out(out, output)


def _counts(
    values: np.ndarray, low: float, high: float, bins: int, weight: np.ndarray | None
) -> np.ndarray:
    """Counts, or sums of weights, per equal part; the last part holds the upper bound."""
    inside = (values >= low) & (values <= high)
    values = values[inside]
    places = ((values - values.dtype.type(low)) * (bins / (high - low))).astype(np.int64)
    places = np.minimum(places, bins - 1)
    weights = None if weight is None else weight[inside]
    return np.bincount(places, weights, bins).astype(values.dtype)


class Histogram(NamedTuple):
    """What :func:`histogram` returns."""

    hist: Any
    bin_edges: Any


@method()
@takes_tensors
def histogram(
    input: Any,
    bins: Any = 100,
    *,
    range: Any = None,
    weight: Any = None,
    density: bool = False,
    out: Any = None,
) -> Histogram:
    """(counts, edges) of ``bins`` equal parts of ``range``, or between ``bins``, a vector of edges.

    ``weight`` (the input's shape) is summed instead of ones; ``density`` divides by total and
    width. Raises RuntimeError for edges that are no vector and bounds that are crossed.
    """
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"torch.histogram: expected a floating dtype, got {input.dtype}")
    values = as_array(input).reshape(-1)
    weights = None
    if weight is not None:
        if weight.shape != input.shape or weight.dtype is not input.dtype:
            raise RuntimeError(
                "torch.histogram(): if weight tensor is provided it should have the same shape and "
                f"dtype as the input tensor, got {list(weight.shape)} {weight.dtype}"
            )
        weights = as_array(weight).reshape(-1)
    if isinstance(bins, Tensor):
        if bins.ndim != 1 or bins.numel() == 0:
            raise RuntimeError("torch.histogram(): bins tensor should have one dimension, got "
                               f"{list(bins.shape)}")  # fmt: skip
        edges = as_array(bins)
        places = np.searchsorted(edges, values, side="right") - 1
        places[values == edges[-1]] = len(edges) - 2
        inside = (places >= 0) & (places < len(edges) - 1)
        picked = None if weights is None else weights[inside]
        counts = np.bincount(places[inside], picked, len(edges) - 1).astype(values.dtype)
    else:
        if bins <= 0:
            raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins}")
        low, high = (0.0, 0.0) if range is None else (float(x) for x in range)
        if values.size or low != high:
            low, high = _range_of("torch.histogram", values, low, high, 0.5)
        else:
            low, high = 0.0, 1.0
        edges = np.linspace(low, high, bins + 1, dtype=values.dtype)
        counts = _counts(values, low, high, bins, weights)
    if density:
        counts = (counts / counts.sum() / np.diff(edges)).astype(values.dtype)
    found = Histogram(*(_C.from_numpy(x).to(input.dtype) for x in (counts, edges)))
    if out is not None:
        return Histogram(put_out(out[0], found.hist), put_out(out[1], found.bin_edges))
    return found


# --- what NaN does not spread to ------------------------------------------------------------------


@method()
@takes_tensors
def nansum(
    input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Any:
    """The sum of what is not NaN."""
    has_nan = input.dtype.is_floating_point or input.dtype.is_complex
    value = where(isnan(input), 0, input) if has_nan else input
    return sum(value, dim, keepdim, dtype=dtype, out=out)


@method()
@takes_tensors
def nanmean(
    input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Any:
    """The mean of what is not NaN. Raises RuntimeError unless the dtype is floating."""
    if not (input.dtype.is_floating_point or input.dtype.is_complex):
        raise RuntimeError(
            "nanmean(): expected input to have floating point or complex dtype but got "
            f"{input.dtype}"
        )
    count = sum(~isnan(input), dim, keepdim)
    output = nansum(input, dim, keepdim, dtype=dtype) / count
    return output if out is None else put_out(out, output)


@method()
@takes_tensors
def nanmedian(input: Any, dim: int | None = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """The median of what is not NaN: of all, or (values, indices) along ``dim``.

    Of two in the middle the lower; NaN where there is nothing else.
    """
    if dim is None:
        flat = reshape(input, (-1,))
        if flat.shape[0] == 0:
            return input.new_full((), math.nan) if input.dtype.is_floating_point else input.sum()
        return nanmedian(flat, 0).values
    at = _dim(dim, input.ndim, "nanmedian")
    if input.ndim == 0:
        return finish_selection(input.clone(), _C.full((), 0, _C.int64, input.device), out)
    order = _C.sort(input, at, False)[1]
    count = sum(~isnan(input), at, True)
    place = ((count - 1).clamp(min=0) // 2).to(_C.int64)
    indices = order.gather(at, place)
    values = input.gather(at, indices)
    if not keepdim:
        indices, values = indices.squeeze(at), values.squeeze(at)
    return finish_selection(values, indices, out)


# --- order ----------------------------------------------------------------------------------------


class MinMax(NamedTuple):
    """What :func:`aminmax` returns."""

    min: Any
    max: Any


@method()
@takes_tensors
def aminmax(input: Any, *, dim: int | None = None, keepdim: bool = False, out: Any = None) -> Any:
    """(:func:`amin`, :func:`amax`) of all elements or along one dimension, and their errors."""
    if input.numel() == 0 and dim is None:
        raise RuntimeError(
            "aminmax(): cannot compute aminmax over an empty dimension as the operation has no "
            "identity."
        )
    dims: Any = () if dim is None else dim
    if dim is None and keepdim:
        dims = tuple(range(input.ndim))
    if isinstance(dims, (tuple, list)) and dim is not None:
        raise TypeError(f"aminmax(): argument 'dim' must be int, not {type(dim).__name__}")
    found = MinMax(amin(input, dims, keepdim), amax(input, dims, keepdim))
    if out is None:
        return found
    return MinMax(*(put_out(to, x, exact=True) for to, x in zip(out, found, strict=True)))


@method()
@takes_tensors
def mode(input: Any, dim: int = -1, keepdim: bool = False, *, out: Any = None) -> Any:
    """(values, indices) of the most frequent element along ``dim``; of several the smallest.

    The index is that of its last occurrence.
    """
    at = _dim(dim, input.ndim, "mode")
    if input.ndim == 0:
        values, indices = input.clone(), _C.full((), 0, _C.int64, input.device)
        return finish_selection(values, indices, out)
    if input.shape[at] == 0:
        raise IndexError(f"mode(): Expected reduction dim {dim} to have non-zero size.")
    rows = np.moveaxis(as_array(input), at, -1)
    flat = rows.reshape(-1, rows.shape[-1])
    places = np.empty(len(flat), np.int64)
    for i, row in enumerate(flat):
        distinct, inverse, counts = np.unique(row, return_inverse=True, return_counts=True)
        places[i] = np.flatnonzero(inverse == counts.argmax())[-1] if distinct.size else 0
    places = np.expand_dims(places.reshape(rows.shape[:-1]), at)
    indices = _C.from_numpy(places).to(input.device)
    values = _C.gather(input, at, indices)
    if not keepdim:
        values, indices = values.squeeze(at), indices.squeeze(at)
        record_mode(input, values, indices, at)
    else:
        record_selection(input, values, indices, at)
    return finish_selection(values, indices, out)


def record_mode(input: Any, values: Any, indices: Any, dim: int) -> None:
    """As :func:`record_selection`, for results without the dimension."""
    if needs_grad(input):
        picked = input.gather(dim, indices.unsqueeze(dim)).squeeze(dim)
        _C.adopt_history(values, picked)


_RULES = ("linear", "lower", "higher", "midpoint", "nearest")


@method()
@takes_tensors
@full_precision_on("cpu")
def quantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *,
    interpolation: str = "linear", out: Any = None,
) -> Any:  # fmt: skip
    """The values below which the parts ``q`` of the elements lie; NaN where there is one.

    ``q`` is a number, or a vector that becomes a new first dimension. Between two elements the
    result is interpolated ('linear', 'midpoint') or chosen ('lower', 'higher', 'nearest'). Raises
    RuntimeError for ``q`` outside [0, 1], other dtypes than floating, and empty inputs.
    """
    output = _quantile("quantile", input, q, dim, keepdim, interpolation, False)
    return output if out is None else put_out(out, output)


@method()
@takes_tensors
@full_precision_on("cpu")
def nanquantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *,
    interpolation: str = "linear", out: Any = None,
) -> Any:  # fmt: skip
    """:func:`quantile` of what is not NaN, with its errors."""
    output = _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)
    return output if out is None else put_out(out, output)


def _quantile(
    op: str, input: Any, q: Any, dim: int | None, keepdim: bool, rule: str, ignore_nan: bool
) -> Any:
    if input.numel() == 0:
        raise RuntimeError(f"{op}() input tensor must be non-empty")
    if input.dtype not in (_C.float32, _C.float64):
        raise RuntimeError(f"{op}() input tensor must be either float or double dtype")
    if rule not in _RULES:
        raise RuntimeError(
            f"{op}() interpolation must be one of linear, lower, higher, midpoint or nearest, but "
            f"got {rule}"
        )
    if isinstance(q, Tensor):
        if q.ndim > 1:
            raise RuntimeError(f"{op}() q must be a scalar or 1D tensor")
        if q.dtype is not input.dtype:
            raise RuntimeError(f"{op}() q tensor must be same dtype as the input tensor")
    else:
        q = input.new_full((), float(q))
    if q.numel() and not bool(((q >= 0) & (q <= 1)).all()):
        raise RuntimeError(f"{op}() q values must be in the range [0, 1]")
    shape = list(input.shape)
    if dim is None:
        rows, kept = reshape(input, (-1,)), [1] * input.ndim
    else:
        at = _dim(dim, input.ndim, op)
        rows = input.movedim(at, -1) if input.ndim else reshape(input, (1,))
        kept = [1 if d == at else n for d, n in enumerate(shape)]
        if not keepdim:
            kept = [n for d, n in enumerate(shape) if d != at]
    if dim is None and not keepdim:
        kept = []
    ordered = sort(rows, -1).values
    missing = isnan(rows).sum(-1, keepdim=True)
    size = rows.shape[-1]
    last = (size - missing - 1).clamp(min=0) if ignore_nan else missing * 0 + (size - 1)
    last = last.to(input.dtype)
    place = reshape(q, (-1,)) * last  # (..., q)
    if not ignore_nan:  # NaN are the largest: the last position holds one
        place = where(missing > 0, last, place)
    low = place.detach().floor()
    if rule == "lower":
        place = low
    elif rule == "higher":
        place = place.ceil()
    elif rule == "nearest":
        place = place.round()
    low = place.detach().floor()
    values = ordered.gather(-1, low.to(_C.int64))
    if rule in ("linear", "midpoint"):
        above = ordered.gather(-1, place.detach().ceil().to(_C.int64))
        weight = 0.5 if rule == "midpoint" else place - low
        values = values.lerp(above, weight)
    values = values.movedim(-1, 0)
    return reshape(values, [*([q.shape[0]] if q.ndim else []), *kept])


# --- how variables go together --------------------------------------------------------------------


@method()
@takes_tensors
@rounded_once
def cov(input: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Any:
    """The covariance matrix of variables in rows, observations in columns.

    ``fweights``: how often each observation counts; ``aweights``: how much. (n, m) -> (n, n), a
    vector gives a number. Raises RuntimeError for more dimensions and weights that do not fit.
    """
    if input.ndim > 2:
        raise RuntimeError(f"cov(): expected input to have two or fewer dimensions but got an "
                           f"input with {input.ndim} dimensions")  # fmt: skip
    if input.dtype is _C.boolean:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    x = floating(input if input.ndim == 2 else reshape(input, (1, -1)))
    count = x.shape[1]
    weight = None
    for name, given, whole in (("fweights", fweights, True), ("aweights", aweights, False)):
        if given is None:
            continue
        if given.ndim > 1:
            raise RuntimeError(f"cov(): expected {name} to have one or fewer dimensions but got "
                               f"{name} with {given.ndim} dimensions")  # fmt: skip
        if whole == given.dtype.is_floating_point:
            kind = "integral" if whole else "floating point"
            raise RuntimeError(f"cov(): expected {name} to have {kind} dtype but got {name} with "
                               f"{given.dtype} dtype")  # fmt: skip
        if given.numel() != count:
            raise RuntimeError(
                f"cov(): expected {name} to have the same numel as there are observations in the "
                f"input but got {given.numel()} != {count}"
            )
        if bool((given < 0).any()):
            raise RuntimeError(f"cov(): {name} cannot be negative")
        weight = given if weight is None else weight * given
    if weight is None:
        center = mean(x, 1, True)
        norm = max(count - correction, 0)
        deviations = x - center
        product = deviations @ deviations.conj().T
    else:
        weight = reshape(weight, (-1,))
        total = weight.sum()
        if total.item() == 0:
            raise RuntimeError("cov(): weights sum to zero, can't be normalized")
        center = (x * weight).sum(1, keepdim=True) / total
        if aweights is None:
            norm = total - correction
        else:
            norm = total - correction * (weight * aweights).sum() / total
        norm = norm.clamp(min=0)
        deviations = x - center
        product = (deviations * weight) @ deviations.conj().T
    return (product / norm).squeeze()


@method()
@takes_tensors
@rounded_once
def corrcoef(input: Any) -> Any:
    """The correlation matrix of variables in rows, within [-1, 1]. RuntimeError for more than two
    dimensions."""
    if input.ndim > 2:
        raise RuntimeError(f"corrcoef(): expected input to have two or fewer dimensions but got an "
                           f"input with {input.ndim} dimensions")  # fmt: skip
    together = cov(input)
    if together.ndim == 0:
        return together / together
    deviation = together.diagonal().sqrt()
    return (together / deviation.unsqueeze(1) / deviation.unsqueeze(0)).clamp(-1, 1)


# --- runs -----------------------------------------------------------------------------------------


@method()
@takes_tensors
def unique_consecutive(
    input: Any, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The input with runs of equal elements (or slices along ``dim``) shortened to one.

    Also, as asked for, the run of each element and the length of each run, int64.
    """
    values = as_array(input)
    rows = values.reshape(-1, 1) if dim is None else np.moveaxis(values, dim, 0)
    rows = rows.reshape(len(rows), math.prod(rows.shape[1:]))
    starts = np.ones(len(rows), bool)
    if len(rows) > 1:
        starts[1:] = (rows[1:] != rows[:-1]).any(1)
    places = np.flatnonzero(starts)
    inverse = np.cumsum(starts) - 1
    found = _C.from_numpy(places).to(input.device)
    results = [reshape(input, (-1,))[found] if dim is None else input.index_select(dim, found)]
    if return_inverse:
        inverse = _C.from_numpy(inverse.astype(np.int64)).to(input.device)
        results.append(reshape(inverse, input.shape) if dim is None else inverse)
    if return_counts:
        counts = np.diff(np.append(places, len(rows))).astype(np.int64)
        results.append(_C.from_numpy(counts).to(input.device))
    return results[0] if len(results) == 1 else tuple(results)
