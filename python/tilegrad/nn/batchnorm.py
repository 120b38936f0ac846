"""Batch normalization layers."""

from __future__ import annotations

from typing import Any

from .. import _C
from ..ops.fill import ones, tensor, zeros
from . import functional as F
from . import init
from .linear import new_parameter
from .module import Module

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm"]


def _ndim(input: Any) -> int:
    if not isinstance(input, _C.TensorBase):
        raise TypeError(f"batch_norm: expected a Tensor, got {type(input).__name__}")
    return input.ndim


class _BatchNorm(Module):
    """What the layers share; they differ in the inputs they accept."""

    _version = 2  # 1 had no num_batches_tracked
    weight: Any
    bias: Any
    running_mean: Any
    running_var: Any
    num_batches_tracked: Any

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        for name, present in (("weight", affine), ("bias", affine and bias)):
            made = new_parameter(num_features, dtype=dtype, device=device) if present else None
            self.register_parameter(name, made)
        if track_running_stats:
            self.register_buffer("running_mean", zeros(num_features, dtype=dtype, device=device))
            self.register_buffer("running_var", ones(num_features, dtype=dtype, device=device))
            self.register_buffer("num_batches_tracked", tensor(0, dtype=_C.int64, device=device))
        else:
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                self.register_buffer(name, None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forgets the statistics: mean 0, variance 1."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Weight one, bias zero, no statistics."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check_input_dim(self, input: Any) -> None:
        raise NotImplementedError

    def forward(self, input: Any) -> Any:
        return self._normalize(F.batch_norm, input)

    def _normalize(self, batch_norm: Any, input: Any) -> Any:
        """``batch_norm(input, ...)`` with this layer's tensors; counts the batch in training."""
        self._check_input_dim(input)
        factor = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            _C.add_(self.num_batches_tracked, 1)
            if self.momentum is None:  # the plain average of all batches
                factor = 1.0 / float(self.num_batches_tracked)
        keeps = not self.training or self.track_running_stats
        return batch_norm(
            input,
            self.running_mean if keeps else None,
            self.running_var if keeps else None,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            factor,
            self.eps,
        )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: dict, *rest: Any
    ) -> None:
        version = local_metadata.get("version")
        key = prefix + "num_batches_tracked"
        if (version is None or version < 2) and self.track_running_stats and key not in state_dict:
            known = self.num_batches_tracked
            state_dict[key] = tensor(0, dtype=_C.int64) if known is None else known
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


class BatchNorm1d(_BatchNorm):
    """Normalizes each channel of (batch, channels) or (batch, channels, length) over the rest.

    ``(x - mean) / sqrt(variance + eps) * weight + bias``: in training mean and (biased) variance
    are the batch's, and the running ones move towards them by ``momentum`` (None: plain average)
    with the unbiased variance; in evaluation the running ones are used, unless
    ``track_running_stats=False``. Ioffe and Szegedy, "Batch Normalization", 2015.

    Raises ValueError for other numbers of dimensions.
    """

    def _check_input_dim(self, input: Any) -> None:
        if _ndim(input) not in (2, 3):
            raise ValueError(f"expected 2D or 3D input (got {input.ndim}D input)")


class BatchNorm2d(_BatchNorm):
    """Normalizes each channel of (batch, channels, height, width); see :class:`BatchNorm1d`."""

    def _check_input_dim(self, input: Any) -> None:
        if _ndim(input) != 4:
            raise ValueError(f"expected 4D input (got {input.ndim}D input)")


class BatchNorm3d(_BatchNorm):
    """Normalizes each channel of (batch, channels, depth, height, width); see BatchNorm1d."""

    def _check_input_dim(self, input: Any) -> None:
        if _ndim(input) != 5:
            raise ValueError(f"expected 5D input (got {input.ndim}D input)")


class SyncBatchNorm(_BatchNorm):
    """Batch normalization over all processes of a group: here one, so that of this process.

    Inputs are (batch, channels, ...) with any number of dimensions from 2 on; ValueError otherwise.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)
        self.process_group = process_group

    def _check_input_dim(self, input: Any) -> None:
        if _ndim(input) < 2:
            raise ValueError(f"expected at least 2D input (got {_ndim(input)}D input)")

    @classmethod
    def convert_sync_batchnorm(cls, module: Any, process_group: Any = None) -> Any:
        """The module with every batch normalization in it replaced, with the same tensors."""
        if isinstance(module, _BatchNorm) and not isinstance(module, cls):
            options = (module.eps, module.momentum, module.affine, module.track_running_stats)
            made = cls(module.num_features, *options, process_group)
            for name, value in {**module._parameters, **module._buffers}.items():
                registry = "_parameters" if name in module._parameters else "_buffers"
                made._put(registry, name, value)
            return made.train(module.training)
        for name, child in module.named_children():
            setattr(module, name, cls.convert_sync_batchnorm(child, process_group))
        return module
