"""Pooling: the largest or the mean of windows, of everything, or of a grid of given size."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ...nn import functional as F
from ..config import standardize_data_format
from ..registry import own_module
from .geometry import (
    channels_first,
    channels_last,
    pad_spatial,
    per_axis,
    same_padding,
    sliding_size,
    spatial_sizes,
    with_channels,
)
from .input_spec import InputSpec
from .layer import Layer

__all__ = [
    "AdaptiveAveragePooling1D", "AdaptiveAveragePooling2D", "AdaptiveAveragePooling3D",
    "AdaptiveMaxPooling1D", "AdaptiveMaxPooling2D", "AdaptiveMaxPooling3D", "AveragePooling1D",
    "AveragePooling2D", "AveragePooling3D", "GlobalAveragePooling1D", "GlobalAveragePooling2D",
    "GlobalAveragePooling3D", "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D",
    "MaxPooling1D", "MaxPooling2D", "MaxPooling3D",
]  # fmt: skip

_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_MEAN = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


class Pooling(Layer):
    """Windows that slide over the axes between batch and channels."""

    rank: int

    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.pool_size = per_axis(pool_size, self.rank, "pool_size")
        self.strides = per_axis(pool_size if strides is None else strides, self.rank, "strides")
        self.padding = str(padding).lower()
        if self.padding not in ("valid", "same"):
            raise ValueError(
                f"{type(self).__name__}: argument 'padding': expected 'valid' or 'same', got "
                f"{padding!r}"
            )
        self.data_format = standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.built = True

    def _pads(self, x: Any) -> list[tuple[int, int]] | None:
        if self.padding == "valid":
            return None
        pads = [
            same_padding(n, k, s)
            for n, k, s in zip(x.shape[2:], self.pool_size, self.strides, strict=True)
        ]
        return pads if any(map(any, pads)) else None

    def _pool(self, x: Any) -> Any:
        raise NotImplementedError

    def call(self, inputs: Any) -> Any:
        if self.data_format == "channels_last":
            return channels_last(self._pool(channels_first(inputs)))
        return self._pool(inputs)

    def compute_output_shape(self, input_shape: Any) -> tuple:
        sizes = tuple(
            sliding_size(n, k, s, self.padding)
            for n, k, s in zip(
                spatial_sizes(input_shape, self.data_format),
                self.pool_size,
                self.strides,
                strict=True,
            )
        )
        channels = input_shape[-1 if self.data_format == "channels_last" else 1]
        return with_channels(input_shape, sizes, channels, self.data_format)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "padding": self.padding,
            "strides": self.strides,
            "data_format": self.data_format,
        }


class MaxPooling(Pooling):
    def _pool(self, x: Any) -> Any:
        pads = self._pads(x)
        if pads is not None:
            x = pad_spatial(x, pads, -tg.inf)
        return _MAX[self.rank](x, self.pool_size, self.strides)


class AveragePooling(Pooling):
    def __init__(
        self,
        pool_size: Any,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)

    def _pool(self, x: Any) -> Any:
        pads = self._pads(x)
        if pads is None:
            return _MEAN[self.rank](x, self.pool_size, self.strides)
        # Padding is no part of a mean: divided by the share of each window that lies inside.
        share = pad_spatial(tg.ones((1, 1, *x.shape[2:]), dtype=x.dtype), pads)
        share = _MEAN[self.rank](share, self.pool_size, self.strides)
        return _MEAN[self.rank](pad_spatial(x, pads), self.pool_size, self.strides) / share


class GlobalPooling(Layer):
    """Everything between batch and channels becomes one number per channel."""

    rank: int

    def __init__(
        self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format)
        self.keepdims = keepdims
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.built = True

    def _axes(self) -> tuple[int, ...]:
        first = 1 if self.data_format == "channels_last" else 2
        return tuple(range(first, first + self.rank))

    def compute_output_shape(self, input_shape: Any) -> tuple:
        axes = self._axes()
        if self.keepdims:
            return tuple(1 if i in axes else n for i, n in enumerate(input_shape))
        return tuple(n for i, n in enumerate(input_shape) if i not in axes)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "data_format": self.data_format,
            "keepdims": self.keepdims,
        }


class GlobalMaxPooling(GlobalPooling):
    def call(self, inputs: Any) -> Any:
        return tg.amax(inputs, dim=self._axes(), keepdim=self.keepdims)


class GlobalAveragePooling(GlobalPooling):
    def call(self, inputs: Any) -> Any:
        return tg.mean(inputs, dim=self._axes(), keepdim=self.keepdims)


class AdaptivePooling(Layer):
    """A grid of ``output_size`` windows over each image."""

    rank: int
    _functions: dict[int, Any]

    def __init__(self, output_size: Any, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.output_size = per_axis(output_size, self.rank, "output_size")
        self.data_format = standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.built = True

    def call(self, inputs: Any) -> Any:
        last = self.data_format == "channels_last"
        size = self.output_size[0] if self.rank == 1 else self.output_size
        y = self._functions[self.rank](channels_first(inputs) if last else inputs, size)
        return channels_last(y) if last else y

    def compute_output_shape(self, input_shape: Any) -> tuple:
        channels = input_shape[-1 if self.data_format == "channels_last" else 1]
        return with_channels(input_shape, self.output_size, channels, self.data_format)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "output_size": self.output_size,
            "data_format": self.data_format,
        }


class AdaptiveMaxPooling(AdaptivePooling):
    _functions = {  # noqa: RUF012
        1: F.adaptive_max_pool1d,
        2: F.adaptive_max_pool2d,
        3: F.adaptive_max_pool3d,
    }


class AdaptiveAveragePooling(AdaptivePooling):
    _functions = {  # noqa: RUF012
        1: F.adaptive_avg_pool1d,
        2: F.adaptive_avg_pool2d,
        3: F.adaptive_avg_pool3d,
    }


class MaxPooling1D(MaxPooling):
    """The largest number of each window of sequences, channel by channel.

    Shape: (N, steps, channels), or with the channels first. ``strides`` are ``pool_size`` unless
    given. Raises ValueError for another ``padding`` than ``"valid"`` and ``"same"``, for sizes that
    are not positive and for an input of another rank.
    """

    rank = 1


class MaxPooling2D(MaxPooling):
    """The largest number of each window of images, channel by channel.

    Shape: (N, height, width, channels), or with the channels first. ``strides`` are ``pool_size``
    unless given. Raises ValueError for another ``padding`` than ``"valid"`` and ``"same"``, for
    sizes that are not positive and for an input of another rank.
    """

    rank = 2


class MaxPooling3D(MaxPooling):
    """The largest number of each window of volumes, channel by channel.

    Shape: (N, depth, height, width, channels), or with the channels first. ``strides`` are
    ``pool_size`` unless given. Raises ValueError for another ``padding`` than ``"valid"`` and
    ``"same"``, for sizes that are not positive and for an input of another rank.
    """

    rank = 3


class AveragePooling1D(AveragePooling):
    """The mean of each window of sequences, channel by channel.

    Shape: (N, steps, channels), or with the channels first. ``strides`` are ``pool_size`` unless
    given. Raises ValueError for another ``padding`` than ``"valid"`` and ``"same"``, for sizes that
    are not positive and for an input of another rank.
    """

    rank = 1


class AveragePooling2D(AveragePooling):
    """The mean of each window of images, channel by channel.

    Shape: (N, height, width, channels), or with the channels first. ``strides`` are ``pool_size``
    unless given. Raises ValueError for another ``padding`` than ``"valid"`` and ``"same"``, for
    sizes that are not positive and for an input of another rank.
    """

    rank = 2


class AveragePooling3D(AveragePooling):
    """The mean of each window of volumes, channel by channel.

    Shape: (N, depth, height, width, channels), or with the channels first. ``strides`` are
    ``pool_size`` unless given. Raises ValueError for another ``padding`` than ``"valid"`` and
    ``"same"``, for sizes that are not positive and for an input of another rank.
    """

    rank = 3


class GlobalMaxPooling1D(GlobalMaxPooling):
    """The largest number of each channel of sequences.

    Shapes: (N, steps, channels) to (N, channels). Raises ValueError for an input of another rank.
    """

    rank = 1


class GlobalMaxPooling2D(GlobalMaxPooling):
    """The largest number of each channel of images.

    Shapes: (N, height, width, channels) to (N, channels). Raises ValueError for an input of another
    rank.
    """

    rank = 2


class GlobalMaxPooling3D(GlobalMaxPooling):
    """The largest number of each channel of volumes.

    Shapes: (N, depth, height, width, channels) to (N, channels). Raises ValueError for an input of
    another rank.
    """

    rank = 3


class GlobalAveragePooling1D(GlobalAveragePooling):
    """The mean of each channel of sequences, over the steps that a mask leaves.

    Shapes: (N, steps, channels) to (N, channels). Raises ValueError for an input of another rank.
    """

    rank = 1
    _makes_masks = False

    def __init__(
        self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(data_format, keepdims, **kwargs)
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None:
            return super().call(inputs)
        axis = self._axes()[0]
        weight = mask.to(inputs.dtype).unsqueeze(2 if axis == 1 else 1)
        total = tg.sum(inputs * weight, dim=axis, keepdim=self.keepdims)
        return total / tg.sum(weight, dim=axis, keepdim=self.keepdims)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """None: there are no steps left to mask."""
        return None


class GlobalAveragePooling2D(GlobalAveragePooling):
    """The mean of each channel of images.

    Shapes: (N, height, width, channels) to (N, channels). Raises ValueError for an input of another
    rank.
    """

    rank = 2


class GlobalAveragePooling3D(GlobalAveragePooling):
    """The mean of each channel of volumes.

    Shapes: (N, depth, height, width, channels) to (N, channels). Raises ValueError for an input of
    another rank.
    """

    rank = 3


class AdaptiveMaxPooling1D(AdaptiveMaxPooling):
    """The largest number of each cell of a grid over sequences. Shape: (N, steps, channels).
    Raises ValueError for sizes that are not positive and for an input of another rank."""

    rank = 1


class AdaptiveMaxPooling2D(AdaptiveMaxPooling):
    """The largest number of each cell of a grid over images. Shape: (N, height, width, channels).
    Raises ValueError for sizes that are not positive and for an input of another rank."""

    rank = 2


class AdaptiveMaxPooling3D(AdaptiveMaxPooling):
    """The largest number of each cell of a grid over volumes. Shape: (N, depth, height, width,
    channels). Raises ValueError for sizes that are not positive and for an input of another
    rank."""

    rank = 3


class AdaptiveAveragePooling1D(AdaptiveAveragePooling):
    """The mean of each cell of a grid over sequences. Shape: (N, steps, channels).
    Raises ValueError for sizes that are not positive and for an input of another rank."""

    rank = 1


class AdaptiveAveragePooling2D(AdaptiveAveragePooling):
    """The mean of each cell of a grid over images. Shape: (N, height, width, channels).
    Raises ValueError for sizes that are not positive and for an input of another rank."""

    rank = 2


class AdaptiveAveragePooling3D(AdaptiveAveragePooling):
    """The mean of each cell of a grid over volumes. Shape: (N, depth, height, width, channels).
    Raises ValueError for sizes that are not positive and for an input of another rank."""

    rank = 3


own_module(globals())
MaxPool1D, MaxPool2D, MaxPool3D = MaxPooling1D, MaxPooling2D, MaxPooling3D
AvgPool1D, AvgPool2D, AvgPool3D = AveragePooling1D, AveragePooling2D, AveragePooling3D
GlobalMaxPool1D, GlobalMaxPool2D = GlobalMaxPooling1D, GlobalMaxPooling2D
GlobalMaxPool3D, GlobalAvgPool1D = GlobalMaxPooling3D, GlobalAveragePooling1D
GlobalAvgPool2D, GlobalAvgPool3D = GlobalAveragePooling2D, GlobalAveragePooling3D
