"""Cumulative products, extremes and log-sum-exps along one dimension; cumsum.py has the sums.

All keep the shape and raise IndexError for a dimension out of range.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from .. import _C
from ..autograd.graph import needs_grad, record
from ._register import composed_in_place, method, put_out, takes_tensors
from .cumsum import _cumsum
from .join import cat
from .scatter import scatter_add
from .unary import exp, log
from .where import where

__all__ = ["cummax", "cummin", "cumprod", "logcumsumexp"]

CummaxResult: Any = namedtuple("cummax", ["values", "indices"])  # type: ignore[name-match]
CumminResult: Any = namedtuple("cummin", ["values", "indices"])  # type: ignore[name-match]


@method()
@takes_tensors
def cumprod(input: Any, dim: int, *, dtype: Any = None, out: Any = None) -> Any:
    """``output[i] = input[0] * ... * input[i]`` along ``dim``.

    bool and integers are multiplied in int64 unless ``dtype`` is given; they wrap around.
    """
    if dtype is not None:
        input = input.to(dtype)
    output = _C.cumprod(input, dim, dtype)
    if needs_grad(input):
        record(output, cumprod_backward, (input,), (input, output, dim))
    return output if out is None else put_out(out, output)


def cumprod_backward(node: Any, grad: Any) -> Any:
    input, output, dim = node.saved
    if not needs_grad(grad, input) and not output.dtype.is_complex:
        return _C.cumprod_backward(grad, input, dim)
    if input.ndim == 0:
        return grad * 1
    if not (input == 0).any():
        return _cumsum(grad * output, dim, None, True) / input
    # To be differentiated again, and not divisible: each gradient from the products without it.
    size, parts = input.shape[dim], []
    for k in range(size):
        before = input.narrow(dim, 0, k).prod(dim, keepdim=True)
        after = cumprod(input.narrow(dim, k + 1, size - k - 1), dim)
        slopes = grad.narrow(dim, k, 1)
        rest = (grad.narrow(dim, k + 1, size - k - 1) * after).sum(dim, keepdim=True)
        parts.append((slopes + rest) * before)
    return cat(parts, dim)


@method()
@takes_tensors
def cummax(input: Any, dim: int, *, out: Any = None) -> Any:
    """The named tuple ``(values, indices)`` of the largest element so far along ``dim``.

    Of equal ones the last counts; NaN is larger than every number. The gradient goes to the index.
    """
    return _extremes(_C.cummax, input, dim, CummaxResult, out)


@method()
@takes_tensors
def cummin(input: Any, dim: int, *, out: Any = None) -> Any:
    """The smallest element so far, as :func:`cummax`; NaN is smaller than every number."""
    return _extremes(_C.cummin, input, dim, CumminResult, out)


def _extremes(kernel: Any, input: Any, dim: int, kind: Any, out: Any) -> Any:
    values, indices = kernel(input, dim)
    if needs_grad(input):
        record(values, cummaxmin_backward, (input,), (dim, indices))
    if out is not None:
        values, indices = put_out(out[0], values), put_out(out[1], indices)
    return kind(values, indices)


def cummaxmin_backward(node: Any, grad: Any) -> Any:
    dim, indices = node.saved
    if grad.ndim == 0:
        return grad * 1
    return scatter_add(grad.new_zeros(grad.shape), dim, indices, grad)


@method()
@takes_tensors
def logcumsumexp(input: Any, dim: int, *, out: Any = None) -> Any:
    """``output[i] = log(exp(input[0]) + ... + exp(input[i]))`` along ``dim``, without overflow.

    Raises NotImplementedError for bool and integers.
    """
    output = _log_cumulative(input, dim, False)
    return output if out is None else put_out(out, output)


def _log_cumulative(input: Any, dim: int, reverse: bool) -> Any:
    output = _C.logcumsumexp(input, dim, reverse)
    if needs_grad(input):
        record(output, logcumsumexp_backward, (input,), (input, output, dim, reverse))
    return output


def logcumsumexp_backward(node: Any, grad: Any) -> Any:
    """``grad_input[j]`` is the sum over i of ``grad[i] * exp(input[j] - output[i])``: taken in
    logarithms, those of positive and negative gradients apart, so that nothing overflows."""
    input, output, dim, reverse = node.saved
    parts = []
    for sign in (1, -1):
        chosen = grad * sign > 0
        size = log(where(chosen, grad * sign, 1.0))
        size = where(chosen, size - output, -float("inf"))
        parts.append(exp(_log_cumulative(size, dim, not reverse) + input))
    return parts[0] - parts[1]


composed_in_place(cumprod)
