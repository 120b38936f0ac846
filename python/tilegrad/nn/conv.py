"""Convolution layers, plain and transposed, of one to three dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from . import functional as F
from . import init
from .linear import new_parameter
from .module import Module

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def _sizes(op: str, name: str, value: Any, count: int) -> tuple[int, ...]:
    """A size per dimension from one number or several; ValueError for anything else."""
    values = (value,) * count if isinstance(value, int) else value
    if name != "kernel_size" and isinstance(values, (tuple, list)) and len(values) == 1:
        values = tuple(values) * count
    if (
        not isinstance(values, (tuple, list))
        or len(values) != count
        or not all(isinstance(x, int) for x in values)
    ):
        text = {1: "an int", 2: "an int or two", 3: "an int or three"}[count]
        raise ValueError(f"{op}: argument '{name}': expected {text}, got {value!r}")
    return tuple(values)


class _ConvNd(Module):
    """What all convolution layers share: sizes, parameters, how they print."""

    dims: int
    transposed = False
    function: Callable[..., Any]

    def _setup(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        output_padding: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups != 0:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups != 0:
            raise ValueError("out_channels must be divisible by groups")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = self._positive_sizes("kernel_size", kernel_size)
        self.stride = self._positive_sizes("stride", stride)
        self.dilation = self._positive_sizes("dilation", dilation)
        self.output_padding = self._own_sizes("output_padding", output_padding)
        self.padding = self._checked_padding(padding)
        if padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"padding_mode must be one of {_PADDING_MODES}, but got {padding_mode=}"
            )
        self.padding_mode = padding_mode
        first, second = in_channels, out_channels
        if not self.transposed:
            first, second = second, first
        shape = (first, second // groups, *self.kernel_size)
        self.weight = new_parameter(*shape, dtype=dtype, device=device)
        if bias:
            self.bias = new_parameter(out_channels, dtype=dtype, device=device)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _own_sizes(self, name: str, value: Any) -> tuple[int, ...]:
        return _sizes(type(self).__name__, name, value, self.dims)

    def _positive_sizes(self, name: str, value: Any) -> tuple[int, ...]:
        sizes = self._own_sizes(name, value)
        if min(sizes) < 1:
            raise ValueError(
                f"{type(self).__name__}: argument '{name}': expected positive sizes, got {sizes}"
            )
        return sizes

    def _checked_padding(self, padding: Any) -> Any:
        if not isinstance(padding, str) or self.transposed:
            sizes = self._own_sizes("padding", padding)
            if min(sizes) < 0:
                raise ValueError(
                    f"{type(self).__name__}: argument 'padding': expected no negative, got {sizes}"
                )
            return sizes
        if padding not in ("same", "valid"):
            raise ValueError(
                f"Invalid padding string {padding!r}, should be one of {{'same', 'valid'}}"
            )
        if padding == "same" and any(step != 1 for step in self.stride):
            raise ValueError("padding='same' is not supported for strided convolutions")
        return padding

    def _frame(self) -> list[int]:
        """The padding as ``F.pad`` takes it: before and behind, the last dimension first."""
        frame = []
        for d in reversed(range(self.dims)):
            if self.padding == "same":
                total = self.dilation[d] * (self.kernel_size[d] - 1)
                frame += [total // 2, total - total // 2]
            else:
                size = 0 if self.padding == "valid" else self.padding[d]
                frame += [size, size]
        return frame

    def reset_parameters(self) -> None:
        """Draws the weight and the bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in != 0:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Any) -> Any:
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._frame(), self.padding_mode), 0
        return type(self).function(
            input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )

    def extra_repr(self) -> str:
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        for name, usual in (("padding", 0), ("dilation", 1), ("output_padding", 0)):
            if getattr(self, name) != (usual,) * self.dims:
                text += f", {name}={getattr(self, name)}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        return text if self.padding_mode == "zeros" else f"{text}, padding_mode={self.padding_mode}"


class _Conv(_ConvNd):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        sizes = (kernel_size, stride, padding, dilation, 0)
        self._setup(in_channels, out_channels, *sizes, groups, bias, padding_mode, device, dtype)


class Conv1d(_Conv):
    """Cross-correlation of signals with learned kernels.

    (batch, in_channels, length) -> (batch, out_channels, length'), options and parameters as in
    :class:`Conv2d` with one number instead of two.
    """

    dims, function = 1, F.conv1d


class Conv2d(_Conv):
    """Cross-correlation of images with learned kernels.

    (batch, in_channels, height, width) -> (batch, out_channels, height', width'), where height' is
    ``(height + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1``; the batch may be
    missing. ``weight`` is (out_channels, in_channels / groups, *kernel_size), ``bias``
    (out_channels); both start uniform in ±1/sqrt(fan in). ``padding`` may be "valid" (none) or
    "same" (the size is kept; stride 1 only). ``padding_mode``: "zeros", or "reflect", "replicate"
    or "circular" as in :func:`pad`.

    Raises ValueError for sizes that make no sense and channels that ``groups`` does not divide.
    """

    dims, function = 2, F.conv2d


class Conv3d(_Conv):
    """Cross-correlation of volumes with learned kernels.

    (batch, in_channels, depth, height, width) -> (batch, out_channels, depth', height', width'),
    options and parameters as in :class:`Conv2d` with three numbers instead of two.
    """

    dims, function = 3, F.conv3d


class _ConvTranspose(_ConvNd):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        sizes = (kernel_size, stride, padding, dilation, output_padding)
        self._setup(in_channels, out_channels, *sizes, groups, bias, padding_mode, device, dtype)

    def forward(self, input: Any, output_size: Any = None) -> Any:
        output_padding: Any = self.output_padding
        if output_size is not None:
            output_padding = self._output_padding(input, output_size)
        return type(self).function(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            output_padding,
            self.groups,
            self.dilation,
        )

    def _output_padding(self, input: Any, output_size: Any) -> tuple[int, ...]:
        """What leads to ``output_size``, given with or without the leading dimensions."""
        sizes, dims, name = list(output_size), self.dims, type(self).__name__
        if len(sizes) == input.ndim:
            sizes = sizes[-dims:]
        if len(sizes) != dims:
            raise ValueError(
                f"{name}: for {input.ndim}D input, output_size must have {dims} or {input.ndim} "
                f"elements (got {len(output_size)})"
            )
        smallest = [
            (input.shape[d - dims] - 1) * self.stride[d]
            - 2 * self.padding[d]
            + self.dilation[d] * (self.kernel_size[d] - 1)
            + 1
            for d in range(dims)
        ]
        largest = [low + step - 1 for low, step in zip(smallest, self.stride, strict=True)]
        if any(s < a or s > b for s, a, b in zip(sizes, smallest, largest, strict=True)):
            raise ValueError(
                f"requested an output size of {output_size}, but valid sizes range from {smallest} "
                f"to {largest} (for an input of {tuple(input.shape[-dims:])})"
            )
        return tuple(size - low for size, low in zip(sizes, smallest, strict=True))


class ConvTranspose1d(_ConvTranspose):
    """The transpose of :class:`Conv1d`: signals that grow by ``stride``.

    (batch, in_channels, length) -> (batch, out_channels, length'), options and parameters as in
    :class:`ConvTranspose2d` with one number instead of two.
    """

    dims, function = 1, F.conv_transpose1d


class ConvTranspose2d(_ConvTranspose):
    """The transpose of :class:`Conv2d`, its gradient for the input: images that grow by ``stride``.

    (batch, in_channels, height, width) -> (batch, out_channels, height', width'), where height' is
    ``(height - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1``; the
    batch may be missing. ``weight`` is (in_channels, out_channels / groups, *kernel_size), ``bias``
    (out_channels). ``forward(input, output_size=...)`` chooses the output padding.

    Raises ValueError for sizes that make no sense, channels that ``groups`` does not divide, and
    another ``padding_mode`` than "zeros".
    """

    dims, function = 2, F.conv_transpose2d


class ConvTranspose3d(_ConvTranspose):
    """The transpose of :class:`Conv3d`: volumes that grow by ``stride``.

    (batch, in_channels, depth, height, width) -> (batch, out_channels, depth', height', width'),
    options and parameters as in :class:`ConvTranspose2d` with three numbers instead of two.
    """

    dims, function = 3, F.conv_transpose3d
