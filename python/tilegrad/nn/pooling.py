"""Pooling layers: maximum or mean over windows of the last one to three dimensions."""

from __future__ import annotations

from typing import Any

from . import functional as F
from .module import Module

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
]


class _MaxPool(Module):
    """What the layers share; they differ in the number of dimensions."""

    _function: Any

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Any) -> Any:
        return self._function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """The maximum of each window of (batch, channels, length); see :class:`MaxPool2d`."""

    _function = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    """The maximum of each window; ``stride`` defaults to ``kernel_size``.

    With ``return_indices`` also its position in the flattened plane.
    """

    _function = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPool):
    """The maximum of each window of (batch, channels, depth, height, width); see MaxPool2d."""

    _function = staticmethod(F.max_pool3d)


class _MaxUnpool(Module):
    """What the layers share; they differ in the number of dimensions."""

    _function: Any
    _ndim: int

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        self.kernel_size = self._sizes(kernel_size)
        self.stride = self.kernel_size if stride is None else self._sizes(stride)
        self.padding = self._sizes(padding)

    def _sizes(self, value: Any) -> tuple:
        return tuple(value) if isinstance(value, (tuple, list)) else (value,) * self._ndim

    def forward(self, input: Any, indices: Any, output_size: Any = None) -> Any:
        return self._function(
            input, indices, self.kernel_size, self.stride, self.padding, output_size
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Puts the maxima of :class:`MaxPool1d` back to their places; all else is zero."""

    _function, _ndim = staticmethod(F.max_unpool1d), 1


class MaxUnpool2d(_MaxUnpool):
    """Puts the maxima of :class:`MaxPool2d` back to their places; all else is zero."""

    _function, _ndim = staticmethod(F.max_unpool2d), 2


class MaxUnpool3d(_MaxUnpool):
    """Puts the maxima of :class:`MaxPool3d` back to their places; all else is zero."""

    _function, _ndim = staticmethod(F.max_unpool3d), 3


class AvgPool1d(Module):
    """The mean of each window of (batch, channels, length); see :class:`AvgPool2d`."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = self._single(kernel_size)
        self.stride = self._single(kernel_size if stride is None else stride)
        self.padding = self._single(padding)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    @staticmethod
    def _single(value: Any) -> tuple:
        return tuple(value) if isinstance(value, (tuple, list)) else (value,)

    def forward(self, input: Any) -> Any:
        return F.avg_pool1d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPool(Module):
    """What the layers share; they differ in the number of dimensions."""

    _function: Any

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input: Any) -> Any:
        return self._function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPool):
    """The mean of each window; ``stride`` defaults to ``kernel_size``.

    ``count_include_pad``: whether padding counts as elements; ``divisor_override`` replaces the
    count.
    """

    _function = staticmethod(F.avg_pool2d)


class AvgPool3d(_AvgPool):
    """The mean of each window of (batch, channels, depth, height, width); see AvgPool2d."""

    _function = staticmethod(F.avg_pool3d)


class _LPPool(Module):
    """What the layers share; they differ in the number of dimensions."""

    _function: Any

    def __init__(
        self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type, self.kernel_size = norm_type, kernel_size
        self.stride, self.ceil_mode = stride, ceil_mode

    def forward(self, input: Any) -> Any:
        return self._function(
            input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode
        )

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """``sum(x ** norm_type) ** (1 / norm_type)`` over windows of (batch, channels, length)."""

    _function = staticmethod(F.lp_pool1d)


class LPPool2d(_LPPool):
    """``sum(x ** norm_type) ** (1 / norm_type)`` over windows of height and width."""

    _function = staticmethod(F.lp_pool2d)


class LPPool3d(_LPPool):
    """``sum(x ** norm_type) ** (1 / norm_type)`` over windows of depth, height and width."""

    _function = staticmethod(F.lp_pool3d)


class _AdaptiveAvgPool(Module):
    """What the layers share; they differ in the number of dimensions."""

    _function: Any

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Any) -> Any:
        return self._function(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """The mean of as many windows of (batch, channels, length) as ``output_size`` says."""

    _function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """The mean of as many windows as ``output_size`` says; None keeps a size."""

    _function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """The mean of as many windows of depth, height and width as ``output_size`` says."""

    _function = staticmethod(F.adaptive_avg_pool3d)


class _AdaptiveMaxPool(Module):
    """What the layers share; they differ in the number of dimensions."""

    _function: Any

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, input: Any) -> Any:
        return self._function(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The maximum of as many windows of (batch, channels, length) as ``output_size`` says."""

    _function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The maximum of as many windows as ``output_size`` says; None keeps a size."""

    _function = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The maximum of as many windows of depth, height and width as ``output_size`` says."""

    _function = staticmethod(F.adaptive_max_pool3d)
