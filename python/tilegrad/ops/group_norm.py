"""Group normalization."""

from __future__ import annotations

from typing import Any

from .. import _C
from ..autograd.graph import needs_grad, record

__all__ = ["group_norm"]


def group_norm(
    input: Any,
    num_groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Any:
    """``(input - mean) / sqrt(var + eps) * weight + bias``, with one mean and (biased) variance for
    each of ``num_groups`` groups of neighbouring channels of each sample.

    Shapes: input (N, C) or (N, C, ...), weight and bias (C) or None, all of one floating dtype;
    ``num_groups`` divides C. ``cudnn_enabled`` is accepted and changes nothing.

    Wu and He, "Group Normalization" (2018).

    Raises RuntimeError for sizes and dtypes that do not match, NotImplementedError for integers,
    TypeError for what is not a tensor.
    """
    output, mean, rstd = _C.group_norm(input, num_groups, weight, bias, eps)
    if needs_grad(input, weight, bias):
        saved = (input, num_groups, weight, mean, rstd, eps)
        record(output, group_norm_backward, (input, weight, bias), saved)
    return output


def group_norm_backward(node: Any, grad: Any) -> tuple:
    input, groups, weight, mean, rstd, _ = node.saved
    if _C.is_grad_enabled():  # the gradient is to be differentiated: built from other ops
        return _recorded_backward(node, grad)
    grad_input, grad_weight, grad_bias = _C.group_norm_backward(
        grad, input, groups, mean, rstd, weight, node.needs(0)
    )
    return (
        grad_input,
        grad_weight if node.needs(1) else None,
        grad_bias if node.needs(2) else None,
    )


def _recorded_backward(node: Any, grad: Any) -> tuple:
    """The formulas of csrc/ops/group_norm.cpp, with mean and rstd as functions of the input."""
    input, groups, weight, _, _, eps = node.saved
    batch, channels = input.shape[:2]
    grouped = (batch, groups, channels // groups, input.numel() // max(batch * channels, 1))
    x, g = input.reshape(grouped), grad.reshape(grouped)
    centered = x - x.mean((2, 3), keepdim=True)
    rstd = ((centered * centered).mean((2, 3), keepdim=True) + eps) ** -0.5
    normal = centered * rstd
    scaled = g if weight is None else g * weight.reshape(1, groups, -1, 1)
    grad_input = scaled - scaled.mean((2, 3), keepdim=True)
    grad_input = grad_input - normal * (scaled * normal).mean((2, 3), keepdim=True)
    return (
        (grad_input * rstd).reshape(input.shape) if node.needs(0) else None,
        (g * normal).sum((0, 3)).reshape(channels) if node.needs(1) else None,
        g.sum((0, 3)).reshape(channels) if node.needs(2) else None,
    )
