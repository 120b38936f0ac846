"""Convolutions: Conv1D to Conv3D, depthwise, separable.

Images have their channels last, as everywhere in Keras; the kernels of tilegrad want them first.
Between two convolutions no copy is made: what one returns is a view of a tensor with channels
first, of which the next takes the view back.
"""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ...ops.conv2d import conv2d_relu
from .. import activations
from ..config import standardize_data_format
from ..registry import own_module
from .core import Weighted
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

__all__ = [
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "SeparableConv1D",
    "SeparableConv2D",
]

_CONVOLVE = {1: tg.conv1d, 2: tg.conv2d, 3: tg.conv3d}


class BaseConvolution(Weighted):
    """What all convolutions share: options, padding, the order of axes."""

    rank: int
    _paddings: tuple[str, ...] = ("valid", "same")

    def _set_geometry(self, options: dict[str, Any]) -> None:
        rank = self.rank
        self.kernel_size = per_axis(options["kernel_size"], rank, "kernel_size")
        self.strides = per_axis(options["strides"], rank, "strides")
        self.dilation_rate = per_axis(options["dilation_rate"], rank, "dilation_rate")
        self.padding = str(options["padding"]).lower()
        if self.padding not in self._paddings:
            raise ValueError(
                f"{type(self).__name__}: argument 'padding': expected one of {self._paddings}, got "
                f"{options['padding']!r}"
            )
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                "`strides > 1` not supported in conjunction with `dilation_rate > 1`. Received: "
                f"strides={self.strides} and dilation_rate={self.dilation_rate}"
            )
        self.data_format = standardize_data_format(options["data_format"])
        self.activation = activations.get(options["activation"])
        self.use_bias = options["use_bias"]
        self._set_options(options)
        self.input_spec = InputSpec(ndim=rank + 2)

    def _channels(self, input_shape: Any) -> int:
        axis = -1 if self.data_format == "channels_last" else 1
        if input_shape[axis] is None:
            raise ValueError(
                "The channel dimension of the inputs should be defined. The input_shape received "
                "is "
                f"{tuple(input_shape)}, where axis {axis} (0-based) is the channel dimension, "
                "which "
                "found to be `None`."
            )
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={axis: input_shape[axis]})
        return input_shape[axis]

    def _padded(self, x: Any) -> tuple[Any, Any]:
        """The input with the padding that the kernels cannot do, and the padding that they can."""
        if self.padding == "valid":
            return x, 0
        pads = [
            same_padding(n, k, s, d)
            for n, k, s, d in zip(
                x.shape[2:], self.kernel_size, self.strides, self.dilation_rate, strict=True
            )
        ]
        if self.padding == "causal":
            return pad_spatial(x, [((self.kernel_size[0] - 1) * self.dilation_rate[0], 0)]), 0
        if all(before == after for before, after in pads):
            return x, tuple(before for before, _ in pads)
        return pad_spatial(x, pads), 0

    def _convolve(self, x: Any, weight: Any, bias: Any, groups: int) -> Any:
        """(N, C, ...) by a weight (K, C / groups, ...)."""
        x, padding = self._padded(x)
        return _CONVOLVE[self.rank](
            x, weight, bias, self.strides, padding, self.dilation_rate, groups
        )

    def _output_sizes(self, input_shape: Any) -> tuple:
        sizes = spatial_sizes(input_shape, self.data_format)
        try:
            return tuple(
                sliding_size(n, k, s, self.padding, d)
                for n, k, s, d in zip(
                    sizes, self.kernel_size, self.strides, self.dilation_rate, strict=True
                )
            )
        except ValueError as error:
            raise ValueError(
                f'Layer "{self.name}": {error}. Full shape received: {tuple(input_shape)}'
            ) from None

    def _geometry_config(self) -> dict[str, Any]:
        return {
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            **self._options_config(),
        }


class Convolution(BaseConvolution):
    """A convolution of any rank."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        groups: int = 1,
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
        if groups <= 0 or filters % groups:
            raise ValueError(
                "The number of filters must be evenly divisible by the number of groups. Received: "
                f"groups={groups}, filters={filters}."
            )
        self.filters, self.groups = filters, groups
        self._set_geometry(locals())

    def build(self, input_shape: Any) -> None:
        channels = self._channels(input_shape)
        if channels % self.groups:
            raise ValueError(
                "The number of input channels must be evenly divisible by the number of groups. "
                f"Received groups={self.groups}, but the input has {channels} channels (full input "
                f"shape is {tuple(input_shape)})."
            )
        self._output_sizes(input_shape)
        shape = (*self.kernel_size, channels // self.groups, self.filters)
        self.kernel = self._weight("kernel", shape)
        self.bias = self._weight("bias", (self.filters,)) if self.use_bias else None

    def call(self, inputs: Any) -> Any:
        last = self.data_format == "channels_last"
        x = channels_first(inputs) if last else inputs
        rank = self.rank
        weight = self.kernel.permute(rank + 1, rank, *range(rank))
        if rank == 2 and self.activation is activations.relu:
            x, padding = self._padded(x)
            options = (self.strides, padding, self.dilation_rate, self.groups)
            y = conv2d_relu(x, weight, self.bias, options)
        else:
            y = self._convolve(x, weight, self.bias, self.groups)
            y = self.activation(y)
        return channels_last(y) if last else y

    def compute_output_shape(self, input_shape: Any) -> tuple:
        sizes = self._output_sizes(input_shape)
        return with_channels(input_shape, sizes, self.filters, self.data_format)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "groups": self.groups,
            **self._geometry_config(),
        }


class Conv1D(Convolution):
    """Filters slid along sequences. Shapes: (N, steps, channels) to (N, new steps, filters).

    ``padding``: ``"valid"``, ``"same"`` or ``"causal"``, which looks at the past only. Raises
    ValueError for other words, sizes that are not positive, ``filters`` or channels that ``groups``
    does not divide, and for an input of another rank or number of channels than the first.
    """

    rank = 1
    _paddings = ("valid", "same", "causal")


class Conv2D(Convolution):
    """Filters slid over images. Shapes: (N, height, width, channels) to (N, new height, new width,
    filters), or with the channels first by ``data_format``.

    Errors are those of :class:`Conv1D`; ``padding`` is ``"valid"`` or ``"same"``.
    """

    rank = 2


class Conv3D(Convolution):
    """Filters slid over volumes. Shapes: (N, depth, height, width, channels) to (N, ..., filters).

    Errors are those of :class:`Conv1D`; ``padding`` is ``"valid"`` or ``"same"``.
    """

    rank = 3


class DepthwiseConvolution(BaseConvolution):
    """A convolution of each channel by itself."""

    _WEIGHTS = ("depthwise", "bias")

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        if not isinstance(depth_multiplier, int) or depth_multiplier <= 0:
            raise ValueError(
                "Invalid value for argument `depth_multiplier`. Expected a strictly positive "
                "value. "
                f"Received depth_multiplier={depth_multiplier}."
            )
        self.depth_multiplier = depth_multiplier
        self._set_geometry(locals())

    def build(self, input_shape: Any) -> None:
        channels = self._channels(input_shape)
        self._output_sizes(input_shape)
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.kernel = self._weight("kernel", shape, "depthwise")
        count = channels * self.depth_multiplier
        self.bias = self._weight("bias", (count,)) if self.use_bias else None

    def call(self, inputs: Any) -> Any:
        last = self.data_format == "channels_last"
        x = channels_first(inputs) if last else inputs
        y = self._convolve(x, depthwise_weight(self.kernel), self.bias, x.shape[1])
        y = self.activation(y)
        return channels_last(y) if last else y

    def compute_output_shape(self, input_shape: Any) -> tuple:
        axis = -1 if self.data_format == "channels_last" else 1
        count = input_shape[axis] * self.depth_multiplier
        return with_channels(input_shape, self._output_sizes(input_shape), count, self.data_format)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "depth_multiplier": self.depth_multiplier,
            **self._geometry_config(),
        }


def depthwise_weight(kernel: Any) -> Any:
    """Keras's (..., channels, multiplier) as (channels * multiplier, 1, ...)."""
    rank = kernel.ndim - 2
    moved = kernel.permute(rank, rank + 1, *range(rank))
    return moved.reshape(-1, 1, *kernel.shape[:rank])


class DepthwiseConv1D(DepthwiseConvolution):
    """``depth_multiplier`` filters for each channel of a sequence. Shapes: (N, steps, channels) to
    (N, new steps, channels * depth_multiplier). Errors are those of :class:`Conv1D`."""

    rank = 1


class DepthwiseConv2D(DepthwiseConvolution):
    """``depth_multiplier`` filters for each channel of an image. Shapes: (N, height, width,
    channels) to (N, ..., channels * depth_multiplier). Errors are those of :class:`Conv1D`."""

    rank = 2


class SeparableConvolution(BaseConvolution):
    """A depthwise convolution, then one of size 1 across channels."""

    _WEIGHTS = ("depthwise", "pointwise", "bias")

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        for name, value in (("filters", filters), ("depth_multiplier", depth_multiplier)):
            if not isinstance(value, int) or value <= 0:
                raise ValueError(
                    f"Invalid value for argument `{name}`. Expected a strictly positive value. "
                    f"Received {name}={value}."
                )
        self.filters, self.depth_multiplier = filters, depth_multiplier
        self._set_geometry(locals())

    def build(self, input_shape: Any) -> None:
        channels = self._channels(input_shape)
        self._output_sizes(input_shape)
        between = channels * self.depth_multiplier
        self.depthwise_kernel = self._weight(
            "depthwise_kernel", (*self.kernel_size, channels, self.depth_multiplier), "depthwise"
        )
        ones = (1,) * self.rank
        self.pointwise_kernel = self._weight(
            "pointwise_kernel", (*ones, between, self.filters), "pointwise"
        )
        self.bias = self._weight("bias", (self.filters,)) if self.use_bias else None

    def call(self, inputs: Any) -> Any:
        last, rank = self.data_format == "channels_last", self.rank
        x = channels_first(inputs) if last else inputs
        y = self._convolve(x, depthwise_weight(self.depthwise_kernel), None, x.shape[1])
        weight = self.pointwise_kernel.permute(rank + 1, rank, *range(rank))
        y = self.activation(_CONVOLVE[rank](y, weight, self.bias))
        return channels_last(y) if last else y

    def compute_output_shape(self, input_shape: Any) -> tuple:
        sizes = self._output_sizes(input_shape)
        return with_channels(input_shape, sizes, self.filters, self.data_format)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "depth_multiplier": self.depth_multiplier,
            **self._geometry_config(),
        }


class SeparableConv1D(SeparableConvolution):
    """A depthwise and then a pointwise convolution of sequences. Shapes and errors are those of
    :class:`Conv1D`."""

    rank = 1


class SeparableConv2D(SeparableConvolution):
    """A depthwise and then a pointwise convolution of images. Shapes and errors are those of
    :class:`Conv2D`."""

    rank = 2


own_module(globals())
Convolution1D, Convolution2D, Convolution3D = Conv1D, Conv2D, Conv3D
SeparableConvolution1D, SeparableConvolution2D = SeparableConv1D, SeparableConv2D
