"""Transposed convolutions: Conv1DTranspose to Conv3DTranspose."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ..registry import own_module
from .convolution import BaseConvolution
from .geometry import (
    channels_first,
    channels_last,
    pad_spatial,
    per_axis,
    spatial_sizes,
    with_channels,
)

__all__ = ["Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"]

_CONVOLVE = {1: tg.conv_transpose1d, 2: tg.conv_transpose2d, 3: tg.conv_transpose3d}


class TransposedConvolution(BaseConvolution):
    """The gradient of a convolution with respect to its input, as a layer."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        if not isinstance(filters, int) or filters <= 0:
            raise ValueError(
                "Invalid value for argument `filters`. Expected a strictly positive value. "
                "Received "
                f"filters={filters}."
            )
        self.filters = filters
        self._set_geometry(locals())
        self.output_padding = (
            None
            if output_padding is None
            else per_axis(output_padding, self.rank, "output_padding", allow_zero=True)
        )

    def build(self, input_shape: Any) -> None:
        shape = (*self.kernel_size, self.filters, self._channels(input_shape))
        self.kernel = self._weight("kernel", shape)
        self.bias = self._weight("bias", (self.filters,)) if self.use_bias else None

    def _cuts(self) -> list[tuple[int, int]]:
        """How much of the whole result to drop before and after each axis; negative adds zeros."""
        cuts = []
        for axis, (k, s, d) in enumerate(
            zip(self.kernel_size, self.strides, self.dilation_rate, strict=True)
        ):
            span = (k - 1) * d + 1
            extra = None if self.output_padding is None else self.output_padding[axis]
            if self.padding == "valid":
                cuts.append((0, -max(s - span, 0) if extra is None else -extra))
            elif extra is None:
                total = span - s
                before = max(total, 0) // 2
                cuts.append((before, total - before))
            else:
                cuts.append((span // 2, span // 2 - extra))
        return cuts

    def call(self, inputs: Any) -> Any:
        last, rank = self.data_format == "channels_last", self.rank
        x = channels_first(inputs) if last else inputs
        weight = self.kernel.permute(rank + 1, rank, *range(rank))
        y = _CONVOLVE[rank](x, weight, None, self.strides, dilation=self.dilation_rate)
        for axis, (before, after) in enumerate(self._cuts(), 2):
            y = y.narrow(axis, before, y.shape[axis] - before - max(after, 0))
        y = pad_spatial(y, [(0, max(-after, 0)) for _, after in self._cuts()])
        if self.bias is not None:
            y = y + self.bias.reshape(1, -1, *[1] * rank)
        y = self.activation(y)
        return channels_last(y) if last else y

    def compute_output_shape(self, input_shape: Any) -> tuple:
        sizes = [
            None if n is None else (n - 1) * s + (k - 1) * d + 1 - before - after
            for n, k, s, d, (before, after) in zip(
                spatial_sizes(input_shape, self.data_format),
                self.kernel_size,
                self.strides,
                self.dilation_rate,
                self._cuts(),
                strict=True,
            )
        ]
        return with_channels(input_shape, sizes, self.filters, self.data_format)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "output_padding": self.output_padding,
            **self._geometry_config(),
        }


class Conv1DTranspose(TransposedConvolution):
    """Sequences made longer by ``strides``. Shapes: (N, steps, channels) to (N, new steps,
    filters). Errors are those of :class:`Conv1D`."""

    rank = 1


class Conv2DTranspose(TransposedConvolution):
    """Images made larger by ``strides``. Shapes: (N, height, width, channels) to (N, new height,
    new width, filters). Errors are those of :class:`Conv2D`."""

    rank = 2


class Conv3DTranspose(TransposedConvolution):
    """Volumes made larger by ``strides``. Errors are those of :class:`Conv3D`."""

    rank = 3


own_module(globals())
Convolution1DTranspose, Convolution2DTranspose = Conv1DTranspose, Conv2DTranspose
Convolution3DTranspose = Conv3DTranspose
