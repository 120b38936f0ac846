"""Convolution layers."""

from __future__ import annotations

import math
from typing import Any

from . import functional as F
from . import init
from .linear import new_parameter
from .module import Module

__all__ = ["Conv2d"]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def pair(op: str, name: str, value: Any) -> tuple[int, int]:
    """A size per dimension from one number or two; ValueError for anything else."""
    values = (value, value) if isinstance(value, int) else value
    if (
        not isinstance(values, (tuple, list))
        or len(values) != 2
        or not all(isinstance(x, int) for x in values)
    ):
        raise ValueError(f"{op}: argument '{name}': expected an int or two, got {value!r}")
    return tuple(values)


class Conv2d(Module):
    """Cross-correlation of images with learned kernels.

    (batch, in_channels, height, width) -> (batch, out_channels, height', width'), where height' is
    ``(height + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1``; the batch may be
    missing. ``weight`` is (out_channels, in_channels / groups, *kernel_size), ``bias``
    (out_channels); both start uniform in ±1/sqrt(fan in). ``padding`` may be "valid" (none) or
    "same" (the size is kept; stride 1 only). The only ``padding_mode`` so far is "zeros".

    Raises ValueError for sizes that make no sense and channels that ``groups`` does not divide.
    """

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
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups != 0:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups != 0:
            raise ValueError("out_channels must be divisible by groups")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = pair("Conv2d", "kernel_size", kernel_size)
        self.stride = pair("Conv2d", "stride", stride)
        self.dilation = pair("Conv2d", "dilation", dilation)
        for name in ("kernel_size", "stride", "dilation"):
            if min(getattr(self, name)) < 1:
                raise ValueError(
                    f"Conv2d: argument '{name}': expected positive sizes, got {getattr(self, name)}"
                )
        self.padding = self._checked_padding(padding)
        if padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"padding_mode must be one of {_PADDING_MODES}, but got {padding_mode=}"
            )
        if padding_mode != "zeros":
            raise NotImplementedError(f"Conv2d: {padding_mode=} is not supported yet, only 'zeros'")
        self.padding_mode = padding_mode
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = new_parameter(*shape, dtype=dtype, device=device)
        if bias:
            self.bias = new_parameter(out_channels, dtype=dtype, device=device)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _checked_padding(self, padding: Any) -> Any:
        if not isinstance(padding, str):
            padding = pair("Conv2d", "padding", padding)
            if min(padding) < 0:
                raise ValueError(f"Conv2d: argument 'padding': expected no negative, got {padding}")
            return padding
        if padding not in ("same", "valid"):
            raise ValueError(
                f"Invalid padding string {padding!r}, should be one of {{'same', 'valid'}}"
            )
        if padding == "same" and self.stride != (1, 1):
            raise ValueError("padding='same' is not supported for strided convolutions")
        return padding

    def reset_parameters(self) -> None:
        """Draws the weight and the bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in != 0:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Any) -> Any:
        return F.conv2d(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
        )

    def extra_repr(self) -> str:
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        if self.padding != (0, 0):
            text += f", padding={self.padding}"
        if self.dilation != (1, 1):
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        return text if self.bias is not None else text + ", bias=False"
