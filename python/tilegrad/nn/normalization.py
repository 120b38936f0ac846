"""Normalization layers whose statistics belong to each sample."""

from __future__ import annotations

import warnings
from typing import Any

from . import functional as F
from . import init
from .batchnorm import _BatchNorm, _ndim
from .linear import new_parameter
from .module import Module

__all__ = [
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "LocalResponseNorm",
    "RMSNorm",
]


class _Affine(Module):
    """What the layers share: a weight that starts as ones and a bias that starts as zeros."""

    weight: Any
    bias: Any

    def _make(self, shape: tuple, names: tuple, present: tuple, device: Any, dtype: Any) -> None:
        for name, wanted in zip(names, present, strict=True):
            made = new_parameter(*shape, dtype=dtype, device=device) if wanted else None
            self.register_parameter(name, made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight one, bias zero."""
        if self.weight is not None:
            init.ones_(self.weight)
        if getattr(self, "bias", None) is not None:
            init.zeros_(self.bias)


class LayerNorm(_Affine):
    """Normalizes the last dimensions, those of ``normalized_shape``.

    ``(x - mean) / sqrt(variance + eps) * weight + bias``, where weight and bias, of
    ``normalized_shape``, exist with ``elementwise_affine``. Ba, Kiros and Hinton, "Layer
    Normalization", 2016.
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        one = isinstance(normalized_shape, int)
        self.normalized_shape = (normalized_shape,) if one else tuple(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        present = (elementwise_affine, elementwise_affine and bias)
        self._make(self.normalized_shape, ("weight", "bias"), present, device, dtype)

    def forward(self, input: Any) -> Any:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class RMSNorm(_Affine):
    """Divides by the root mean square over the last dimensions, those of ``normalized_shape``.

    ``x / sqrt(mean(x ** 2) + eps) * weight``, where the weight exists with ``elementwise_affine``;
    without ``eps`` it is the dtype's machine epsilon. Zhang and Sennrich, "Root Mean Square Layer
    Normalization", 2019.
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        one = isinstance(normalized_shape, int)
        self.normalized_shape = (normalized_shape,) if one else tuple(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self._make(self.normalized_shape, ("weight",), (elementwise_affine,), device, dtype)

    def forward(self, input: Any) -> Any:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(_Affine):
    """Normalizes groups of neighbouring channels of each sample: (batch, channels, ...).

    ``(x - mean) / sqrt(variance + eps) * weight + bias``, where weight and bias, one per channel,
    exist with ``affine``. Wu and He, "Group Normalization", 2018.

    Raises ValueError if ``num_groups`` does not divide ``num_channels``.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_groups == 0 or num_channels % num_groups != 0:
            raise ValueError(
                f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})"
            )
        self.num_groups, self.num_channels = num_groups, num_channels
        self.eps, self.affine = eps, affine
        self._make((num_channels,), ("weight", "bias"), (affine, affine and bias), device, dtype)

    def forward(self, input: Any) -> Any:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class _InstanceNorm(_BatchNorm):
    """What the layers share; they differ in the number of dimensions."""

    _dims: int  # of one sample, the channels included

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )

    def _check_input_dim(self, input: Any) -> None:
        if _ndim(input) not in (self._dims, self._dims + 1):
            raise ValueError(
                f"expected {self._dims}D or {self._dims + 1}D input (got {input.ndim}D input)"
            )

    def forward(self, input: Any) -> Any:
        self._check_input_dim(input)
        dim = input.ndim - self._dims
        if input.shape[dim] != self.num_features:
            if self.affine:
                raise ValueError(
                    f"expected input's size at dim={dim} to match num_features "
                    f"({self.num_features}), but got: {input.shape[dim]}."
                )
            warnings.warn(
                f"input's size at dim={dim} does not match num_features. You can silence this "
                "warning by not passing in num_features, which is not used because affine=False",
                stacklevel=2,
            )
        output = F.instance_norm(
            input if dim else input.unsqueeze(0),
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return output if dim else output.squeeze(0)


class InstanceNorm1d(_InstanceNorm):
    """Normalizes each channel of each sample: (batch, channels, length) or (channels, length).

    ``(x - mean) / sqrt(variance + eps) * weight + bias``, where weight and bias exist with
    ``affine``. With ``track_running_stats`` running statistics are kept in training and used in
    evaluation. Ulyanov, Vedaldi and Lempitsky, "Instance Normalization", 2016.

    Raises ValueError for other numbers of dimensions.
    """

    _dims = 2


class InstanceNorm2d(_InstanceNorm):
    """Normalizes each channel of (batch, channels, height, width); see :class:`InstanceNorm1d`."""

    _dims = 3


class InstanceNorm3d(_InstanceNorm):
    """Normalizes each channel of (batch, channels, depth, height, width); see InstanceNorm1d."""

    _dims = 4


class LocalResponseNorm(Module):
    """``x / (k + alpha * average) ** beta``, with the average of the squares of ``size``
    neighbouring channels of (batch, channels, ...).

    Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural
    Networks", 2012.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Any) -> Any:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
