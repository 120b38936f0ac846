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

_DTYPES = (_C.float32, _C.float64)  # of _C.dense_gradients


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
    grad_bias = None
    if grad.dtype not in _DTYPES or needs_grad(grad, input, kernel):
        grad_input = matmul(grad, kernel.t()) if node.needs(0) else None
        grad_kernel = matmul(input.t(), grad) if node.needs(1) else None
    else:
        grad_input, grad_kernel, grad_bias = _C.dense_gradients(
            grad, input, kernel, node.needs(0), node.needs(1)
        )
    if grad_input is not None and len(shape) != 2:
        grad_input = grad_input.reshape(shape)
    if not node.needs(2):
        grad_bias = None
    elif grad_bias is None:
        grad_bias = grad.sum(0)
    return grad_input, grad_kernel, grad_bias
