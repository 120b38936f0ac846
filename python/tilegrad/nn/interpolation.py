"""Resizing of signals, images and volumes: interpolate.

Every mode but 'area' and 'nearest' in whole steps is a weighted sum of a few elements along one
dimension after the other.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from .. import _C
from .._autocast import full_precision_on
from ..ops._register import takes_tensors
from ..ops.pool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    repeat_in_blocks,
)
from ..ops.resample import Table, Tables, resample

__all__ = ["interpolate"]

_MODES = ("nearest", "linear", "bilinear", "bicubic", "trilinear", "area", "nearest-exact")
_DIMS = {"linear": 3, "bilinear": 4, "bicubic": 4, "trilinear": 5}  # of the input, where it matters


@takes_tensors
@full_precision_on("cuda")
def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """``input`` resampled to ``size``, or to its own size times ``scale_factor``, rounded down.

    (N, C, L), (N, C, H, W) or (N, C, D, H, W), floating; both are one number or one per spatial
    dimension. ``mode``: 'nearest', 'nearest-exact' (the middle of the output element decides),
    'linear' (3 dimensions), 'bilinear' and 'bicubic' (4), 'trilinear' (5) or 'area' (the average of
    what an output element covers). ``align_corners`` places first and last elements upon each
    other; otherwise the edges of the images meet. ``recompute_scale_factor``: sample at the ratio
    of the rounded sizes. ``antialias``: a filter that widens where the image shrinks, of bilinear
    and bicubic. The cubic is that of Keys, "Cubic Convolution Interpolation for Digital
    Image Processing" (1981), with a = -0.75, or -0.5 under ``antialias``.

    Raises ValueError for sizes and options that contradict each other, NotImplementedError for
    other numbers of dimensions, modes and dtypes, RuntimeError for empty images.
    """
    dims = input.ndim - 2
    if mode not in _MODES or dims not in (1, 2, 3):
        raise NotImplementedError(
            "Input Error: Only 3D, 4D and 5D input Tensors supported "
            f"(got {input.ndim}D) for the modes: {' | '.join(_MODES)} (got {mode})"
        )
    if align_corners is not None and mode not in _DIMS:
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: "
            "linear | bilinear | bicubic | trilinear"
        )
    size, scales = _sizes(input, size, scale_factor, recompute_scale_factor)
    if antialias and (mode not in ("bilinear", "bicubic") or dims != 2):
        raise ValueError(
            "Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D "
            "tensor as input"
        )
    if input.ndim != _DIMS.get(mode, input.ndim):
        raise NotImplementedError(
            f"Got {input.ndim}D input, but {mode} mode needs {_DIMS[mode]}D input"
        )
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f"interpolate: not implemented for {input.dtype}")
    if min(*size, *input.shape[1:]) < 1:
        raise RuntimeError(
            "interpolate: Input and output sizes should be greater than 0, but got input "
            f"{tuple(input.shape)} and output {size}"
        )
    if mode == "area":
        return _area(input, size)
    steps = _whole_steps(input.shape[2:], size, scales)
    if mode.startswith("nearest") and steps is not None:
        return repeat_in_blocks(input, steps) if max(steps) > 1 else input
    output = input
    if input.dtype not in (_C.float32, _C.float64):
        output = input.float()  # halves are rounded once, at the end
    for d in reversed(range(dims)):
        output = _resample(
            output, d + 2, size[d], scales[d], mode, bool(align_corners), bool(antialias)
        )
    return output.to(input.dtype)


def _sizes(input: Any, size: Any, factor: Any, recompute: bool | None) -> tuple:
    """(output sizes, scale factors that place the samples, None for the ratio of the sizes)."""
    dims, spatial = input.ndim - 2, list(input.shape[2:])
    if size is not None and factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is None and factor is None:
        raise ValueError("either size or scale_factor should be defined")
    given = size if factor is None else factor
    values = list(given) if isinstance(given, (tuple, list)) else [given] * dims
    if len(values) != dims:
        name = "output size" if factor is None else "scale_factor"
        raise ValueError(
            "Input and output must have the same number of spatial dimensions, but got input with "
            f"spatial dimensions of {spatial} and {name} of {given}"
        )
    if factor is None:
        if recompute:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        if not all(isinstance(value, int) for value in values):
            raise TypeError(f"interpolate: argument 'size' must be ints, got {given!r}")
        return tuple(values), (None,) * dims
    sizes = tuple(math.floor(n * float(f)) for n, f in zip(spatial, values, strict=True))
    return sizes, (None,) * dims if recompute else tuple(float(f) for f in values)


def _whole_steps(old: Any, size: tuple, scales: tuple) -> tuple | None:
    """How often each element is repeated, if that is the same number along each dimension."""
    steps = tuple(new // n for new, n in zip(size, old, strict=True))
    cases = zip(steps, old, size, scales, strict=True)
    whole = all(step * n == new and factor in (None, step) for step, n, new, factor in cases)
    return steps if whole else None


def _area(input: Any, size: tuple) -> Any:
    pools = (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)
    return pools[len(size) - 1](input, size)


def _resample(
    input: Any, dim: int, size: int, factor: float | None, mode: str, align: bool, antialias: bool
) -> Any:
    """Along one dimension."""
    number = np.float64 if input.dtype is _C.float64 else np.float32  # as PyTorch
    key = (input.shape[dim], size, factor, mode, align, antialias, number)
    return resample(input, dim, _tables(*key))


@functools.lru_cache(maxsize=64)
def _tables(
    old: int,
    size: int,
    factor: float | None,
    mode: str,
    align_corners: bool,
    antialias: bool,
    number: Any,
) -> Tables:
    if antialias:
        return Tables(_smooth_table(old, size, factor, mode, align_corners, number))
    index, weight = _taps(old, size, factor, mode, align_corners, number)
    taps = index.shape[1]
    begin = np.arange(0, size * taps + 1, taps)
    return Tables(Table(old, begin, index.reshape(-1), weight.reshape(-1)))


def _taps(
    old: int, size: int, factor: float | None, mode: str, align_corners: bool, number: Any
) -> tuple[np.ndarray, np.ndarray]:
    """(positions, weights) of the elements in each weighted sum, both (size, taps)."""
    if mode.startswith("nearest"):
        ratio = np.float32(old / size if factor is None else 1 / factor)
        middle = np.float32(0.5 if mode == "nearest-exact" else 0)
        position = np.floor((np.arange(size, dtype=np.float32) + middle) * ratio)
        index = np.minimum(position.astype(np.int64), old - 1)
        return index[:, None], np.ones((size, 1), number)
    target, ratio = np.arange(size).astype(number), _ratio(old, size, factor, align_corners, number)
    source = target * ratio
    if not align_corners:
        source = (target + number(0.5)) * ratio - number(0.5)
    if mode != "bicubic":
        source = np.maximum(source, number(0))
    floor = np.floor(source)
    share, first = (source - floor).astype(number)[:, None], floor.astype(np.int64)[:, None]
    if mode == "bicubic":
        offsets = np.arange(-1, 3)
        weight = _cubic(np.abs(share - offsets.astype(number)), -0.75).astype(number)
        return np.clip(first + offsets, 0, old - 1), weight
    first = np.minimum(first, old - 1)
    index = np.concatenate([first, np.minimum(first + 1, old - 1)], 1)
    return index, np.concatenate([number(1) - share, share], 1)


def _ratio(old: int, size: int, factor: float | None, align_corners: bool, number: Any) -> Any:
    """Steps of the input per step of the output."""
    if align_corners:
        return number((old - 1) / (size - 1) if size > 1 else 0)
    return number(old / size if factor is None else 1 / factor)


def _smooth_table(
    old: int, size: int, factor: float | None, mode: str, align_corners: bool, number: Any
) -> Table:
    """The filter is as wide as the output's step where that is the larger one."""
    reach, kernel = (1, _hat) if mode == "bilinear" else (2, lambda x: _cubic(x, -0.5))
    ratio = _ratio(old, size, factor, align_corners, number)
    width = max(ratio, number(1))
    center = ratio * (np.arange(size).astype(number) + number(0.5))
    first = np.maximum((center - reach * width + number(0.5)).astype(np.int64), 0)
    end = np.minimum((center + reach * width + number(0.5)).astype(np.int64), old)
    counts = end - first
    begin = np.concatenate([[0], np.cumsum(counts)])
    row = np.repeat(np.arange(size), counts)
    index = np.arange(begin[-1]) - begin[row] + first[row]
    weight = kernel(np.abs((index.astype(number) - center[row] + number(0.5)) / width))
    sums = np.add.reduceat(weight, begin[:-1]) if begin[-1] else np.ones(size)
    return Table(old, begin, index, (weight / sums[row]).astype(number))


def _hat(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - x, 0)


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' kernel at distances x."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))
