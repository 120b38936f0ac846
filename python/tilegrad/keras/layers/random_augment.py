"""Layers that draw which change they make, and those that bend images: RandAugment and others."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ..dtypes import convert_to_tensor
from ..ops.image_filters import elastic_transform, perspective_transform
from ..random import gamma
from ..registry import own_module
from .augmentation import (
    RandomBrightness,
    RandomContrast,
    RandomRotation,
    RandomTranslation,
    _Augmenting,
    _Moving,
)
from .colors import (
    AutoContrast,
    Equalization,
    RandomColorDegeneration,
    RandomPosterization,
    Solarization,
    share_bounds,
)
from .mixing import RandomSharpness, RandomShear

__all__ = ["AugMix", "RandAugment", "RandomElasticTransform", "RandomPerspective"]


class _Choosing(_Augmenting):
    """What chooses among other layers, each as strong as ``factor`` says."""

    def __init__(
        self, value_range: Any, factor: Any, interpolation: str, seed: int | None,
        data_format: str | None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(seed, data_format, **kwargs)
        self.value_range, self.interpolation = tuple(value_range), interpolation
        self.factor = share_bounds(factor, "factor")

    def _choices(self, colors: bool) -> list[Any]:
        strength, values = self.factor, self.value_range
        how: dict[str, Any] = {"data_format": "channels_last"}  # what _augmented is given
        drawn: dict[str, Any] = {**how, "seed": self.seed}
        moving: dict[str, Any] = {**drawn, "interpolation": self.interpolation}
        made: list[Any] = [
            RandomShear(strength, strength, **moving),
            RandomTranslation(strength, strength, **moving),
            RandomRotation(strength, **moving),
            RandomPosterization(max(1, int(8 * strength[1])), values, **drawn),
            Solarization(strength, strength, values, **drawn),
            AutoContrast(values, **how),
            Equalization(values, **how),
        ]
        if colors:
            made += [
                RandomBrightness(strength, values, **drawn),
                RandomColorDegeneration(strength, values, **drawn),
                RandomContrast(strength, values, **drawn),
                RandomSharpness(strength, values, **drawn),
            ]
        return made

    def _index(self, count: int) -> int:
        return min(int(self._uniform(1, 0, count).item()), count - 1)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "value_range": self.value_range,
            "factor": self.factor,
            "interpolation": self.interpolation,
        }


class RandAugment(_Choosing):
    """Applies ``num_ops`` changes, drawn for each batch among eleven of places and colours, one
    after the other (Cubuk et al., 2020). Raises ValueError for a factor outside [0, 1]."""

    def __init__(
        self, value_range: Any = (0, 255), num_ops: int = 2, factor: Any = 0.5,
        interpolation: str = "bilinear", seed: int | None = None, data_format: str | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(value_range, factor, interpolation, seed, data_format, **kwargs)
        self.num_ops = num_ops
        self._layers_to_draw = self._choices(colors=True)

    def _augmented(self, images: Any) -> Any:
        for _ in range(self.num_ops):
            layer = self._layers_to_draw[self._index(len(self._layers_to_draw))]
            images = layer(images, training=True)
        return images

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_ops": self.num_ops}


class AugMix(_Choosing):
    """Mixes images with ``num_chains`` of their changes, each of up to ``chain_depth`` drawn ones,
    in random shares (Hendrycks et al., 2020). Raises ValueError for a factor outside [0, 1]."""

    def __init__(
        self, value_range: Any = (0, 255), num_chains: int = 3, chain_depth: int = 3,
        factor: Any = 0.3, alpha: float = 1.0, all_ops: bool = True,
        interpolation: str = "bilinear", seed: int | None = None, data_format: str | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(value_range, factor, interpolation, seed, data_format, **kwargs)
        self.num_chains, self.chain_depth = num_chains, chain_depth
        self.alpha, self.all_ops = alpha, all_ops
        self._layers_to_draw = self._choices(colors=all_ops)

    def _augmented(self, images: Any) -> Any:
        weights = gamma((self.num_chains,), self.alpha, seed=self.generator)
        weights = weights / weights.sum()
        ends = gamma((2,), self.alpha, seed=self.generator)
        kept = (ends[0] / ends.sum()).item()
        mixed = tg.zeros_like(images)
        for weight in weights:
            chain = images
            for _ in range(self.chain_depth):
                drawn = self._index(len(self._layers_to_draw) + 1)
                if drawn < len(self._layers_to_draw):
                    chain = self._layers_to_draw[drawn](chain, training=True)
            mixed = mixed + weight * chain
        return kept * images + (1 - kept) * mixed

    def get_config(self) -> dict[str, Any]:
        names = ("num_chains", "chain_depth", "alpha", "all_ops")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


class RandomPerspective(_Augmenting):
    """Shows images as if seen from aside, with a probability within ``factor``: corners move by up
    to ``scale`` halves of their coordinates. Raises ValueError for numbers outside [0, 1]."""

    def __init__(
        self, factor: Any = 1.0, scale: float = 1.0, interpolation: str = "bilinear",
        fill_value: float = 0.0, seed: int | None = None, data_format: str | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(seed, data_format, **kwargs)
        self.factor = share_bounds(factor, "factor")
        if not 0 <= scale <= 1:
            raise ValueError(
                "The `scale` argument should be a number in the range [0,1]. Received: "
                f"scale={scale}"
            )
        self.scale, self.fill_value, self.interpolation = scale, fill_value, interpolation

    def _augmented(self, images: Any) -> Any:
        count, (height, width) = len(images), images.shape[1:3]
        right, down = width - 1.0, height - 1.0
        start = convert_to_tensor([[0.0, 0.0], [right, 0.0], [0.0, down], [right, down]])
        start = start.expand(count, 4, 2)
        moved = self._uniform(count * 8, -0.5 * self.scale, 0.5 * self.scale).reshape(count, 4, 2)
        chosen = self._uniform(count, 0, 1) < self._uniform(count, *self.factor)
        seen = perspective_transform(
            images, start, start + start * moved, self.interpolation, self.fill_value,
            "channels_last",
        )  # fmt: skip
        return tg.where(chosen.reshape(-1, 1, 1, 1), seen, images)

    def get_config(self) -> dict[str, Any]:
        names = ("factor", "scale", "interpolation", "fill_value")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


class RandomElasticTransform(_Moving):
    """Bends images, with a probability within ``factor``, by a strength within ``scale``. Raises
    ValueError for numbers outside [0, 1] and for unknown modes."""

    def __init__(
        self, factor: Any = 1.0, scale: Any = 1.0, interpolation: str = "bilinear",
        fill_mode: str = "reflect", fill_value: float = 0.0, value_range: Any = (0, 255),
        seed: int | None = None, data_format: str | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(fill_mode, interpolation, fill_value, seed, data_format, **kwargs)
        self.factor, self.scale = share_bounds(factor, "factor"), share_bounds(scale, "scale")
        self.value_range = tuple(value_range)

    def _augmented(self, images: Any) -> Any:
        if self.scale[1] == 0 or self.factor[1] == 0:
            return images
        count, (height, width) = len(images), images.shape[1:3]
        chosen = self._uniform(count, 0, 1) < self._uniform(count, *self.factor)
        strength = self._uniform(1, *self.scale).item()
        bent = elastic_transform(
            images, 0.1 * strength * max(height, width),
            max(0.05 * strength * min(height, width), 1e-3), self.interpolation, self.fill_mode,
            self.fill_value, self.generator, "channels_last",
        )  # fmt: skip
        return tg.where(chosen.reshape(-1, 1, 1, 1), bent, images)

    def get_config(self) -> dict[str, Any]:
        names = ("factor", "scale", "value_range")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


own_module(globals())
