"""Layers that change the colours of images, at random or by what an image holds."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ..dtypes import convert_to_tensor
from ..ops.image import from_hsv, to_hsv
from ..registry import own_module
from .augmentation import RandomBrightness, RandomContrast, _Augmenting
from .preprocessing import _OfImages

__all__ = [
    "AutoContrast",
    "Equalization",
    "RandomColorDegeneration",
    "RandomColorJitter",
    "RandomHue",
    "RandomPosterization",
    "RandomSaturation",
    "Solarization",
]


def share_bounds(value: Any, name: str, low: float = 0, high: float = 1) -> tuple[Any, Any]:
    """Two bounds within [low, high]; one number goes with the lower end. Raises ValueError."""
    pair: tuple = ()
    if isinstance(value, (tuple, list)):
        pair = tuple(sorted(value))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        pair = (low, value)
    if len(pair) != 2 or not low <= pair[0] <= pair[1] <= high:
        raise ValueError(
            f"The `{name}` argument should be a number (or a list of two numbers) in the range "
            f"[{low}, {high}]. Received: {name}={value}"
        )
    return pair


def value_bounds(value: Any) -> tuple[Any, Any]:
    """The range of the values of images. Raises ValueError for what is no pair."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(
            "The `value_range` argument should be a list of two numbers. Received: "
            f"value_range={value}"
        )
    low, high = sorted(value)
    return low, high


def rescaled(x: Any, old: tuple[Any, Any], new: tuple[Any, Any]) -> Any:
    """Values of one range in another."""
    if tuple(old) == tuple(new):
        return x
    return (x - old[0]) / (old[1] - old[0]) * (new[1] - new[0]) + new[0]


class _OfColors(_Augmenting):
    """A layer with a factor and the range of values."""

    _bounds: tuple[Any, Any]

    def __init__(
        self, factor: Any, value_range: Any = (0, 255), data_format: str | None = None,
        seed: int | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(seed, data_format, **kwargs)
        self.factor = factor
        self._bounds = share_bounds(factor, "factor", *self._LIMITS)
        self.value_range = value_bounds(value_range)

    _LIMITS: tuple[float, float] = (0, 1)

    def _factors(self, count: int) -> Any:
        return self._uniform(count, *self._bounds).reshape(-1, 1, 1, 1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor, "value_range": self.value_range}


class RandomSaturation(_OfColors):
    """Makes colours stronger or paler: ``factor`` 0 is grey, 0.5 the image itself, 1 full colour.

    Raises ValueError for a factor outside [0, 1]."""

    def _augmented(self, images: Any) -> Any:
        factor = self._factors(len(images))
        return self._saturated(images, factor / (1 - factor + 1e-7))

    def _saturated(self, images: Any, times: Any) -> Any:
        h, s, v = to_hsv(images).split(1, -1)
        return from_hsv(tg.cat([h, (s * times).clamp(*self.value_range), v], -1))


class RandomHue(_OfColors):
    """Turns the circle of colours by up to half of ``factor``, either way. Raises ValueError for a
    factor outside [0, 1]."""

    def _augmented(self, images: Any) -> Any:
        way = tg.where(self._uniform(len(images), 0, 1) > 0.5, -1.0, 1.0)
        return self._turned(images, way.reshape(-1, 1, 1, 1) * self._factors(len(images)) * 0.5)

    def _turned(self, images: Any, turn: Any) -> Any:
        h, s, v = to_hsv(rescaled(images, self.value_range, (0, 1))).split(1, -1)
        made = from_hsv(tg.cat([tg.remainder(h + turn, 1.0), s, v], -1)).clamp(0, 1)
        return rescaled(made, (0, 1), self.value_range)


class RandomColorDegeneration(_OfColors):
    """Mixes images with their grey versions, ``factor`` being the share of grey. Raises ValueError
    for a factor outside [0, 1]."""

    def _augmented(self, images: Any) -> Any:
        return self._blended(images, self._factors(len(images)))

    def _blended(self, images: Any, share: Any) -> Any:
        weights = convert_to_tensor([0.2989, 0.587, 0.114]).to(images.dtype)
        gray = (images * weights).sum(-1, keepdim=True)
        return (images + share * (gray - images)).clamp(*self.value_range)


class RandomPosterization(_OfColors):
    """Keeps only the upper ``factor`` bits of values, 1 to 8. Raises ValueError for others."""

    _LIMITS = (1, 8)

    def _augmented(self, images: Any) -> Any:
        low, high = self._bounds
        drawn = tg.floor(self._uniform(len(images), low, max(high, low + 1e-3)))
        return self._reduced(images, drawn.reshape(-1, 1, 1, 1))

    def _reduced(self, images: Any, bits: Any) -> Any:
        step = 2.0 ** (8 - bits)
        levels = tg.floor(rescaled(images, self.value_range, (0, 255)))
        return rescaled(tg.floor(levels / step) * step, (0, 255), self.value_range)


class RandomColorJitter(_Augmenting):
    """Brightness, contrast, saturation and hue one after the other, each by its factor if it has
    one. Errors are those of the four layers."""

    def __init__(
        self,
        value_range: Any = (0, 255),
        brightness_factor: Any = None,
        contrast_factor: Any = None,
        saturation_factor: Any = None,
        hue_factor: Any = None,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.value_range = value_range
        self.brightness_factor, self.contrast_factor = brightness_factor, contrast_factor
        self.saturation_factor, self.hue_factor = saturation_factor, hue_factor
        made = []
        for cls, factor in (
            (RandomBrightness, brightness_factor),
            (RandomContrast, contrast_factor),
            (RandomSaturation, saturation_factor),
            (RandomHue, hue_factor),
        ):
            if factor is not None:
                made.append(cls(factor, value_range=value_range, seed=seed))
        self.__dict__["_parts"] = tuple(made)

    def _augmented(self, images: Any) -> Any:
        for part in self._parts:
            images = part._augmented(images)
        return images

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "value_range": self.value_range,
            "brightness_factor": self.brightness_factor,
            "contrast_factor": self.contrast_factor,
            "saturation_factor": self.saturation_factor,
            "hue_factor": self.hue_factor,
        }


class AutoContrast(_OfImages):
    """Stretches the values of each image and channel over the whole range; channels of one value
    stay as they are."""

    def __init__(self, value_range: Any = (0, 255), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.value_range = value_bounds(value_range)

    def _changed(self, images: Any, training: bool) -> Any:
        low = tg.amin(images, (1, 2), keepdim=True)
        width = tg.amax(images, (1, 2), keepdim=True) - low
        stretched = (images - low) / tg.where(width == 0, tg.ones_like(width), width)
        made = rescaled(stretched.clamp(0, 1), (0, 1), self.value_range)
        return tg.where(width == 0, images, made)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "value_range": self.value_range}


class Equalization(_OfImages):
    """Spreads values so that each of ``bins`` ranges holds as many pixels, per channel of the batch
    as a whole, while training."""

    def __init__(
        self, value_range: Any = (0, 255), bins: int = 256, data_format: str | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(data_format, **kwargs)
        self.value_range, self.bins = value_bounds(value_range), bins

    def _changed(self, images: Any, training: bool) -> Any:
        if not training:
            return images
        levels = rescaled(images, self.value_range, (0, 255))
        made = tg.stack([self._spread(channel) for channel in levels.unbind(-1)], -1)
        return rescaled(made, (0, 255), self.value_range)

    def _spread(self, channel: Any) -> Any:
        last = self.bins - 1
        places = (channel * (last / 255)).to(tg.int64).clamp(0, last)
        counts = tg.bincount(places.reshape(-1), minlength=self.bins)
        if int((counts > 0).sum()) <= 1:
            return channel
        below = tg.cumsum(counts, 0)
        first = below[below > 0][0]
        table = tg.round((below - first) * 255 / (below[-1] - first).clamp(min=1)).clamp(0, 255)
        return table.to(channel.dtype)[places]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "value_range": self.value_range, "bins": self.bins}


class Solarization(_Augmenting):
    """Inverts values above a threshold, after an addition; both are drawn up to a share of the
    range. Raises ValueError for shares outside [0, 1]."""

    def __init__(
        self,
        addition_factor: Any = 0.0,
        threshold_factor: Any = 0.0,
        value_range: Any = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, **kwargs)
        self.addition_factor = share_bounds(addition_factor, "addition_factor")
        self.threshold_factor = share_bounds(threshold_factor, "threshold_factor")
        self.value_range = value_bounds(value_range)

    def _augmented(self, images: Any) -> Any:
        drawn = [
            self._uniform(len(images), low, high * 255).reshape(-1, 1, 1, 1)
            for low, high in (self.addition_factor, self.threshold_factor)
        ]
        return self._inverted(images, *drawn)

    def _inverted(self, images: Any, addition: Any, threshold: Any) -> Any:
        levels = (rescaled(images, self.value_range, (0, 255)) + addition).clamp(0, 255)
        made = tg.where(levels < threshold, levels, 255 - levels)
        return rescaled(made, (0, 255), self.value_range)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "addition_factor": self.addition_factor,
            "threshold_factor": self.threshold_factor,
            "value_range": self.value_range,
        }


own_module(globals())
