"""Random* layers: images changed at random while training, left alone otherwise."""

from __future__ import annotations

import math
from typing import Any

import tilegrad as tg

from ..dtypes import convert_to_tensor
from ..random import SeedGenerator
from ..registry import own_module
from .image_transform import FILL_MODES, affine, resize_cropping
from .preprocessing import _OfImages

__all__ = [
    "RandomBrightness",
    "RandomContrast",
    "RandomCrop",
    "RandomFlip",
    "RandomGrayscale",
    "RandomInvert",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
]


class _Augmenting(_OfImages):
    """What draws from a sequence of its own."""

    def __init__(self, seed: int | None, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(data_format, **kwargs)
        self.seed = seed
        self.generator = SeedGenerator(seed)

    def _uniform(self, count: int, low: float, high: float) -> Any:
        return self.generator.draw(tg.rand, (count,)) * (high - low) + low

    def _augmented(self, images: Any) -> Any:
        raise NotImplementedError

    def _changed(self, images: Any, training: bool) -> Any:
        return self._augmented(images) if training else images

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


def _range(value: Any, name: str, lowest: float = -tg.inf) -> tuple[float, float]:
    """A pair of bounds, from a pair or from one number that is both. Raises ValueError."""
    if isinstance(value, (int, float)):
        pair = (-abs(value), abs(value))
    else:
        pair = tuple(value) if len(value) == 2 else (1.0, 0.0)
    if pair[0] > pair[1] or pair[0] < lowest:
        raise ValueError(
            f"argument '{name}': expected a number, or two numbers in ascending order, got "
            f"{value!r}"
        )
    return pair[0], pair[1]


class RandomFlip(_Augmenting):
    """Mirrors images ``"horizontal"``, ``"vertical"`` or ``"horizontal_and_vertical"``, each with
    probability one half. Raises ValueError for another mode."""

    def __init__(
        self, mode: str = "horizontal_and_vertical", seed: int | None = None,
        data_format: str | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(seed, data_format, **kwargs)
        if mode not in ("horizontal", "vertical", "horizontal_and_vertical"):
            raise ValueError(
                "RandomFlip: argument 'mode': expected 'horizontal', 'vertical' or "
                f"'horizontal_and_vertical', got {mode!r}"
            )
        self.mode = mode

    def _augmented(self, images: Any) -> Any:
        for word, axis in (("horizontal", 2), ("vertical", 1)):
            if word in self.mode:
                chosen = self._uniform(len(images), 0, 1).reshape(-1, 1, 1, 1) < 0.5
                images = tg.where(chosen, tg.flip(images, (axis,)), images)
        return images

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mode": self.mode}


class _Moving(_Augmenting):
    """What moves pixels: options of how to look them up."""

    def __init__(
        self,
        fill_mode: str,
        interpolation: str,
        fill_value: float,
        seed: int | None,
        data_format: str | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        if fill_mode not in FILL_MODES:
            raise ValueError(f"Unknown `fill_mode` {fill_mode}. Expected of one {set(FILL_MODES)}.")
        if interpolation not in ("nearest", "bilinear"):
            raise ValueError(
                f"Unknown `interpolation` {interpolation}. Expected of one of {{'nearest', "
                "'bilinear'}."
            )
        self.fill_mode, self.interpolation = fill_mode, interpolation
        self.fill_value = fill_value

    def _seen(self, images: Any, rows: list[Any]) -> Any:
        count = len(images)
        columns = [r if isinstance(r, tg.Tensor) else tg.full((count,), float(r)) for r in rows]
        matrices = tg.stack(columns, dim=1)
        return affine(images, matrices, self.interpolation, self.fill_mode, self.fill_value)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "fill_mode": self.fill_mode,
            "interpolation": self.interpolation,
            "fill_value": self.fill_value,
        }


class RandomRotation(_Moving):
    """Turns images by up to ``factor`` whole turns either way, or within two bounds.

    Raises ValueError for bounds that are no pair in order and for unknown modes.
    """

    def __init__(
        self,
        factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, fill_value, seed, data_format, **kwargs)
        self.factor = factor
        self._bounds = _range(factor, "factor")

    def _augmented(self, images: Any) -> Any:
        height, width = images.shape[1:3]
        low, high = self._bounds
        angle = self._uniform(len(images), low * 2 * math.pi, high * 2 * math.pi)
        cos, sin = tg.cos(angle), tg.sin(angle)
        x, y = (width - 1) / 2, (height - 1) / 2
        rows = [cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y]
        return self._seen(images, rows)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


class RandomTranslation(_Moving):
    """Moves images by shares of their height and width. Raises ValueError as RandomRotation."""

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, fill_value, seed, data_format, **kwargs)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._vertical = _range(height_factor, "height_factor")
        self._horizontal = _range(width_factor, "width_factor")

    def _augmented(self, images: Any) -> Any:
        height, width = images.shape[1:3]
        down = self._uniform(len(images), *self._vertical) * height
        right = self._uniform(len(images), *self._horizontal) * width
        return self._seen(images, [1, 0, -right, 0, 1, -down])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "height_factor": self.height_factor,
            "width_factor": self.width_factor,
        }


class RandomZoom(_Moving):
    """Enlarges (negative factors) or shrinks images, keeping their shape unless ``width_factor`` is
    given. Raises ValueError as RandomRotation."""

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, fill_value, seed, data_format, **kwargs)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._vertical = _range(height_factor, "height_factor", -1.0)
        self._horizontal = (
            None if width_factor is None else _range(width_factor, "width_factor", -1.0)
        )

    def _augmented(self, images: Any) -> Any:
        height, width = images.shape[1:3]
        tall = 1 + self._uniform(len(images), *self._vertical)
        wide = tall
        if self._horizontal is not None:
            wide = 1 + self._uniform(len(images), *self._horizontal)
        x, y = (width - 1) / 2, (height - 1) / 2
        return self._seen(images, [wide, 0, x - wide * x, 0, tall, y - tall * y])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "height_factor": self.height_factor,
            "width_factor": self.width_factor,
        }


class RandomContrast(_Augmenting):
    """Moves pixels away from or towards their mean per channel, by a factor within ``factor`` of 1.

    Raises ValueError for a factor outside [0, 1]."""

    def __init__(
        self, factor: Any, value_range: Any = (0, 255), seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(seed, **kwargs)
        self.factor, self.value_range = factor, tuple(value_range)
        low, high = (factor, factor) if isinstance(factor, (int, float)) else factor
        if not (0 <= low <= 1 and high >= 0):
            raise ValueError(
                f"RandomContrast: argument 'factor': expected numbers in [0, 1], got {factor!r}"
            )
        self._bounds = (1 - low, 1 + high)

    def _augmented(self, images: Any) -> Any:
        factor = self._uniform(len(images), *self._bounds).reshape(-1, 1, 1, 1)
        mean = images.mean((1, 2), keepdim=True)
        return ((images - mean) * factor + mean).clamp(*self.value_range)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "factor": self.factor,
            "value_range": self.value_range,
        }


class RandomBrightness(_Augmenting):
    """Adds up to ``factor`` of the range of values, either way. Raises ValueError for a factor
    outside [-1, 1]."""

    def __init__(
        self, factor: Any, value_range: Any = (0, 255), seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(seed, **kwargs)
        self.factor, self.value_range = factor, tuple(value_range)
        self._bounds = _range(factor, "factor", -1.0)
        if self._bounds[1] > 1:
            raise ValueError(
                f"RandomBrightness: argument 'factor': expected numbers in [-1, 1], got {factor!r}"
            )

    def _augmented(self, images: Any) -> Any:
        low, high = self.value_range
        added = self._uniform(len(images), *self._bounds).reshape(-1, 1, 1, 1) * (high - low)
        return (images + added).clamp(low, high)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "factor": self.factor,
            "value_range": self.value_range,
        }


class RandomInvert(_Augmenting):
    """Turns light into dark with probability ``factor``."""

    def __init__(
        self, factor: float = 1.0, value_range: Any = (0, 255), seed: int | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(seed, **kwargs)
        self.factor, self.value_range = factor, tuple(value_range)

    def _augmented(self, images: Any) -> Any:
        chosen = self._uniform(len(images), 0, 1).reshape(-1, 1, 1, 1) < self.factor
        return tg.where(chosen, sum(self.value_range) - images, images)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "factor": self.factor,
            "value_range": self.value_range,
        }


class RandomGrayscale(_Augmenting):
    """Takes the colours out of images with probability ``factor``."""

    def __init__(
        self, factor: float = 0.5, data_format: str | None = None, seed: int | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(seed, data_format, **kwargs)
        self.factor = factor

    def _augmented(self, images: Any) -> Any:
        chosen = self._uniform(len(images), 0, 1).reshape(-1, 1, 1, 1) < self.factor
        weights = convert_to_tensor([0.2989, 0.587, 0.114]).to(images.dtype)
        gray = (images * weights).sum(-1, keepdim=True).expand(images.shape)
        return tg.where(chosen, gray, images)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


class RandomCrop(_Augmenting):
    """A part of images at a random place, the middle when not training; smaller images are enlarged
    first."""

    def __init__(
        self, height: int, width: int, seed: int | None = None, data_format: str | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(seed, data_format, **kwargs)
        self.height, self.width = height, width

    def _changed(self, images: Any, training: bool) -> Any:
        h, w = images.shape[1:3]
        if h < self.height or w < self.width:
            return resize_cropping(images, (self.height, self.width), "bilinear")
        top, left = (h - self.height) // 2, (w - self.width) // 2
        if training:
            draw = self._uniform(2, 0, 1)
            top = int(draw[0].item() * (h - self.height + 1))
            left = int(draw[1].item() * (w - self.width + 1))
        return images[:, top : top + self.height, left : left + self.width]

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self._with_size(input_shape, self.height, self.width)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "height": self.height, "width": self.width}


own_module(globals())
