"""Resizing of signals, images and volumes: interpolate.

Every mode but 'area' and 'nearest' in whole steps is a weighted sum of a few elements along one
dimension after the other, so the gradient comes from selecting, scaling and adding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import _C
from ..ops._register import takes_tensors
from ..ops.fill import from_numpy
from ..ops.pool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    repeat_in_blocks,
)

__all__ = ["interpolate"]

_MODES = ("nearest", "linear", "bilinear", "bicubic", "trilinear", "area", "nearest-exact")
_DIMS = {"linear": 3, "bilinear": 4, "bicubic": 4, "trilinear": 5}  # of the input, where it matters


@takes_tensors
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
    of the rounded sizes. The cubic is that of Keys, "Cubic Convolution Interpolation for Digital
    Image Processing" (1981), with a = -0.75.

    Raises ValueError for sizes and options that contradict each other, NotImplementedError for
    other numbers of dimensions, modes, dtypes and ``antialias``, RuntimeError for empty images.
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
    if antialias:
        if mode not in ("bilinear", "bicubic") or dims != 2:
            raise ValueError(
                "Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D "
                "tensor as input"
            )
        raise NotImplementedError("interpolate: antialias=True is not supported")
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
    if not mode.startswith("nearest") and input.dtype not in (_C.float32, _C.float64):
        output = input.float()  # halves are rounded once, at the end
    for d in reversed(range(dims)):
        output = _resample(output, d + 2, size[d], scales[d], mode, bool(align_corners))
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
    input: Any, dim: int, size: int, factor: float | None, mode: str, align_corners: bool
) -> Any:
    """Along one dimension."""
    old = input.shape[dim]
    number = np.float64 if input.dtype is _C.float64 else np.float32  # as PyTorch
    total: Any = None
    for index, weight in _taps(old, size, factor, mode, align_corners, number):
        part = input.index_select(dim, _tensor(index, input))
        if weight is not None:
            part = part * _tensor(weight, input).reshape(-1, *(1,) * (input.ndim - dim - 1))
        total = part if total is None else total + part
    return total


def _tensor(values: np.ndarray, like: Any) -> Any:
    return from_numpy(values).to(like.device)


def _taps(
    old: int, size: int, factor: float | None, mode: str, align_corners: bool, number: Any
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """(positions, weights) of each element in the weighted sum; no weights where it is one."""
    if mode.startswith("nearest"):
        ratio = np.float32(old / size if factor is None else 1 / factor)
        middle = np.float32(0.5 if mode == "nearest-exact" else 0)
        position = np.floor((np.arange(size, dtype=np.float32) + middle) * ratio)
        yield np.minimum(position.astype(np.int64), old - 1), None
        return
    target = np.arange(size).astype(number)
    if align_corners:
        source = target * number((old - 1) / (size - 1) if size > 1 else 0)
    else:
        ratio = number(old / size if factor is None else 1 / factor)
        source = (target + number(0.5)) * ratio - number(0.5)
    if mode != "bicubic":
        source = np.maximum(source, number(0))
    floor = np.floor(source)
    share, first = (source - floor).astype(number), floor.astype(np.int64)
    if mode == "bicubic":
        for offset in range(-1, 3):
            distance = np.abs(share - number(offset))
            yield np.clip(first + offset, 0, old - 1), _cubic(distance).astype(number)
    else:
        first = np.minimum(first, old - 1)
        yield first, number(1) - share
        yield np.minimum(first + 1, old - 1), share


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' kernel at distances from 0 to 2."""
    a = -0.75
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, far)
