"""``inputs @ kernel + bias`` with Keras's layout of the kernel, (inputs, units).

``linear`` of the transposed kernel would give the same, but its gradient would come transposed, and
an optimizer would have to copy it in every step.
"""

from __future__ import annotations

from typing import Any

from ... import _C, _autocast
from ...autograd.graph import needs_grad, record
from ...ops.activation import _relu_grad
from ...ops.matmul import linear, linear_relu, matmul

__all__ = ["dense", "dense_relu"]


def dense(input: Any, kernel: Any, bias: Any) -> Any:
    """``input @ kernel + bias``: (..., n) by (n, units). Errors are those of ``linear``."""
    if _autocast.enabled and _autocast.is_on():
        return linear(input, kernel.t(), bias)
    output = _C.linear(input, kernel.detach().t(), bias)
    if needs_grad(input, kernel, bias):
        record(output, dense_backward, (input, kernel, bias), (input, kernel))
    return output


def dense_relu(input: Any, kernel: Any, bias: Any) -> Any:
    """The same, negative results being zero, in one pass."""
    if _autocast.enabled and _autocast.is_on():
        return linear_relu(input, kernel.t(), bias)
    output = _C.linear(input, kernel.detach().t(), bias, "relu")
    if needs_grad(input, kernel, bias):
        record(output, dense_relu_backward, (input, kernel, bias), (input, kernel, output))
    return output


# Up to so many units, the gradient of the transposed kernel and its copy cost less.
_FEW_UNITS = 16


def _grad_kernel_bias(input: Any, grad: Any, biased: bool) -> tuple[Any, Any]:
    """The gradients of kernel and bias; (rows, n) and (rows, units) to (n, units) and (units)."""
    fused = not (needs_grad(grad, input) or grad.dtype is _C.bfloat16)
    if fused and grad.shape[1] <= _FEW_UNITS and grad.numel() and input.numel():
        grad_kernel, grad_bias = _C.linear_grad_weight(grad, input)
        return grad_kernel.t().contiguous(), grad_bias
    return matmul(input.t(), grad), grad.sum(0) if biased else None


def dense_backward(node: Any, grad: Any) -> tuple:
    return _gradients(node, grad, *node.saved)


def dense_relu_backward(node: Any, grad: Any) -> tuple:
    input, kernel, output = node.saved
    return _gradients(node, _relu_grad(grad, output), input, kernel)


def _gradients(node: Any, grad: Any, input: Any, kernel: Any) -> tuple:
    shape, grad_input = input.shape, None
    if grad.ndim != 2:  # the products see one batch of rows
        grad = grad.reshape(-1, kernel.shape[1])
        input = input.reshape(-1, kernel.shape[0])
    if node.needs(0):
        grad_input = matmul(grad, kernel.t())
        grad_input = grad_input if len(shape) == 2 else grad_input.reshape(shape)
    grad_kernel = grad_bias = None
    if node.needs(1):
        grad_kernel, grad_bias = _grad_kernel_bias(input, grad, node.needs(2))
    elif node.needs(2):
        grad_bias = grad.sum(0)
    return grad_input, grad_kernel, grad_bias
