"""Dropout in all its forms, noise, and penalties on activities."""

from __future__ import annotations

import math
from typing import Any

import tilegrad as tg

from ...nn import functional as F
from .. import regularizers
from ..random import SeedGenerator
from ..registry import own_module
from .input_spec import InputSpec
from .layer import Layer

__all__ = [
    "ActivityRegularization",
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
]


class _Random(Layer):
    """A layer that keeps its input's shape and draws random numbers while training."""

    def __init__(self, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = SeedGenerator(seed)
        self.supports_masking = True
        self.built = True

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


def _checked_rate(rate: Any) -> float:
    if not 0 <= rate <= 1:
        raise ValueError(
            f"Invalid value received for argument `rate`. Expected a float value between 0 and 1. "
            f"Received: rate={rate}"
        )
    return rate


class Dropout(_Random):
    """Zeroes each number with probability ``rate`` while training, and scales the others by
    ``1 / (1 - rate)`` (Srivastava et al., 2014). Along axes of ``noise_shape`` that are 1, all are
    zeroed or none. With a ``seed`` the layer draws from a sequence of its own.

    Raises ValueError for a rate outside [0, 1].
    """

    def __init__(
        self, rate: float, noise_shape: Any = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(seed, **kwargs)
        self.rate = _checked_rate(rate)
        self.noise_shape = noise_shape

    def call(self, inputs: Any, training: Any = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        shape = self._mask_shape(inputs)
        if self.seed is None and shape is None:
            return F.dropout(inputs, self.rate)
        if self.rate == 1:
            return inputs * 0
        shape = inputs.shape if shape is None else shape
        kept = self.seed_generator.draw(tg.rand, shape) >= self.rate
        return inputs * (kept.to(inputs.dtype) / (1 - self.rate))

    def _mask_shape(self, inputs: Any) -> Any:
        if self.noise_shape is None:
            return None
        return [m if n is None else n for n, m in zip(self.noise_shape, inputs.shape, strict=True)]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "rate": self.rate,
            "seed": self.seed,
            "noise_shape": self.noise_shape,
        }


class _SpatialDropout(Dropout):
    """Dropout of whole channels."""

    rank: int

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        from ..config import standardize_data_format

        super().__init__(rate, seed=seed, name=name, dtype=dtype, **kwargs)
        self.data_format = standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def _mask_shape(self, inputs: Any) -> Any:
        ones = [1] * self.rank
        if self.data_format == "channels_last":
            return [inputs.shape[0], *ones, inputs.shape[-1]]
        return [inputs.shape[0], inputs.shape[1], *ones]

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "data_format": self.data_format}
        del config["noise_shape"]
        return config


class SpatialDropout1D(_SpatialDropout):
    """Zeroes whole channels of sequences, (N, steps, channels). Errors are those of Dropout."""

    rank = 1

    def __init__(
        self,
        rate: float,
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, "channels_last", seed, name, dtype, **kwargs)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["data_format"]
        return config


class SpatialDropout2D(_SpatialDropout):
    """Zeroes whole channels of images. Errors are those of Dropout."""

    rank = 2


class SpatialDropout3D(_SpatialDropout):
    """Zeroes whole channels of volumes. Errors are those of Dropout."""

    rank = 3


class GaussianDropout(_Random):
    """Multiplies by normal numbers of mean 1 and variance ``rate / (1 - rate)`` while training.

    Raises ValueError for a rate outside [0, 1].
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        self.rate = _checked_rate(rate)

    def call(self, inputs: Any, training: Any = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        deviation = math.sqrt(self.rate / (1 - self.rate))
        noise = self.seed_generator.draw(tg.randn, inputs.shape).to(inputs.dtype)
        return inputs * (1 + deviation * noise)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


class GaussianNoise(_Random):
    """Adds normal numbers of deviation ``stddev`` while training.

    Raises ValueError for a deviation outside [0, 1].
    """

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        if not 0 <= stddev <= 1:
            raise ValueError(
                "Invalid value received for argument `stddev`. Expected a float value between 0 "
                "and "
                f"1. Received: stddev={stddev}"
            )
        self.stddev = stddev

    def call(self, inputs: Any, training: Any = False) -> Any:
        if not training or self.stddev == 0:
            return inputs
        noise = self.seed_generator.draw(tg.randn, inputs.shape).to(inputs.dtype)
        return inputs + self.stddev * noise

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stddev": self.stddev, "seed": self.seed}


class AlphaDropout(_Random):
    """Dropout that keeps mean and variance of inputs that come from ``selu`` (Klambauer et al.,
    2017). Raises ValueError for a rate outside [0, 1]."""

    def __init__(
        self, rate: float, noise_shape: Any = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(seed, **kwargs)
        self.rate, self.noise_shape = _checked_rate(rate), noise_shape

    def call(self, inputs: Any, training: Any = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        floor = -1.6732632423543772 * 1.0507009873554805
        shape = inputs.shape if self.noise_shape is None else self.noise_shape
        shape = [m if n is None else n for n, m in zip(shape, inputs.shape, strict=True)]
        kept = (self.seed_generator.draw(tg.rand, shape) >= self.rate).to(inputs.dtype)
        a = ((1 - self.rate) * (1 + self.rate * floor**2)) ** -0.5
        return a * (inputs * kept + floor * (1 - kept)) - a * floor * self.rate

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "rate": self.rate,
            "seed": self.seed,
            "noise_shape": self.noise_shape,
        }


class ActivityRegularization(Layer):
    """The inputs themselves, with a penalty on their size added to the loss."""

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(activity_regularizer=regularizers.L1L2(l1, l2), **kwargs)
        self.l1, self.l2 = l1, l2
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any) -> Any:
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "l1": self.l1, "l2": self.l2}
        config.pop("activity_regularizer", None)
        return config


own_module(globals())
