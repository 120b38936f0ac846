"""Batch normalization."""

from __future__ import annotations

from typing import Any

from .. import _C
from ..autograd.graph import needs_grad, record
from ._register import takes_tensors

__all__ = ["batch_norm"]


@takes_tensors
def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """``(input - mean) / sqrt(var + eps) * weight + bias``, with one mean and variance per channel.

    Shapes: input (N, C), (N, C, L), (N, C, H, W) or more dimensions; all others (C), of the input's
    floating dtype. When ``training``, mean and (biased) variance are those of the batch, and
    ``running_mean`` and ``running_var``, unless None, move towards them in place by the share
    ``momentum``, the variance unbiased. Otherwise the running ones are used.

    Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal
    Covariate Shift" (2015).

    Raises ValueError for a single value per channel when training and for a negative ``eps``,
    RuntimeError for sizes and dtypes that do not match or missing statistics, NotImplementedError
    for integers.
    """
    return _normalize(
        input, running_mean, running_var, weight, bias, training, momentum, eps, False, None
    )


@takes_tensors
def batch_norm_relu(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    residual: Any = None,
) -> Any:
    """``relu(batch_norm(input, ...) + residual)`` in one pass, forward and backward.

    ``residual`` has the input's shape and dtype, or is None. All else, errors included, is as in
    :func:`batch_norm`; RuntimeError also for a residual that does not fit.
    """
    return _normalize(
        input, running_mean, running_var, weight, bias, training, momentum, eps, True, residual
    )


def _normalize(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any,
    bias: Any,
    training: bool,
    momentum: float,
    eps: float,
    relu: bool,
    residual: Any,
) -> Any:
    if training and eps == 0:
        raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
    if eps < 0:
        raise ValueError(f"batch_norm eps must be non-negative, but got {eps}")
    if input.ndim == 1:
        return _without_channels(input, running_mean, running_var, relu)
    if training:
        _check_count(input)
        output, mean, rstd = _C.batch_norm_train(
            input, running_mean, running_var, weight, bias, float(momentum), eps, relu, residual
        )
    else:
        for name, value in (("running_mean", running_mean), ("running_var", running_var)):
            if value is None:
                raise RuntimeError(f"batch_norm: {name} must be defined in evaluation mode")
        half = running_var.dtype.itemsize == 2  # only the output is rounded
        mean = running_mean
        rstd = _C.batch_norm_rstd(running_var.detach().float() if half else running_var, eps)
        output = _C.batch_norm(input, mean, rstd, weight, bias, relu, residual)
    if needs_grad(input, weight, bias, residual):
        # Copies of running statistics: later batches change those in place.
        mean = mean if training else mean.detach().clone()
        saved = (input, weight, mean, rstd, training, eps, output if relu else None)
        record(output, batch_norm_backward, (input, weight, bias, residual), saved)
    return output


def _without_channels(input: Any, running_mean: Any, running_var: Any, relu: bool) -> Any:
    """A vector has no channels: PyTorch takes an empty one, with statistics of no elements."""
    if input.shape[0] > 0:
        raise IndexError(
            "batch_norm: argument 'input': expected at least 2 dimensions (batch, channels, ...), "
            f"got shape {tuple(input.shape)}: Dimension out of range"
        )
    for name, value in (("running_mean", running_mean), ("running_var", running_var)):
        if value is not None and value.numel():
            raise RuntimeError(f"{name} should contain 0 elements not {value.numel()}")
    return input.relu() if relu else input.clone()


def _check_count(input: Any) -> None:
    count = input.numel() // max(input.shape[1], 1) if input.ndim > 1 else 0
    if count == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {input.shape}"
        )


def batch_norm_backward(node: Any, grad: Any) -> tuple:
    input, weight, mean, rstd, training, _, output = node.saved
    if _C.is_grad_enabled():  # the gradient is to be differentiated: built from other ops
        return _recorded_backward(node, grad)
    grad_input, grad_weight, grad_bias, grad_residual = _C.batch_norm_backward(
        grad, input, mean, rstd, weight, training, node.needs(0), output, node.needs(3)
    )
    return (
        grad_input,
        grad_weight if node.needs(1) else None,
        grad_bias if node.needs(2) else None,
        grad_residual,
    )


def _recorded_backward(node: Any, grad: Any) -> tuple:
    """The formulas of csrc/ops/batchnorm.cpp, with mean and rstd as functions of the input."""
    input, weight, mean, rstd, training, eps, output = node.saved
    dims = (0, *range(2, input.ndim))
    shape = (1, -1, *(1,) * (input.ndim - 2))
    count = input.numel() // max(input.shape[1], 1)
    if output is not None:
        grad = grad.masked_fill(output.detach() <= 0, 0)
    grad_residual = grad if node.needs(3) else None
    if training and count > 0:
        centered = input - input.sum(dims, keepdim=True) / count
        rstd = ((centered * centered).sum(dims, keepdim=True) / count + eps) ** -0.5
    else:
        centered, rstd = input - mean.reshape(shape), rstd.reshape(shape)
    normal = centered * rstd
    grad_bias = grad.sum(dims)
    grad_weight = (grad * normal).sum(dims)
    scale = rstd if weight is None else rstd * weight.reshape(shape)
    if training and count > 0:
        grad = grad - (grad_bias / count).reshape(shape)
        grad = grad - normal * (grad_weight / count).reshape(shape)
    return (
        grad * scale if node.needs(0) else None,
        grad_weight if node.needs(1) else None,
        grad_bias if node.needs(2) else None,
        grad_residual,
    )
