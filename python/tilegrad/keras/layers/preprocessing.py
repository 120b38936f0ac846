"""Rescaling, Normalization, resizing and cropping: what prepares numbers and images."""

from __future__ import annotations

from typing import Any

import numpy as np

import tilegrad as tg

from ..config import standardize_data_format
from ..dtypes import convert_to_numpy, convert_to_tensor
from ..registry import own_module
from .image_transform import check_resizing, resize, resize_cropping, resize_padding
from .layer import Layer

__all__ = ["CenterCrop", "Normalization", "Rescaling", "Resizing"]


class Rescaling(Layer):
    """``inputs * scale + offset``."""

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale, self.offset = scale, offset
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any) -> Any:
        if not inputs.dtype.is_floating_point:
            inputs = inputs.to(self._compute)
        return inputs * _factor(self.scale, inputs) + _factor(self.offset, inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale, "offset": self.offset}


def _factor(value: Any, like: Any) -> Any:
    if isinstance(value, (int, float)):
        return value
    return convert_to_tensor(value).to(like.dtype)


class Normalization(Layer):
    """``(inputs - mean) / sqrt(variance)``, one mean and variance for each place along ``axis``.

    They are given, or found in data by :meth:`adapt`. ``invert`` undoes it. Raises ValueError for
    only one of ``mean`` and ``variance``, and when called before they are known.
    """

    def __init__(
        self, axis: Any = -1, mean: Any = None, variance: Any = None, invert: bool = False,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        if (mean is None) != (variance is None):
            raise ValueError(
                "When setting values directly, both `mean` and `variance` must be set. Received: "
                f"mean={mean} and variance={variance}"
            )
        self.axis = () if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
        self.input_mean, self.input_variance, self.invert = mean, variance, invert
        self.supports_masking = True
        self.__dict__["_ready"] = False

    def build(self, input_shape: Any) -> None:
        if input_shape is None:
            return
        rank = len(input_shape)
        kept = sorted(a % rank for a in self.axis)
        if any(input_shape[a] is None for a in kept):
            raise ValueError(
                "All `axis` values to be kept must have a known shape. Received axis="
                f"{self.axis}, inputs.shape={tuple(input_shape)}"
            )
        self.__dict__["_kept"] = kept
        shape = tuple(input_shape[a] for a in kept)
        self.__dict__["_broadcast"] = [input_shape[a] if a in kept else 1 for a in range(rank)]
        if self.input_mean is None and not hasattr(self, "adapt_mean"):
            self.adapt_mean = self.add_weight(
                name="mean", shape=shape, initializer="zeros", trainable=False
            )
            self.adapt_variance = self.add_weight(
                name="variance", shape=shape, initializer="ones", trainable=False
            )
            self.count = self.add_weight(
                name="count", shape=(), dtype="int32", initializer="zeros", trainable=False
            )

    def adapt(self, data: Any) -> None:
        """Finds mean and variance of an array, or of something that gives batches."""
        batches = [data]
        if not hasattr(data, "shape") and not isinstance(data, (list, tuple)):
            batches = list(data)
        total = square = None
        count = 0
        for batch in batches:
            x = convert_to_numpy(batch[0] if isinstance(batch, tuple) else batch).astype("float64")
            if not self.built:
                self.build((None, *x.shape[1:]))
                self.built = True
            rest = tuple(a for a in range(x.ndim) if a not in self._kept)
            count += x.size // max(int(np.prod([x.shape[a] for a in self._kept])), 1)
            total = x.sum(rest) + (0 if total is None else total)
            square = (x * x).sum(rest) + (0 if square is None else square)
        if not count:
            raise ValueError("Normalization.adapt: the data is empty")
        assert total is not None and square is not None
        mean = total / count
        self.adapt_mean.assign(mean.astype("float32"))
        if len(batches) == 1:  # two passes are more exact
            shape = [1 if a in rest else n for a, n in enumerate(x.shape)]
            variance = ((x - mean.reshape(shape)) ** 2).mean(rest)
        else:
            variance = np.maximum(square / count - mean**2, 0)
        self.adapt_variance.assign(variance.astype("float32"))
        self.count.assign(min(count, 2**31 - 1))
        self.__dict__["_ready"] = True

    @property
    def mean(self) -> Any:
        """The means, of the shape that broadcasts."""
        given = self.adapt_mean if self.input_mean is None else convert_to_tensor(self.input_mean)
        return given.detach().to(self._compute).expand(self._sizes()).reshape(self._broadcast)

    @property
    def variance(self) -> Any:
        """The variances, of the shape that broadcasts."""
        given = self.input_variance
        given = self.adapt_variance if given is None else convert_to_tensor(given)
        return given.detach().to(self._compute).expand(self._sizes()).reshape(self._broadcast)

    def _sizes(self) -> list[int]:
        return [self._broadcast[a] for a in self._kept]

    def call(self, inputs: Any) -> Any:
        if not inputs.dtype.is_floating_point:
            inputs = inputs.to(self._compute)
        deviation = tg.sqrt(self.variance).clamp(min=1e-7)
        if self.invert:
            return self.mean + inputs * deviation
        return (inputs - self.mean) / deviation

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "axis": list(self.axis) if len(self.axis) != 1 else self.axis[0],
            "invert": self.invert,
            "mean": _plain(self.input_mean),
            "variance": _plain(self.input_variance),
        }


def _plain(value: Any) -> Any:
    return None if value is None else np.asarray(value).tolist()


class _OfImages(Layer):
    """A layer that takes one image or a batch of them."""

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format)
        self.built = True

    def _changed(self, images: Any, training: bool) -> Any:
        """What becomes of a batch (N, height, width, C)."""
        raise NotImplementedError

    def call(self, inputs: Any, training: Any = False) -> Any:
        x = inputs if inputs.dtype.is_floating_point else inputs.to(self._compute)
        single = x.ndim == 3
        x = x.unsqueeze(0) if single else x
        first = self.data_format == "channels_first"
        x = x.permute(0, 2, 3, 1) if first else x
        y = self._changed(x, bool(training))
        y = y.permute(0, 3, 1, 2) if first else y
        return y.squeeze(0) if single else y

    def _with_size(self, input_shape: Any, height: Any, width: Any) -> tuple:
        made = list(input_shape)
        place = -3 if self.data_format == "channels_last" else -2
        made[place], made[place + 1] = height, width
        return tuple(made)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format}


class CenterCrop(_OfImages):
    """The middle of images; smaller images are enlarged first."""

    def __init__(
        self, height: int, width: int, data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(data_format, **kwargs)
        self.height, self.width = height, width

    def _changed(self, images: Any, training: bool) -> Any:
        h, w = images.shape[1:3]
        if h >= self.height and w >= self.width:
            top, left = (h - self.height) // 2, (w - self.width) // 2
            return images[:, top : top + self.height, left : left + self.width]
        return resize_cropping(images, (self.height, self.width), "bilinear")

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self._with_size(input_shape, self.height, self.width)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "height": self.height, "width": self.width}


class Resizing(_OfImages):
    """Images at another size: stretched, with ``crop_to_aspect_ratio`` the middle of them, with
    ``pad_to_aspect_ratio`` the whole of them and ``fill_value`` beside it.

    Raises ValueError for an unknown ``interpolation`` or ``fill_mode``, and for both ratios.
    """

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, **kwargs)
        check_resizing(fill_mode, crop_to_aspect_ratio, pad_to_aspect_ratio)
        if interpolation not in ("nearest", "bilinear", "bicubic"):
            raise ValueError(
                "Resizing: argument 'interpolation': expected 'nearest', 'bilinear' or 'bicubic', "
                f"got {interpolation!r}"
            )
        self.height, self.width, self.interpolation = height, width, interpolation
        self.crop_to_aspect_ratio = crop_to_aspect_ratio
        self.pad_to_aspect_ratio = pad_to_aspect_ratio
        self.fill_mode, self.fill_value, self.antialias = fill_mode, fill_value, antialias

    def _changed(self, images: Any, training: bool) -> Any:
        how = (images, (self.height, self.width), self.interpolation, self.antialias)
        if self.crop_to_aspect_ratio:
            return resize_cropping(*how)
        if self.pad_to_aspect_ratio:
            return resize_padding(*how, self.fill_value)
        return resize(*how)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self._with_size(input_shape, self.height, self.width)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "height": self.height,
            "width": self.width,
            "interpolation": self.interpolation,
            "crop_to_aspect_ratio": self.crop_to_aspect_ratio,
            "pad_to_aspect_ratio": self.pad_to_aspect_ratio,
            "fill_mode": self.fill_mode,
            "fill_value": self.fill_value,
            "antialias": self.antialias,
        }


own_module(globals())
