"""Two-dimensional convolution and its gradients.

The three kernels are three operations that express each other's gradients: all are linear in either
operand, so the derivative of each is one of the other two. That gives derivatives of every order.
"""

from __future__ import annotations

from typing import Any

from .. import _C, _autocast
from ..autograd.graph import needs_grad, record
from ._register import takes_tensors
from .activation import _relu_grad, relu

__all__ = ["conv2d"]


@takes_tensors
def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Every filter of ``weight`` slid over the images of ``input`` (a cross-correlation).

    Shapes: input (N, C, H, W) or (C, H, W), weight (K, C / groups, R, S), bias (K) -> output
    (N, K, H', W') with H' = (H + 2 * padding - dilation * (R - 1) - 1) // stride + 1.
    All of one floating dtype. ``stride``, ``padding`` and ``dilation`` are one integer or a pair
    (vertical, horizontal); ``padding`` may be 'valid' (none) or 'same' (output as large as the
    input, for stride 1). With ``groups``, group g of the filters sees group g of the channels only.
    From no channels come no channels: the output of C = 0 is (N, 0, H', W').

    Raises RuntimeError for shapes and dtypes that do not match, a stride, dilation or groups below
    1, negative padding, and a kernel larger than the padded input; NotImplementedError for
    integers.
    """
    if _autocast.enabled and _autocast.is_on():
        return _autocast.lower(conv2d, input, weight, bias, stride, padding, dilation, groups)
    if input.ndim == 3:
        return conv2d(input.unsqueeze(0), weight, bias, stride, padding, dilation, groups).squeeze(
            0
        )
    output = _C.conv2d(input, weight, bias, stride, padding, dilation, groups)
    if needs_grad(input, weight, bias):
        options = (stride, padding, dilation, groups)
        record(output, conv2d_backward, (input, weight, bias), (input, weight, options))
    return output


def conv2d_inference(
    input: Any,
    weight: Any,
    bias: Any,
    options: tuple,
    norm: tuple | None = None,
    residual: Any = None,
    relu: bool = False,
) -> Any:
    """``relu(batch_norm(conv2d(input, weight, bias, *options)) + residual)``, bit for bit what the
    operations give one by one, in one pass and without a gradient.

    ``norm`` is (mean, 1 / sqrt(variance + eps), weight, bias), each of shape (K) and the last two
    possibly None; ``residual`` has the output's shape and dtype. Each part may be left out.
    """
    norm = norm or (None, None, None, None)
    return _C.conv2d_inference(input, weight, bias, *options, *norm, residual, relu)


def conv2d_relu(input: Any, weight: Any, bias: Any, options: tuple) -> Any:
    """``relu(conv2d(input, weight, bias, *options))``, bit for bit, in one pass over the output.

    Shapes, dtypes and errors are those of :func:`conv2d`.
    """
    if input.ndim != 4 or (_autocast.enabled and _autocast.is_on()):
        return relu(conv2d(input, weight, bias, *options))
    output = conv2d_inference(input, weight, bias, options, relu=True)
    if needs_grad(input, weight, bias):
        saved = (input, weight, options, output)
        record(output, conv2d_relu_backward, (input, weight, bias), saved)
    return output


def conv2d_relu_backward(node: Any, grad: Any) -> tuple:
    *saved, output = node.saved
    return _gradients(node, _relu_grad(grad, output), *saved)


def conv2d_backward(node: Any, grad: Any) -> tuple:
    return _gradients(node, grad, *node.saved)


def _gradients(node: Any, grad: Any, input: Any, weight: Any, options: tuple) -> tuple:
    grad_input = conv2d_grad_input(grad, weight, input.shape, options) if node.needs(0) else None
    if node.needs(1) and node.needs(2) and not _C.is_grad_enabled():
        both = _C.conv2d_grad_weight_bias(grad, input, weight.shape, *options)
        return (grad_input, *both)
    return (
        grad_input,
        conv2d_grad_weight(grad, input, weight.shape, options) if node.needs(1) else None,
        bias_gradient(grad, weight) if node.needs(2) else None,
    )


def bias_gradient(grad: Any, weight: Any) -> Any:
    if weight.shape[1] == 0:  # the output had no channels
        return grad.new_zeros(weight.shape[0])
    return grad.sum((0, *range(2, grad.ndim)))


def conv2d_grad_input(grad_output: Any, weight: Any, input_shape: Any, options: tuple) -> Any:
    """The gradient for ``input``: a transposed convolution of ``grad_output``."""
    output = _C.conv2d_grad_input(grad_output, weight, input_shape, *options)
    if needs_grad(grad_output, weight):
        inputs = (grad_output, weight)
        record(output, conv2d_grad_input_backward, inputs, (grad_output, weight, options))
    return output


def conv2d_grad_input_backward(node: Any, grad: Any) -> tuple:
    grad_output, weight, options = node.saved
    return (
        conv2d(grad, weight, None, *options) if node.needs(0) else None,
        conv2d_grad_weight(grad_output, grad, weight.shape, options) if node.needs(1) else None,
    )


def conv2d_grad_weight(grad_output: Any, input: Any, weight_shape: Any, options: tuple) -> Any:
    """The gradient for ``weight``: ``input`` convolved with ``grad_output``, summed over N."""
    output = _C.conv2d_grad_weight(grad_output, input, weight_shape, *options)
    if needs_grad(grad_output, input):
        inputs = (grad_output, input)
        record(output, conv2d_grad_weight_backward, inputs, (grad_output, input, options))
    return output


def conv2d_grad_weight_backward(node: Any, grad: Any) -> tuple:
    grad_output, input, options = node.saved
    return (
        conv2d(input, grad, None, *options) if node.needs(0) else None,
        conv2d_grad_input(grad_output, grad, input.shape, options) if node.needs(1) else None,
    )
