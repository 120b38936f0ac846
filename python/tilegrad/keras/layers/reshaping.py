"""Flatten, Reshape, Permute, RepeatVector, padding, cropping and enlarging."""

from __future__ import annotations

import math
from typing import Any

import tilegrad as tg

from ...nn import functional as F
from ..config import standardize_data_format
from ..registry import own_module
from .geometry import channels_first, channels_last, pad_spatial, per_axis
from .input_spec import InputSpec
from .layer import Layer

__all__ = [
    "Cropping1D", "Cropping2D", "Cropping3D", "Flatten", "Permute", "RepeatVector", "Reshape",
    "UpSampling1D", "UpSampling2D", "UpSampling3D", "ZeroPadding1D", "ZeroPadding2D",
    "ZeroPadding3D",
]  # fmt: skip


def _product(sizes: Any) -> int | None:
    return None if None in sizes else math.prod(sizes)


class Flatten(Layer):
    """Everything but the batch in one axis, in the order of channels last."""

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format)
        self.input_spec = InputSpec(min_ndim=1)
        self.built = True

    def call(self, inputs: Any) -> Any:
        if self.data_format == "channels_first" and inputs.ndim > 1:
            inputs = channels_last(inputs)
        return inputs.reshape(inputs.shape[0], math.prod(inputs.shape[1:]))

    def compute_output_shape(self, input_shape: Any) -> tuple:
        return (input_shape[0], _product(input_shape[1:]))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format}


class Reshape(Layer):
    """Another shape for each sample; one size may be -1. Raises ValueError for a shape with another
    number of elements."""

    def __init__(self, target_shape: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target_shape = tuple(target_shape)
        self.built = True

    def call(self, inputs: Any) -> Any:
        sizes = self.compute_output_shape(tuple(inputs.shape))
        return inputs.reshape(sizes)

    def compute_output_shape(self, input_shape: Any) -> tuple:
        total = _product(input_shape[1:])
        known = math.prod(n for n in self.target_shape if n != -1)
        if total is not None and (
            total % known if -1 in self.target_shape and known else total != known
        ):
            raise ValueError(
                "The total size of the tensor must be unchanged. Received: "
                f"input_shape={tuple(input_shape[1:])}, target_shape={self.target_shape}"
            )
        free = None if total is None else total // max(known, 1)
        return (input_shape[0], *(free if n == -1 else n for n in self.target_shape))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "target_shape": self.target_shape}


class Permute(Layer):
    """Axes in another order, counted from 1 without the batch. Raises ValueError for others."""

    def __init__(self, dims: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(
                "Invalid permutation argument `dims` for Permute Layer. The set of indices in "
                "`dims` "
                f"must be consecutive and start from 1. Received dims={dims}"
            )
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)
        self.built = True

    def call(self, inputs: Any) -> Any:
        return inputs.permute(0, *self.dims)

    def compute_output_shape(self, input_shape: Any) -> tuple:
        return (input_shape[0], *(input_shape[d] for d in self.dims))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dims": self.dims}


class RepeatVector(Layer):
    """Each vector ``n`` times. Shapes: (N, features) to (N, n, features).

    Raises TypeError for ``n`` that is no integer."""

    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(n, int):
            raise TypeError(f"Expected an integer value for `n`, got {type(n)}.")
        self.n = n
        self.input_spec = InputSpec(ndim=2)
        self.built = True

    def call(self, inputs: Any) -> Any:
        return inputs.unsqueeze(1).expand(inputs.shape[0], self.n, inputs.shape[1])

    def compute_output_shape(self, input_shape: Any) -> tuple:
        return (input_shape[0], self.n, input_shape[1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n": self.n}


class _Around(Layer):
    """What adds or takes elements around the axes between batch and channels."""

    rank: int
    _what: str
    _default: Any = 1

    def __init__(self, amount: Any, data_format: str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format)
        self.__dict__["pairs"] = _pairs(amount, self.rank, self._what)
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.built = True

    @property
    def _first(self) -> int:
        return 1 if self.data_format == "channels_last" else 2

    def get_config(self) -> dict[str, Any]:
        value = self.pairs[0] if self.rank == 1 else self.pairs
        config = {**super().get_config(), self._what: value}
        if self.rank > 1 or self._what == "padding":
            config["data_format"] = self.data_format
        return config


def _pairs(value: Any, rank: int, name: str) -> tuple[tuple[int, int], ...]:
    if isinstance(value, int):
        return ((value, value),) * rank
    made = list(value)
    if rank == 1 and len(made) == 2 and all(isinstance(n, int) for n in made):
        return (tuple(made),)
    if len(made) != rank:
        raise ValueError(
            f"`{name}` should have {rank} elements, for each spatial axis. Received: {value}."
        )
    return tuple((n, n) if isinstance(n, int) else tuple(n) for n in made)


class _ZeroPadding(_Around):
    _what = "padding"

    def __init__(self, padding: Any = 1, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(padding, data_format, **kwargs)
        self.padding = self.pairs

    def call(self, inputs: Any) -> Any:
        if self.data_format == "channels_last":
            return channels_last(pad_spatial(channels_first(inputs), self.pairs))
        return pad_spatial(inputs, self.pairs)

    def compute_output_shape(self, input_shape: Any) -> tuple:
        sizes = list(input_shape)
        for axis, (before, after) in enumerate(self.pairs, self._first):
            if sizes[axis] is not None:
                sizes[axis] += before + after
        return tuple(sizes)


class _Cropping(_Around):
    _what = "cropping"

    def __init__(self, cropping: Any = 0, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(cropping, data_format, **kwargs)
        self.cropping = self.pairs

    def call(self, inputs: Any) -> Any:
        self.compute_output_shape(tuple(inputs.shape))
        for axis, (before, after) in enumerate(self.pairs, self._first):
            inputs = inputs.narrow(axis, before, inputs.shape[axis] - before - after)
        return inputs

    def compute_output_shape(self, input_shape: Any) -> tuple:
        sizes = list(input_shape)
        for axis, (before, after) in enumerate(self.pairs, self._first):
            if sizes[axis] is not None:
                sizes[axis] -= before + after
                if sizes[axis] <= 0:
                    raise ValueError(
                        f"`cropping` parameter of `{type(self).__name__}` layer must be smaller "
                        "than "
                        f"the input. Received: input_shape={tuple(input_shape)}, "
                        f"cropping={self.pairs}"
                    )
        return tuple(sizes)


class _UpSampling(Layer):
    rank: int

    def __init__(self, size: Any = 2, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = per_axis(size, self.rank, "size")
        self.data_format = standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.built = True

    def call(self, inputs: Any) -> Any:
        first = 1 if self.data_format == "channels_last" else 2
        for axis, times in enumerate(self.size, first):
            inputs = tg.repeat_interleave(inputs, times, dim=axis)
        return inputs

    def compute_output_shape(self, input_shape: Any) -> tuple:
        sizes = list(input_shape)
        first = 1 if self.data_format == "channels_last" else 2
        for axis, times in enumerate(self.size, first):
            if sizes[axis] is not None:
                sizes[axis] *= times
        return tuple(sizes)

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "size": self.size[0] if self.rank == 1 else self.size}
        if self.rank > 1:
            config["data_format"] = self.data_format
        return config


class UpSampling1D(_UpSampling):
    """Each step several times. Shape: (N, steps, channels)."""

    rank = 1

    def __init__(self, size: int = 2, **kwargs: Any) -> None:
        super().__init__(size, "channels_last", **kwargs)


class UpSampling2D(_UpSampling):
    """Images enlarged by whole factors: ``interpolation`` is ``"nearest"``, ``"bilinear"`` or
    ``"bicubic"``. Raises ValueError for another word."""

    rank = 2

    def __init__(
        self,
        size: Any = (2, 2),
        data_format: str | None = None,
        interpolation: str = "nearest",
        **kwargs: Any,
    ) -> None:
        super().__init__(size, data_format, **kwargs)
        self.interpolation = interpolation.lower()
        if self.interpolation not in ("nearest", "bilinear", "bicubic"):
            raise ValueError(
                "UpSampling2D: argument 'interpolation': expected 'nearest', 'bilinear' or "
                "'bicubic', "
                f"got {interpolation!r}"
            )

    def call(self, inputs: Any) -> Any:
        if self.interpolation == "nearest":
            return super().call(inputs)
        last = self.data_format == "channels_last"
        x = channels_first(inputs) if last else inputs
        size = tuple(n * k for n, k in zip(x.shape[2:], self.size, strict=True))
        y = F.interpolate(x, size=size, mode=self.interpolation, antialias=False)
        return channels_last(y) if last else y

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "interpolation": self.interpolation}


class UpSampling3D(_UpSampling):
    """Each cell of a volume several times along each axis."""

    rank = 3


class ZeroPadding1D(_ZeroPadding):
    """Zeros before and after a sequence. Raises ValueError for another number of sizes."""

    rank = 1


class ZeroPadding2D(_ZeroPadding):
    """Zeros around images. Raises ValueError for another number of sizes."""

    rank = 2


class ZeroPadding3D(_ZeroPadding):
    """Zeros around volumes. Raises ValueError for another number of sizes."""

    rank = 3


class Cropping1D(_Cropping):
    """Sequences without their first and last steps. Raises ValueError if nothing would be left."""

    rank = 1

    def __init__(self, cropping: Any = (1, 1), **kwargs: Any) -> None:
        super().__init__(cropping, None, **kwargs)


class Cropping2D(_Cropping):
    """Images without their edges. Raises ValueError if nothing would be left."""

    rank = 2

    def __init__(
        self, cropping: Any = ((0, 0), (0, 0)), data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(cropping, data_format, **kwargs)


class Cropping3D(_Cropping):
    """Volumes without their edges. Raises ValueError if nothing would be left."""

    rank = 3

    def __init__(
        self,
        cropping: Any = ((1, 1), (1, 1), (1, 1)),
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(cropping, data_format, **kwargs)


own_module(globals())
