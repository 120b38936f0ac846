"""softmax and log_softmax along one dimension."""

from __future__ import annotations

from typing import Any

from .. import _C
from ..autograd.graph import needs_grad, record
from ._register import method, takes_tensors

__all__ = ["log_softmax", "softmax"]


@method()
@takes_tensors
def softmax(input: Any, dim: int, dtype: Any = None) -> Any:
    """``exp(input) / sum(exp(input))`` along ``dim``: positive numbers with sum 1; the shape stays.

    ``dtype`` converts the input first. The maximum is subtracted, so large inputs do not overflow;
    a slice of nothing but minus infinity gives NaN. Raises IndexError for a dimension out of range,
    NotImplementedError unless the dtype is floating.
    """
    if dtype is not None:
        input = input.to(dtype)
    output = _C.softmax(input, dim)
    if needs_grad(input):
        record(output, softmax_backward, (input,), (output, dim))
    return output


def softmax_backward(node: Any, grad: Any) -> Any:
    output, dim = node.saved
    if needs_grad(grad, output):  # to be differentiated again
        weighted = grad * output
        return weighted - output * weighted.sum(dim, keepdim=True)
    return _C.softmax_backward(grad, output, dim)


@method()
@takes_tensors
def log_softmax(input: Any, dim: int, dtype: Any = None) -> Any:
    """``log(softmax(input, dim))``, without the loss of digits of taking both in turn.

    Arguments and errors as :func:`softmax`.
    """
    if dtype is not None:
        input = input.to(dtype)
    output = _C.log_softmax(input, dim)
    if needs_grad(input):
        record(output, log_softmax_backward, (input,), (output, dim))
    return output


def log_softmax_backward(node: Any, grad: Any) -> Any:
    output, dim = node.saved
    if needs_grad(grad, output):  # to be differentiated again
        return grad - output.exp() * grad.sum(dim, keepdim=True)
    return _C.log_softmax_backward(grad, output, dim)
