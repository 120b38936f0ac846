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
    output = _C.dense(input, kernel, bias)
    if needs_grad(input, kernel, bias):
        record(output, dense_backward, (input, kernel, bias), (input, kernel))
    return output


def dense_relu(input: Any, kernel: Any, bias: Any) -> Any:
    """The same, negative results being zero, in one pass."""
    if _autocast.enabled and _autocast.is_on():
        return linear_relu(input, kernel.t(), bias)
    output = _C.dense(input, kernel, bias, "relu")
    if needs_grad(input, kernel, bias):
        record(output, dense_relu_backward, (input, kernel, bias), (input, kernel, output))
    return output


def dense_backward(node: Any, grad: Any) -> tuple:
    return _gradients(node, grad, *node.saved)


def dense_relu_backward(node: Any, grad: Any) -> tuple:
    input, kernel, output = node.saved
    return _gradients(node, _relu_grad(grad, output), input, kernel)


def _gradients(node: Any, grad: Any, input: Any, kernel: Any) -> tuple:
    shape = input.shape
    if grad.ndim != 2:  # the products see one batch of rows
        grad = grad.reshape(-1, kernel.shape[1])
        input = input.reshape(-1, kernel.shape[0])
    grad_input, grad_kernel, grad_bias = _products(node, grad, input, kernel)
    if grad_input is not None and len(shape) != 2:
        grad_input = grad_input.reshape(shape)
    if grad_bias is None and node.needs(2):
        grad_bias = grad.sum(0)
    return grad_input, grad_kernel, grad_bias


# Up to so many units, the gradient of the transposed kernel and its copy cost less.
_FEW_UNITS = 16


def _products(node: Any, grad: Any, input: Any, kernel: Any) -> tuple:
    """The gradients of input, kernel and, where it comes for nothing, bias: (rows, n) and
    (rows, units) to (rows, n), (n, units) and (units)."""
    if needs_grad(grad, input, kernel) or grad.dtype not in (_C.float32, _C.float64):
        return (
            matmul(grad, kernel.t()) if node.needs(0) else None,
            matmul(input.t(), grad) if node.needs(1) else None,
            None,
        )
    few = node.needs(1) and grad.shape[1] <= _FEW_UNITS and grad.numel() and input.numel()
    grad_input, grad_kernel = _C.dense_gradients(
        grad, input, kernel, node.needs(0), node.needs(1) and not few
    )
    if not few:
        return grad_input, grad_kernel, None
    grad_kernel, grad_bias = _C.linear_grad_weight(grad, input)
    return grad_input, grad_kernel.t().contiguous(), grad_bias if node.needs(2) else None
