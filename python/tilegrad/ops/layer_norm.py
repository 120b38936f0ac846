"""Normalization over the last dimensions: layer normalization and root mean square."""

from __future__ import annotations

from typing import Any

from .. import _C
from ..autograd.graph import needs_grad, record
from ._register import takes_tensors

__all__ = ["layer_norm", "rms_norm"]


def layer_norm(
    input: Any,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Any:
    """``(input - mean) / sqrt(var + eps) * weight + bias``, with mean and (biased) variance over
    the last dimensions, those of ``normalized_shape``.

    ``input``: any shape that ends with ``normalized_shape``, floating; ``weight`` and ``bias``, or
    None: that shape and dtype. ``cudnn_enable`` is accepted and changes nothing.

    Ba, Kiros and Hinton, "Layer Normalization" (2016).

    Raises RuntimeError for shapes and dtypes that do not match, NotImplementedError for integers,
    TypeError for what is not a tensor.
    """
    output, mean, rstd = _C.layer_norm(input, normalized_shape, weight, bias, eps, True)
    if needs_grad(input, weight, bias):
        saved = (input, normalized_shape, weight, mean, rstd, eps)
        record(output, layer_norm_backward, (input, weight, bias), saved)
    return output


@takes_tensors
def rms_norm(
    input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None
) -> Any:
    """``input / sqrt(mean(input ** 2) + eps) * weight``, with the mean over the last dimensions,
    those of ``normalized_shape``. Without ``eps`` it is the dtype's machine epsilon.

    ``input``: any shape that ends with ``normalized_shape``, floating; ``weight``, or None: that
    shape and dtype.

    Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019).

    Raises RuntimeError for shapes and dtypes that do not match, NotImplementedError for integers,
    TypeError for what is not a tensor.
    """
    if eps is None:
        eps = 2.0**-52 if input.dtype is _C.float64 else 2.0**-23
    output, _, rstd = _C.layer_norm(input, normalized_shape, weight, None, eps, False)
    if needs_grad(input, weight):
        saved = (input, normalized_shape, weight, None, rstd, eps)
        record(output, rms_norm_backward, (input, weight), saved)
    return output


def layer_norm_backward(node: Any, grad: Any) -> tuple:
    input, shape, weight, mean, rstd, _ = node.saved
    if _C.is_grad_enabled():  # the gradient is to be differentiated: built from other ops
        return _recorded_backward(node, grad, True)
    wants = (node.needs(0), node.needs(1), node.needs(2))
    return _C.layer_norm_backward(grad, input, shape, mean, rstd, weight, *wants)


def rms_norm_backward(node: Any, grad: Any) -> tuple:
    input, shape, weight, _, rstd, _ = node.saved
    if _C.is_grad_enabled():
        return _recorded_backward(node, grad, False)[:2]
    wants = (node.needs(0), node.needs(1), False)
    return _C.layer_norm_backward(grad, input, shape, None, rstd, weight, *wants)[:2]


def _recorded_backward(node: Any, grad: Any, centered: bool) -> tuple:
    """The formulas of csrc/ops/layer_norm.cpp, with mean and rstd as functions of the input."""
    input, shape, weight, _, _, eps = node.saved
    ndim = 1 if isinstance(shape, int) else len(shape)
    leading = tuple(range(input.ndim - ndim))
    dims = tuple(range(input.ndim - ndim, input.ndim))
    if centered:
        input = input - input.mean(dims, keepdim=True)
    normal = input * ((input * input).mean(dims, keepdim=True) + eps) ** -0.5
    scaled = grad if weight is None else grad * weight
    grad_input = scaled - normal * (scaled * normal).mean(dims, keepdim=True)
    if centered:
        grad_input = grad_input - scaled.mean(dims, keepdim=True)
    rstd = ((input * input).mean(dims, keepdim=True) + eps) ** -0.5
    product = grad * normal
    return (
        grad_input * rstd if node.needs(0) else None,
        (product.sum(leading) if leading else product) if node.needs(1) else None,
        (grad.sum(leading) if leading else grad) if centered and node.needs(2) else None,
    )
