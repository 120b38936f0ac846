"""Batch, layer, group, RMS, unit and spectral normalization."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ...nn import functional as F
from ..registry import own_module
from .core import Weighted
from .input_spec import InputSpec
from .layer import Layer
from .wrapper import Wrapper

__all__ = [
    "BatchNormalization",
    "GroupNormalization",
    "LayerNormalization",
    "RMSNormalization",
    "SpectralNormalization",
    "UnitNormalization",
]


class BatchNormalization(Weighted):
    """Mean 0 and variance 1 for each channel, those of the batch in training, moving averages
    otherwise; then ``gamma`` times that plus ``beta`` (Ioffe and Szegedy, 2015).

    ``axis`` is that of the channels; ``momentum`` is the weight of the old average. While it is not
    ``trainable`` the averages are used and kept in training too. Raises ValueError for an axis that
    the input lacks.
    """

    _WEIGHTS = ("beta", "gamma")

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: Any = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if renorm:
            raise NotImplementedError("BatchNormalization: renorm=True is not supported")
        self.axis = int(axis[0] if isinstance(axis, (list, tuple)) else axis)
        self.momentum, self.epsilon = momentum, epsilon
        self.center, self.scale = center, scale
        self._set_options(locals())
        from .. import initializers

        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        if not -len(input_shape) <= self.axis < len(input_shape):
            raise ValueError(
                f'Layer "{self.name}": axis={self.axis} is out of bounds for an input of shape '
                f"{tuple(input_shape)}"
            )
        size = input_shape[self.axis]
        self.gamma = self._weight("gamma", (size,)) if self.scale else None
        self.beta = self._weight("beta", (size,)) if self.center else None
        self.moving_mean = self._weight("moving_mean", (size,), trainable=False)
        self.moving_variance = self._weight("moving_variance", (size,), trainable=False)
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: size})

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        axis = self.axis % inputs.ndim
        x = inputs if axis == 1 else tg.moveaxis(inputs, axis, 1)
        if training and self.trainable:
            y = self._with_mask(x, mask) if mask is not None else self._of_batch(x)
        else:
            y = F.batch_norm(
                x, self.moving_mean, self.moving_variance, self.gamma, self.beta, False, 0.0,
                self.epsilon,
            )  # fmt: skip
        return y if axis == 1 else tg.moveaxis(y, 1, axis)

    def _of_batch(self, x: Any) -> Any:
        count = x.numel() // max(x.shape[1], 1)
        if count < 2:  # a variance of zero, which the kernel refuses
            return self._with_mask(x, tg.ones((x.shape[0], *x.shape[2:]), dtype=tg.bool))
        # The kernel gives the batch's mean and unbiased variance; Keras averages the biased one.
        mean, variance = tg.zeros_like(self.moving_mean), tg.zeros_like(self.moving_mean)
        y = F.batch_norm(x, mean, variance, self.gamma, self.beta, True, 1.0, self.epsilon)
        self._move(mean, variance, (count - 1) / count)
        return y

    def _move(self, mean: Any, variance: Any, factor: float = 1.0) -> None:
        share = 1 - self.momentum
        with tg.no_grad():
            self.moving_mean.mul_(self.momentum).add_(mean.detach(), alpha=share)
            self.moving_variance.mul_(self.momentum).add_(variance.detach(), alpha=share * factor)

    def _with_mask(self, x: Any, mask: Any) -> Any:
        """Mean and variance over what the mask (N, ...) leaves."""
        weight = mask.to(x.dtype).unsqueeze(1)
        while weight.ndim < x.ndim:
            weight = weight.unsqueeze(-1)
        weight = weight.expand(x.shape[0], 1, *x.shape[2:])
        axes = (0, *range(2, x.ndim))
        count = weight.sum()
        shape = (1, -1, *[1] * (x.ndim - 2))
        mean = (x * weight).sum(axes) / count
        variance = ((x - mean.reshape(shape)) ** 2 * weight).sum(axes) / count
        self._move(mean, variance)
        y = (x - mean.reshape(shape)) * tg.rsqrt(variance + self.epsilon).reshape(shape)
        if self.gamma is not None:
            y = y * self.gamma.reshape(shape)
        return y if self.beta is None else y + self.beta.reshape(shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        from .. import initializers

        return {
            **super().get_config(),
            "axis": self.axis,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            **self._options_config(),
            "moving_mean_initializer": initializers.serialize(self.moving_mean_initializer),
            "moving_variance_initializer": initializers.serialize(self.moving_variance_initializer),
        }


class LayerNormalization(Weighted):
    """Mean 0 and variance 1 over the last axes of each sample; then ``gamma`` times that plus
    ``beta`` (Ba et al., 2016). ``axis`` is one axis or several. Raises ValueError for
    ``rms_scaling``, which is :class:`RMSNormalization`."""

    _WEIGHTS = ("beta", "gamma")

    def __init__(
        self,
        axis: Any = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        if kwargs.pop("rms_scaling", False):
            raise ValueError("LayerNormalization: use RMSNormalization in place of rms_scaling")
        super().__init__(**kwargs)
        self.axis = list(axis) if isinstance(axis, (list, tuple)) else axis
        self.epsilon, self.center, self.scale = epsilon, center, scale
        self._set_options(locals())
        self.supports_masking = True

    def _axes(self, rank: int) -> list[int]:
        axes = self.axis if isinstance(self.axis, list) else [self.axis]
        return sorted(a % rank for a in axes)

    def build(self, input_shape: Any) -> None:
        shape = tuple(input_shape[a] for a in self._axes(len(input_shape)))
        self.gamma = self._weight("gamma", shape) if self.scale else None
        self.beta = self._weight("beta", shape) if self.center else None

    def call(self, inputs: Any) -> Any:
        rank = inputs.ndim
        axes = self._axes(rank)
        last = axes == list(range(rank - len(axes), rank))
        rest = [a for a in range(rank) if a not in axes]
        x = inputs if last else inputs.permute(*rest, *axes)
        shape = [inputs.shape[a] for a in axes]
        y = F.layer_norm(x, shape, self.gamma, self.beta, self.epsilon)
        if last:
            return y
        order = rest + axes
        return y.permute(*(order.index(a) for a in range(rank)))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "axis": self.axis,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            **self._options_config(),
        }


class RMSNormalization(Layer):
    """Root mean square 1 over an axis, times ``scale`` (Zhang and Sennrich, 2019)."""

    def __init__(self, axis: Any = -1, epsilon: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis, self.epsilon = axis, epsilon
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        axes = self.axis if isinstance(self.axis, (list, tuple)) else [self.axis]
        shape = tuple(input_shape[a] for a in axes)
        self.scale = self.add_weight(name="scale", shape=shape, initializer="ones")

    def call(self, inputs: Any) -> Any:
        axes = self.axis if isinstance(self.axis, (list, tuple)) else [self.axis]
        axes = [a % inputs.ndim for a in axes]
        square = tg.mean(inputs * inputs, dim=tuple(axes), keepdim=True)
        shape = [n if a in axes else 1 for a, n in enumerate(inputs.shape)]
        return inputs * tg.rsqrt(square + self.epsilon) * self.scale.reshape(shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis, "epsilon": self.epsilon}


class GroupNormalization(Weighted):
    """Mean 0 and variance 1 for each group of channels of each sample; then ``gamma`` times that
    plus ``beta`` (Wu and He, 2018). ``groups=-1`` gives each channel its own group.

    Raises ValueError if ``groups`` does not divide the number of channels.
    """

    _WEIGHTS = ("beta", "gamma")

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.groups, self.axis, self.epsilon = groups, axis, epsilon
        self.center, self.scale = center, scale
        self._set_options(locals())
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        size = input_shape[self.axis]
        if size is None:
            raise ValueError(
                f"Axis {self.axis} of input tensor should have a defined dimension but the layer "
                f"received an input with shape {tuple(input_shape)}."
            )
        if self.groups == -1:
            self.groups = size
        if size < self.groups or size % self.groups:
            raise ValueError(
                f"Number of groups ({self.groups}) must be a divisor of the number of channels "
                f"({size})."
            )
        self.gamma = self._weight("gamma", (size,)) if self.scale else None
        self.beta = self._weight("beta", (size,)) if self.center else None
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: size})

    def call(self, inputs: Any) -> Any:
        axis = self.axis % inputs.ndim
        x = inputs if axis == 1 else tg.moveaxis(inputs, axis, 1)
        y = F.group_norm(x, self.groups, self.gamma, self.beta, self.epsilon)
        return y if axis == 1 else tg.moveaxis(y, 1, axis)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "groups": self.groups,
            "axis": self.axis,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            **self._options_config(),
        }


class UnitNormalization(Layer):
    """Euclidean norm 1 along an axis or several. Raises TypeError for another kind of axis."""

    def __init__(self, axis: Any = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(axis, (int, list, tuple)):
            raise TypeError(
                "Invalid value for `axis` argument: expected an int or a list/tuple of ints. "
                f"Received: axis={axis}"
            )
        self.axis = list(axis) if isinstance(axis, (list, tuple)) else axis
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any) -> Any:
        axes = tuple(self.axis) if isinstance(self.axis, list) else self.axis
        square = tg.sum(inputs * inputs, dim=axes, keepdim=True)
        return inputs * tg.rsqrt(square.clamp(min=1e-12))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}


class SpectralNormalization(Wrapper):
    """A layer whose kernel is divided by its largest singular value, found by ``power_iterations``
    steps in each training call (Miyato et al., 2018). Raises ValueError for a number of steps that
    is not positive and for a layer without kernel or embeddings."""

    def __init__(self, layer: Any, power_iterations: int = 1, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        if not power_iterations > 0:
            raise ValueError(
                "`power_iterations` should be greater than zero. Received: "
                f"`power_iterations={power_iterations}`"
            )
        self.power_iterations = power_iterations

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        kernel = getattr(self.layer, "kernel", getattr(self.layer, "embeddings", None))
        if kernel is None:
            raise ValueError(
                f"{type(self.layer).__name__} object has no attribute 'kernel' nor 'embeddings'"
            )
        self.kernel = kernel  # the order of weights is Keras's: kernel, vector, what else there is
        self.vector_u = self.add_weight(
            shape=(1, kernel.shape[-1]), initializer="truncated_normal", name="vector_u",
            trainable=False,
        )  # fmt: skip

    def call(self, inputs: Any, training: Any = False) -> Any:
        if training:
            self._normalize()
        return self.layer(inputs)

    def _normalize(self) -> None:
        with tg.no_grad():
            matrix = self.kernel.detach().reshape(-1, self.kernel.shape[-1])
            u = self.vector_u.detach()
            for _ in range(self.power_iterations):
                v = u @ matrix.t()
                v = v * tg.rsqrt((v * v).sum().clamp(min=1e-12))
                u = v @ matrix
                u = u * tg.rsqrt((u * u).sum().clamp(min=1e-12))
            sigma = v @ matrix @ u.t()
            self.vector_u.assign(u)
            self.kernel.assign(self.kernel / sigma.reshape(()))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "power_iterations": self.power_iterations}


own_module(globals())
