"""Maximum pooling over windows at random places: functions and layers.

Graham, "Fractional Max-Pooling", 2015. A factor between input and output need not be an integer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._autocast import full_precision_on
from ..ops._register import takes_tensors
from ..ops.fill import from_numpy
from ..ops.random import rand
from .module import Module

__all__ = [
    "FractionalMaxPool2d",
    "FractionalMaxPool3d",
    "fractional_max_pool2d",
    "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
]


def _per_dim(value: Any, dims: int) -> tuple:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * dims


def _begins(samples: np.ndarray, size: int, outputs: int, window: int) -> np.ndarray:
    """Where the windows begin along one dimension: (planes, outputs); the last one ends there."""
    begins: np.ndarray = np.full((len(samples), outputs), size - window, np.int64)
    if outputs > 1:
        alpha = samples.dtype.type((size - window) / (outputs - 1))
        steps = np.arange(outputs - 1, dtype=samples.dtype)
        shifted = (steps + samples[:, None]) * alpha
        begins[:, :-1] = shifted.astype(np.int64) - (samples[:, None] * alpha).astype(np.int64)
    return begins


def _pool(
    dims: int, input: Any, kernel_size: Any, output_size: Any, output_ratio: Any, samples: Any
) -> tuple[Any, Any]:
    op = f"fractional_max_pool{dims}d"
    if output_size is None and output_ratio is None:
        raise ValueError(f"{op} requires specifying either an output_size or an output_ratio")
    if input.ndim not in (dims + 1, dims + 2):
        raise RuntimeError(
            f"{op}(): Expected {dims + 1}D or {dims + 2}D tensor, but got: {list(input.shape)}"
        )
    sizes = tuple(input.shape[-dims:])
    window = _per_dim(kernel_size, dims)
    if output_size is None:
        ratios = _per_dim(output_ratio, dims)
        outputs = tuple(int(n * ratio) for n, ratio in zip(sizes, ratios, strict=True))
    else:
        outputs = _per_dim(output_size, dims)
    for size, kernel, count in zip(sizes, window, outputs, strict=True):
        if count < 1 or kernel < 1 or count + kernel - 1 > size:
            raise RuntimeError(
                f"{op}(): pool size {kernel} and output size {count} too large relative to input "
                f"size {size}"
            )
    lead = tuple(input.shape[:-dims])
    planes = input.reshape(int(np.prod(lead)), int(np.prod(sizes)))
    if samples is None:
        batch = lead[0] if len(lead) == 2 else 1
        samples = rand(batch, lead[-1], dims, dtype=input.dtype, device=input.device)
    drawn = samples.detach().reshape(-1, dims).float().cpu().numpy()[: planes.shape[0]]
    if len(drawn) != planes.shape[0]:
        raise RuntimeError(
            f"{op}: expected _random_samples for {planes.shape[0]} planes, got {len(drawn)}"
        )
    # PyTorch's samples are (width, height) in two dimensions, (depth, height, width) in three.
    drawn = drawn[:, ::-1] if dims == 2 else drawn
    index: Any = np.zeros((1,) * (2 * dims + 1), np.int64)
    for d in range(dims):
        begins = _begins(drawn[:, d], sizes[d], outputs[d], window[d])
        at = begins[:, :, None] + np.arange(window[d])
        shape = [len(at), *(1,) * (2 * dims)]
        shape[1 + d], shape[1 + dims + d] = outputs[d], window[d]
        index = index * sizes[d] + at.reshape(shape)
    count, places, elements = len(drawn), int(np.prod(outputs)), int(np.prod(window))
    windows = from_numpy(index.reshape(count, places, elements)).to(input.device)
    values = planes.gather(1, windows.reshape(count, places * elements)).reshape(windows.shape)
    output, place = values.max(-1)
    indices = windows.gather(2, place.unsqueeze(2))
    return output.reshape(*lead, *outputs), indices.reshape(*lead, *outputs)


@full_precision_on("cpu")
@takes_tensors
def fractional_max_pool2d_with_indices(
    input: Any,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Any = None,
) -> tuple[Any, Any]:
    """The largest value in windows at random places of (N, C, H, W) or (C, H, W), and where it is.

    The output's size is given, or a share of the input's. Raises ValueError if neither is,
    RuntimeError for sizes that do not fit.
    """
    return _pool(2, input, kernel_size, output_size, output_ratio, _random_samples)


@full_precision_on("cpu")
@takes_tensors
def fractional_max_pool3d_with_indices(
    input: Any,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Any = None,
) -> tuple[Any, Any]:
    """The largest value in windows at random places of (N, C, D, H, W), and where it is.

    The batch may be missing. The output's size is given, or a share of the input's. Raises
    ValueError if neither is, RuntimeError for sizes that do not fit.
    """
    return _pool(3, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool2d(
    input: Any,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Any = None,
) -> Any:
    """:func:`fractional_max_pool2d_with_indices`, whose indices come with ``return_indices``."""
    both = fractional_max_pool2d_with_indices(
        input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )
    return both if return_indices else both[0]


def fractional_max_pool3d(
    input: Any,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Any = None,
) -> Any:
    """:func:`fractional_max_pool3d_with_indices`, whose indices come with ``return_indices``."""
    both = fractional_max_pool3d_with_indices(
        input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )
    return both if return_indices else both[0]


class _FractionalMaxPool(Module):
    """What the layers share. ValueError for both or neither of size and ratio."""

    dims: int
    _random_samples: Any

    def __init__(
        self,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.kernel_size = _per_dim(kernel_size, self.dims)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else _per_dim(output_size, self.dims)
        self.output_ratio = None if output_ratio is None else _per_dim(output_ratio, self.dims)
        if output_size is None and output_ratio is None:
            raise ValueError(
                f"{name} requires specifying either an output size, or a pooling ratio"
            )
        if output_size is not None and output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None and not all(0 < ratio < 1 for ratio in self.output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")

    def forward(self, input: Any) -> Any:
        function = fractional_max_pool2d if self.dims == 2 else fractional_max_pool3d
        return function(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            self._random_samples,
        )


class FractionalMaxPool2d(_FractionalMaxPool):
    """:func:`tilegrad.nn.functional.fractional_max_pool2d` with places drawn at every call."""

    dims = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    """:func:`tilegrad.nn.functional.fractional_max_pool3d` with places drawn at every call."""

    dims = 3
