"""Layers that mix images of a batch, or cut parts out: MixUp, CutMix, RandomErasing; and blur."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ..dtypes import convert_to_tensor
from ..ops.image import blurred
from ..random import beta
from ..registry import own_module
from .augmentation import _Augmenting, _Moving
from .colors import share_bounds, value_bounds
from .geometry import channels_first, channels_last

__all__ = [
    "CutMix", "MixUp", "RandomErasing", "RandomGaussianBlur", "RandomSharpness", "RandomShear",
]  # fmt: skip


class _Mixing(_Augmenting):
    """A layer that takes images, or a dictionary of ``"images"`` and ``"labels"`` (and perhaps
    ``"segmentation_masks"``), which are mixed alike. Raises ValueError for other keys."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        given = args[0] if args else None
        if not isinstance(given, dict):
            return super().__call__(*args, **kwargs)
        unknown = set(given) - {"images", "labels", "segmentation_masks"}
        if unknown or "images" not in given:
            raise ValueError(
                f"{type(self).__name__}: expected a dictionary with 'images' and perhaps 'labels' "
                f"and 'segmentation_masks', got the keys {sorted(given)}"
            )
        training = kwargs.get("training", True)
        parts = {key: convert_to_tensor(value) for key, value in given.items()}
        return self._blended(parts) if training and parts["images"].ndim == 4 else parts

    def _augmented(self, images: Any) -> Any:
        if self.data_format == "channels_first":  # the base class gave them with channels last
            return self._blended({"images": images.permute(0, 3, 1, 2)})["images"].permute(
                0, 2, 3, 1
            )
        return self._blended({"images": images})["images"]

    def _blended(self, parts: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def _order(self, count: int) -> Any:
        return tg.randperm(count, generator=self.generator.generator)

    def _share(self, x: Any, share: Any, order: Any) -> Any:
        """``share`` of each sample and the rest of another."""
        x = x if x.dtype.is_floating_point else x.to(self._compute)
        share = share.reshape(-1, *[1] * (x.ndim - 1)).to(x.dtype)
        return share * x + (1 - share) * tg.index_select(x, 0, order)

    def _boxes(self, count: int, height: int, width: int, tall: Any, wide: Any) -> tuple[Any, Any]:
        """Which pixels lie in boxes at random places, (N, height, width), and the boxes' areas."""
        inside, area = None, 1.0
        for size, share, at in ((height, tall, -1), (width, wide, -2)):
            length = share * size
            start = self._uniform(count, 0, 1) * (size - length)
            place = tg.arange(size, dtype=length.dtype).unsqueeze(0)
            covered = (place >= start.unsqueeze(1)) & (place < (start + length).unsqueeze(1))
            covered = covered.unsqueeze(at)
            inside = covered if inside is None else inside & covered
            area = area * length
        return inside, area

    def _masked(self, mask: Any, x: Any, other: Any) -> Any:
        axis = 1 if self.data_format == "channels_first" else -1
        return tg.where(mask.unsqueeze(axis) if x.ndim == 4 else mask, other, x)


class MixUp(_Mixing):
    """Blends pairs of images and their labels by a share of the beta distribution (Zhang et al.,
    2018)."""

    def __init__(
        self, alpha: float = 0.2, data_format: str | None = None, seed: int | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(seed, data_format, **kwargs)
        self.alpha = alpha

    def _blended(self, parts: dict[str, Any]) -> dict[str, Any]:
        count = len(parts["images"])
        order = self._order(count)
        share = beta((count,), self.alpha, self.alpha, seed=self.generator)
        return {key: self._share(x, share, order) for key, x in parts.items()}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha}


class CutMix(_Mixing):
    """Puts a box of one image into another and shares their labels by area (Yun et al., 2019).

    Raises ValueError for a factor outside [0, 1]."""

    def __init__(
        self, factor: Any = 1.0, seed: int | None = None, data_format: str | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(seed, data_format, **kwargs)
        self.factor = factor
        self._bounds = share_bounds(factor, "factor")

    def _blended(self, parts: dict[str, Any]) -> dict[str, Any]:
        images = parts["images"]
        count = len(images)
        height, width = images.shape[-2:]
        if self.data_format == "channels_last":
            height, width = images.shape[1:3]
        alpha = float(self._uniform(1, *self._bounds)) + 1e-6
        side = tg.sqrt(1 - beta((count,), alpha, alpha, seed=self.generator))
        mask, area = self._boxes(count, height, width, side, side)
        order = self._order(count)
        share = 1 - area / (height * width)
        made = {}
        for key, x in parts.items():
            if key == "labels":
                made[key] = self._share(x, share, order)
            else:
                made[key] = self._masked(mask, x, tg.index_select(x, 0, order))
        return made

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


class RandomErasing(_Mixing):
    """Fills a box of images, with probability up to ``factor``; ``scale`` bounds the squares of its
    sides as shares. ``fill_value``: a number, one for each channel, or None for noise. Raises
    ValueError for shares outside [0, 1]."""

    def __init__(
        self,
        factor: Any = 1.0,
        scale: Any = (0.02, 0.33),
        fill_value: Any = None,
        value_range: Any = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.factor, self.scale, self.fill_value = factor, scale, fill_value
        self._bounds = share_bounds(factor, "factor")
        self._sides = share_bounds(scale, "scale")
        self.value_range = value_bounds(value_range)

    def _filling(self, x: Any) -> Any:
        if self.fill_value is None:
            made = self.generator.draw(tg.randn, x.shape) * self.value_range[1]
        else:
            made = convert_to_tensor(self.fill_value).to(x.dtype)
            if self.data_format == "channels_first" and made.ndim:
                made = made.reshape(-1, 1, 1)
            made = made.expand(x.shape)
        return made.clamp(*self.value_range)

    def _blended(self, parts: dict[str, Any]) -> dict[str, Any]:
        x = parts["images"]
        x = x if x.dtype.is_floating_point else x.to(self._compute)
        count = len(x)
        height, width = x.shape[1:3] if self.data_format == "channels_last" else x.shape[-2:]
        tall, wide = (tg.sqrt(self._uniform(count, *self._sides)) for _ in range(2))
        mask, _ = self._boxes(count, height, width, tall, wide)
        chosen = self._uniform(count, 0, 1) < self._uniform(count, *self._bounds)
        mask = mask & chosen.reshape(-1, 1, 1)
        return {**parts, "images": self._masked(mask, x, self._filling(x))}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "factor": self.factor,
            "scale": self.scale,
            "fill_value": self.fill_value,
            "value_range": self.value_range,
        }


class RandomGaussianBlur(_Augmenting):
    """Blurs images with probability up to ``factor`` by a Gaussian of ``kernel_size`` pixels (odd)
    and a deviation up to ``sigma``. Raises ValueError for even sizes and shares outside [0, 1]."""

    def __init__(
        self,
        factor: Any = 1.0,
        kernel_size: Any = 3,
        sigma: Any = 1.0,
        value_range: Any = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        sizes = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
        if len(sizes) != 2 or any(n % 2 == 0 for n in sizes):
            raise ValueError(
                f"kernel_size must be an odd number. Received: kernel_size={kernel_size}"
            )
        self.factor, self.kernel_size, self.sigma = factor, sizes, sigma
        self._bounds = share_bounds(factor, "factor")
        self._sigmas = share_bounds(sigma, "sigma")
        self.value_range = value_bounds(value_range)

    def _augmented(self, images: Any) -> Any:
        count = len(images)
        chosen = self._uniform(count, 0, 1) < self._uniform(count, *self._bounds)
        sigma = (self._uniform(2, *self._sigmas) + 1e-6).tolist()
        made = channels_last(blurred(channels_first(images), self.kernel_size, sigma))
        return tg.where(chosen.reshape(-1, 1, 1, 1), made, images).clamp(*self.value_range)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "factor": self.factor,
            "kernel_size": self.kernel_size,
            "sigma": self.sigma,
            "value_range": self.value_range,
        }


class RandomSharpness(_Augmenting):
    """Blurs or sharpens images: ``factor`` 0 is blurred, 0.5 the image itself, 1 sharpened. Raises
    ValueError for a factor outside [0, 1]."""

    def __init__(
        self, factor: Any, value_range: Any = (0, 255), data_format: str | None = None,
        seed: int | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(seed, data_format, **kwargs)
        self.factor = factor
        self._bounds = share_bounds(factor, "factor")
        self.value_range = value_bounds(value_range)

    def _augmented(self, images: Any) -> Any:
        return self._sharpened(images, self._uniform(len(images), *self._bounds))

    def _sharpened(self, images: Any, factor: Any) -> Any:
        x = channels_first(images)
        around, middle = 1 / 13, 5 / 13
        weight = tg.full((x.shape[1], 1, 3, 3), around, dtype=x.dtype)
        weight[:, :, 1, 1] = middle
        smooth = tg.conv2d(x, weight, None, 1, 1, 1, x.shape[1])
        made = x + (1 - 2 * factor.reshape(-1, 1, 1, 1)) * (smooth - x)
        return channels_last(made).clamp(*self.value_range)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor, "value_range": self.value_range}


class RandomShear(_Moving):
    """Slants images by shares of their height and width, either way. Raises ValueError for factors
    outside [0, 1] and for unknown modes."""

    def __init__(
        self,
        x_factor: Any = 0.0,
        y_factor: Any = 0.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(fill_mode, interpolation, fill_value, seed, data_format, **kwargs)
        self.x_factor, self.y_factor = x_factor, y_factor
        self._slants = [
            share_bounds(value, name) if isinstance(value, (tuple, list))
            else (-share_bounds(value, name)[1], share_bounds(value, name)[1])
            for value, name in ((x_factor, "x_factor"), (y_factor, "y_factor"))
        ]  # fmt: skip

    def _augmented(self, images: Any) -> Any:
        count = len(images)
        way = tg.where(self._uniform(count, 0, 1) > 0.5, -1.0, 1.0)
        x, y = (self._uniform(count, *bounds) * way for bounds in self._slants)
        return self._seen(images, [1, x, 0, y, 1, 0])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "x_factor": self.x_factor, "y_factor": self.y_factor}


own_module(globals())
