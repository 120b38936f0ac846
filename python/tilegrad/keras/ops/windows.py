"""Convolutions and pooling as functions of tensors and kernels, channels last or first."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ..config import standardize_data_format
from ..dtypes import convert_to_tensor
from ..op import op, to_float

__all__ = [
    "adaptive_average_pool", "adaptive_max_pool", "average_pool", "conv", "conv_transpose",
    "ctc_loss", "depthwise_conv", "max_pool", "separable_conv",
]  # fmt: skip


def _layer(name: str, rank: int, *args: Any, **options: Any) -> Any:
    """A layer without weights of its own: the functions here are those of the layers."""
    from .. import layers

    return getattr(layers, f"{name}{rank}D")(*args, **options)


def _pool(name: str, inputs: Any, pool_size: Any, strides: Any, padding: str, order: Any) -> Any:
    inputs = to_float(inputs)
    layer = _layer(name, inputs.ndim - 2, pool_size, strides, padding, order)
    return layer.call(inputs)


@op
def max_pool(
    inputs: Any,
    pool_size: Any,
    strides: Any = None,
    padding: str = "valid",
    data_format: Any = None,
) -> Any:
    """The largest number of each window. Raises ValueError for an unknown padding."""
    return _pool("MaxPooling", inputs, pool_size, strides, padding, data_format)


@op
def average_pool(
    inputs: Any,
    pool_size: Any,
    strides: Any = None,
    padding: str = "valid",
    data_format: Any = None,
) -> Any:
    """The mean of each window. Raises ValueError for an unknown padding."""
    return _pool("AveragePooling", inputs, pool_size, strides, padding, data_format)


@op
def adaptive_max_pool(inputs: Any, output_size: Any, data_format: Any = None) -> Any:
    """The largest number of each cell of a grid."""
    inputs = to_float(inputs)
    return _layer("AdaptiveMaxPooling", inputs.ndim - 2, output_size, data_format).call(inputs)


@op
def adaptive_average_pool(inputs: Any, output_size: Any, data_format: Any = None) -> Any:
    """The mean of each cell of a grid."""
    inputs = to_float(inputs)
    return _layer("AdaptiveAveragePooling", inputs.ndim - 2, output_size, data_format).call(inputs)


def _with(layer: Any, inputs: Any, **weights: Any) -> Any:
    layer.use_bias = False
    for name, value in {"bias": None, **weights}.items():
        layer.__dict__[name] = value
    return layer.call(inputs)


@op
def conv(
    inputs: Any, kernel: Any, strides: Any = 1, padding: str = "valid", data_format: Any = None,
    dilation_rate: Any = 1,
) -> Any:  # fmt: skip
    """A convolution with a kernel (..., channels / groups, filters)."""
    inputs, kernel = to_float(inputs), to_float(kernel)
    axis = -1 if standardize_data_format(data_format) == "channels_last" else 1
    groups = inputs.shape[axis] // kernel.shape[-2]
    layer = _layer(
        "Conv", inputs.ndim - 2, kernel.shape[-1], tuple(kernel.shape[:-2]), strides, padding,
        data_format, dilation_rate, groups,
    )  # fmt: skip
    return _with(layer, inputs, kernel=kernel)


@op
def depthwise_conv(
    inputs: Any, kernel: Any, strides: Any = 1, padding: str = "valid", data_format: Any = None,
    dilation_rate: Any = 1,
) -> Any:  # fmt: skip
    """A convolution of each channel by itself, kernel (..., channels, multiplier)."""
    inputs, kernel = to_float(inputs), to_float(kernel)
    layer = _layer(
        "DepthwiseConv", inputs.ndim - 2, tuple(kernel.shape[:-2]), strides, padding,
        kernel.shape[-1], data_format, dilation_rate,
    )  # fmt: skip
    return _with(layer, inputs, kernel=kernel)


@op
def separable_conv(
    inputs: Any, depthwise_kernel: Any, pointwise_kernel: Any, strides: Any = 1,
    padding: str = "valid", data_format: Any = None, dilation_rate: Any = 1,
) -> Any:  # fmt: skip
    """A depthwise convolution, then one across channels."""
    made = depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate)
    return conv(made, pointwise_kernel, 1, "valid", data_format)


@op
def conv_transpose(
    inputs: Any, kernel: Any, strides: Any = 1, padding: str = "valid", output_padding: Any = None,
    data_format: Any = None, dilation_rate: Any = 1,
) -> Any:  # fmt: skip
    """A transposed convolution with a kernel (..., filters, channels)."""
    inputs, kernel = to_float(inputs), to_float(kernel)
    from .. import layers

    layer = getattr(layers, f"Conv{inputs.ndim - 2}DTranspose")(
        kernel.shape[-2], tuple(kernel.shape[:-2]), strides, padding, output_padding, data_format,
        dilation_rate,
    )  # fmt: skip
    return _with(layer, inputs, kernel=kernel)


@op
def ctc_loss(
    target: Any, output: Any, target_length: Any, output_length: Any, mask_index: int = 0
) -> Any:
    """Connectionist temporal classification of logits (N, steps, classes)."""
    logs = tg.nn.functional.log_softmax(to_float(output), -1).transpose(0, 1)
    return tg.nn.functional.ctc_loss(
        logs, convert_to_tensor(target).long(), convert_to_tensor(output_length).long(),
        convert_to_tensor(target_length).long(), blank=mask_index, reduction="none",
    )  # fmt: skip
