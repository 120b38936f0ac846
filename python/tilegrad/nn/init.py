"""Filling parameters with their first values: the functions of ``torch.nn.init``.

All write in place, unrecorded, and return the tensor. Given the same seed they draw the same
numbers as PyTorch, in the same order.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import _C
from ..autograd.mode import no_grad
from ..ops._register import takes_tensors
from ..ops.fill import empty_like
from ..ops.where import where

__all__ = [
    "calculate_gain",
    "constant",
    "constant_",
    "dirac",
    "dirac_",
    "eye",
    "eye_",
    "kaiming_normal",
    "kaiming_normal_",
    "kaiming_uniform",
    "kaiming_uniform_",
    "normal",
    "normal_",
    "ones_",
    "orthogonal",
    "orthogonal_",
    "sparse",
    "sparse_",
    "trunc_normal_",
    "uniform",
    "uniform_",
    "xavier_normal",
    "xavier_normal_",
    "xavier_uniform",
    "xavier_uniform_",
    "zeros_",
]


@takes_tensors
def uniform_(tensor: Any, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Any:
    """Numbers uniform in [a, b).

    Any shape; floating dtypes. Raises TypeError for what is not a tensor, RuntimeError for ``a``
    above ``b``.
    """
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)


@takes_tensors
def normal_(tensor: Any, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Any:
    """Normal numbers.

    Mean ``mean`` and deviation ``std``. Any shape; floating dtypes. Raises TypeError for what is
    not a tensor, RuntimeError for a negative ``std``.
    """
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)


@takes_tensors
def trunc_normal_(
    tensor: Any,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Any = None,
) -> Any:
    """Normal numbers, those outside [a, b] drawn anew until they lie inside.

    Warns if ``mean`` is more than two ``std`` outside the interval.

    Any shape; floating dtypes. Raises TypeError for what is not a tensor, ValueError unless ``std``
    is positive.
    """
    if not std > 0:
        raise ValueError(f"trunc_normal_: argument 'std': expected a positive number, got {std}")
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. "
            "The distribution of values may be incorrect.",
            stacklevel=2,
        )

    def distribution(x: float) -> float:
        return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0

    inside = distribution((b - mean) / std) - distribution((a - mean) / std)
    with no_grad():
        # Rejection sampling, from the distribution that is rejected less often. As in PyTorch every
        # round draws for all elements, and only those still outside take the new number.
        if inside > 0.3:
            return _redrawn_normal(tensor, mean, std, a, b, generator)
        return _accepted_uniform(tensor, mean, std, a, b, generator)


def _redrawn_normal(
    tensor: Any, mean: float, std: float, a: float, b: float, generator: Any
) -> Any:
    low, high = (tensor.new_tensor(bound).item() for bound in (a, b))  # as the dtype holds them
    tensor.normal_(mean, std, generator=generator)
    while (outside := (tensor < low) | (tensor > high)).any():
        fresh = empty_like(tensor).normal_(mean, std, generator=generator)
        tensor.copy_(where(outside, fresh, tensor))
    return tensor


def _accepted_uniform(
    tensor: Any, mean: float, std: float, a: float, b: float, generator: Any
) -> Any:
    """Uniform candidates, each accepted with the ratio of its density to the largest in [a, b]."""
    peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2
    pending = None
    while pending is None or pending.any():
        candidates = empty_like(tensor).uniform_(a, b, generator=generator)
        tensor.copy_(candidates if pending is None else where(pending, candidates, tensor))
        density = ((candidates - mean) / std) ** 2 * -0.5 - peak
        refused = empty_like(tensor).uniform_(generator=generator).log() > density
        pending = refused if pending is None else pending & refused
    return tensor


@takes_tensors
def constant_(tensor: Any, val: float) -> Any:
    """One number everywhere.

    Any shape and dtype. Raises TypeError for what is not a tensor, RuntimeError for a number that
    the dtype cannot hold.
    """
    with no_grad():
        return tensor.fill_(val)


@takes_tensors
def ones_(tensor: Any) -> Any:
    """Ones.

    Any shape and dtype. Raises TypeError for what is not a tensor.
    """
    return constant_(tensor, 1.0)


@takes_tensors
def zeros_(tensor: Any) -> Any:
    """Zeros.

    Any shape and dtype. Raises TypeError for what is not a tensor.
    """
    return constant_(tensor, 0.0)


@takes_tensors
def eye_(tensor: Any) -> Any:
    """The identity, for a matrix; ValueError for other tensors."""
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    with no_grad():
        tensor.zero_()
        _C.fill_(_C.diagonal(tensor.detach(), 0, 0, 1), 1)
    return tensor


@takes_tensors
def dirac_(tensor: Any, groups: int = 1) -> Any:
    """A convolution weight (3 to 5 dimensions) that passes as many channels on as it can, per
    group.

    Raises ValueError for other numbers of dimensions and for channels that groups do not divide.
    """
    if tensor.ndim not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    out_channels, in_channels, *kernel = tensor.shape
    if out_channels % groups != 0:
        raise ValueError("dim 0 must be divisible by groups")
    per_group = out_channels // groups
    center = tuple(size // 2 for size in kernel)
    with no_grad():
        tensor.zero_()
        for group in range(groups):
            for channel in range(min(per_group, in_channels)):
                place = tensor.detach()
                for index in (group * per_group + channel, channel, *center):
                    place = _C.select(place, 0, index)
                _C.fill_(place, 1)
    return tensor


def calculate_gain(nonlinearity: str, param: Any = None) -> float:
    """The factor that keeps a signal's scale through a nonlinearity.

    1 for linear layers and sigmoid, 5/3 for tanh, sqrt(2) for relu, sqrt(2 / (1 + slope^2)) for
    leaky_relu (``param`` is the slope, 0.01 by default), 3/4 for selu. ValueError for other names.
    """
    linear = ["linear"] + [f"conv{way}{n}d" for way in ("", "_transpose") for n in (1, 2, 3)]
    if nonlinearity in linear or nonlinearity == "sigmoid":
        return 1
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        if param is None:
            slope = 0.01
        elif isinstance(param, (int, float)) and not isinstance(param, bool):
            slope = param
        else:
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def _calculate_fan_in_and_fan_out(tensor: Any) -> tuple[int, int]:
    """Inputs per output and outputs per input of a weight (outputs, inputs, *kernel)."""
    if tensor.ndim < 2:
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions"
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _fan(tensor: Any, mode: str) -> int:
    if not isinstance(mode, str):
        raise TypeError(f"argument 'mode': expected a string, got {type(mode).__name__}")
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return fan_in if mode == "fan_in" else fan_out


@takes_tensors
def xavier_uniform_(tensor: Any, gain: float = 1.0, generator: Any = None) -> Any:
    """Uniform of standard deviation gain * sqrt(2 / (fan_in + fan_out)) (Glorot, Bengio, 2010).

    ``tensor``: (outputs, inputs, *kernel), floating. Raises ValueError for fewer than two
    dimensions.
    """
    bound = math.sqrt(3.0) * _xavier_std(tensor, gain)
    return uniform_(tensor, -bound, bound, generator)


@takes_tensors
def xavier_normal_(tensor: Any, gain: float = 1.0, generator: Any = None) -> Any:
    """Normal of standard deviation gain * sqrt(2 / (fan_in + fan_out)) (Glorot, Bengio, 2010).

    ``tensor``: (outputs, inputs, *kernel), floating. Raises ValueError for fewer than two
    dimensions.
    """
    return normal_(tensor, 0.0, _xavier_std(tensor, gain), generator)


def _xavier_std(tensor: Any, gain: float) -> float:
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return gain * math.sqrt(2.0 / float(fan_in + fan_out))


@takes_tensors
def kaiming_uniform_(
    tensor: Any,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Any:
    """Uniform of standard deviation gain / sqrt(fan) (He et al., 2015).

    ``a`` is the slope of leaky_relu; ``mode`` keeps the scale of the forward (fan_in) or of the
    backward pass (fan_out).

    ``tensor``: (outputs, inputs, *kernel), floating. Raises ValueError for fewer than two
    dimensions and for another ``mode`` or ``nonlinearity``.
    """
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


@takes_tensors
def kaiming_normal_(
    tensor: Any,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Any:
    """Normal of standard deviation gain / sqrt(fan) (He et al., 2015).

    The arguments are those of :func:`kaiming_uniform_`. ``tensor``: (outputs, inputs, *kernel),
    floating. Raises ValueError for fewer than two dimensions and for another ``mode`` or
    ``nonlinearity``.
    """
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def _kaiming_std(tensor: Any, a: float, mode: str, nonlinearity: str) -> float:
    fan = _fan(tensor, mode)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


@takes_tensors
def orthogonal_(tensor: Any, gain: float = 1, generator: Any = None) -> Any:
    """Orthonormal rows or columns, whichever are fewer (Saxe et al., 2013), times ``gain``.

    Dimensions after the first count as one. Raises ValueError for fewer than two dimensions.
    """
    if tensor.ndim < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    rows, columns = tensor.shape[0], tensor.numel() // tensor.shape[0]
    drawn = _C.empty((rows, columns), tensor.dtype, _C.device("cpu"))
    normal_(drawn, generator=generator)
    matrix = drawn.numpy()
    q, r = np.linalg.qr(matrix.T if rows < columns else matrix)
    q = q * np.sign(np.diag(r))  # makes the distribution uniform
    q = q.T if rows < columns else q
    with no_grad():
        tensor.copy_(_C.from_numpy(np.ascontiguousarray(q)).reshape(tensor.shape))
        return tensor.mul_(gain)


@takes_tensors
def sparse_(tensor: Any, sparsity: float, std: float = 0.01, generator: Any = None) -> Any:
    """Normal numbers, of which the fraction ``sparsity`` of each column is zero (Martens, 2010).

    Raises ValueError unless the tensor is a matrix.
    """
    from ..ops.random import randperm

    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    normal_(tensor, 0, std, generator)
    with no_grad():
        for column in range(columns):
            for row in randperm(rows)[:zeros].tolist():
                _C.fill_(_C.select(_C.select(tensor.detach(), 0, row), 0, column), 0)
    return tensor


def _old_name(function: Callable[..., Any]) -> Callable[..., Any]:
    """The name without the underscore, which warns and does the same."""
    name = function.__name__[:-1]

    def initialize(*args: Any, **kwargs: Any) -> Any:
        warnings.warn(
            f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`.",
            FutureWarning,
            stacklevel=2,
        )
        return function(*args, **kwargs)

    initialize.__name__ = initialize.__qualname__ = name
    initialize.__doc__ = f"The old name of :func:`{function.__name__}`, with a FutureWarning."
    return initialize


constant = _old_name(constant_)
dirac = _old_name(dirac_)
eye = _old_name(eye_)
kaiming_normal = _old_name(kaiming_normal_)
kaiming_uniform = _old_name(kaiming_uniform_)
normal = _old_name(normal_)
orthogonal = _old_name(orthogonal_)
sparse = _old_name(sparse_)
uniform = _old_name(uniform_)
xavier_normal = _old_name(xavier_normal_)
xavier_uniform = _old_name(xavier_uniform_)
