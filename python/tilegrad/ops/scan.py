"""Running products and extremes along one dimension: cumprod, cummax, cummin, logcumsumexp.

All follow the PyTorch functions of the same names; the shape stays. Errors: IndexError for a
dimension out of range, NotImplementedError for other dtypes, TypeError for what is not a tensor.
"""

from __future__ import annotations

from typing import Any

from .. import _C
from ..autograd.graph import needs_grad, record
from ._register import composed_in_place, method, put_out, takes_tensors
from .cumsum import cumsum
from .join import cat
from .scatter import scatter_add
from .sort import ValuesIndices, finish_selection
from .view import _dim, slice_dim
from .where import where

__all__ = ["cummax", "cummin", "cumprod", "logcumsumexp"]


@method()
@takes_tensors
def cumprod(input: Any, dim: int, *, dtype: Any = None, out: Any = None) -> Any:
    """``output[i] = input[0] * ... * input[i]`` along ``dim``.

    bool and integers are multiplied in int64 unless ``dtype`` is given. Raises IndexError for a
    dimension out of range.
    """
    if dtype is not None and input.dtype is not dtype:
        input = input.to(dtype)
    output = _C.cumprod(input, dim, None)
    if needs_grad(input):
        record(output, cumprod_backward, (input,), (input, dim))
    output = output if dtype is None else output.to(dtype)
    return output if out is None else put_out(out, output)


def cumprod_backward(node: Any, grad: Any) -> Any:
    """Without a division, so that zeros do no harm: what later products contribute follows a
    recurrence, and the products before stand in front of all of it."""
    input, dim = node.saved
    if input.ndim == 0:
        return grad
    later = linear_recurrence(grad, _shifted(input, dim, -1), dim, True)
    before = _shifted(cumprod(input, dim), dim, 1, 1.0)
    return later * before


def _shifted(x: Any, dim: int, by: int, fill: float = 0.0) -> Any:
    """The elements moved by one place along ``dim``, forwards (1) or backwards (-1)."""
    length = x.shape[_dim(dim, x.ndim, "cumprod")]
    if length == 0:
        return x
    edge = x.new_full((), fill).expand(slice_dim(x.detach(), dim, 0, 1, 1).shape)
    if by > 0:
        return cat([edge, slice_dim(x, dim, 0, length - 1, 1)], dim)
    return cat([slice_dim(x, dim, 1, length - 1, 1), edge], dim)


def linear_recurrence(x: Any, factor: Any, dim: int, reverse: bool) -> Any:
    """``y[i] = x[i] + factor[i] * y[i - 1]`` along ``dim``, or from the end with ``y[i + 1]``."""
    output = _C.linear_recurrence(x, factor, dim, reverse)
    if needs_grad(x, factor):
        record(output, linear_recurrence_backward, (x, factor), (factor, output, dim, reverse))
    return output


def linear_recurrence_backward(node: Any, grad: Any) -> tuple:
    factor, output, dim, reverse = node.saved
    towards = 1 if reverse else -1
    grad_x = linear_recurrence(grad, _shifted(factor, dim, towards), dim, not reverse)
    return grad_x, grad_x * _shifted(output, dim, -towards)


def _extreme(name: str, what: str) -> Any:
    kernel = getattr(_C, name)

    def function(input: Any, dim: int, *, out: Any = None) -> ValuesIndices:
        values, indices = kernel(input, dim)
        if needs_grad(input):
            record(values, running_extreme_backward, (input,), (input.shape, dim, indices))
        return finish_selection(values, indices, out)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""(values, indices) of the {what} element so far along ``dim``.

    Of equal ones the index of the last; from the first NaN on the values are NaN. Raises IndexError
    for a dimension out of range.
    """
    return method(name)(function)


def running_extreme_backward(node: Any, grad: Any) -> Any:
    shape, dim, indices = node.saved
    if grad.ndim == 0:
        return grad
    return scatter_add(grad.new_zeros(shape), dim, indices, grad)


cummax = _extreme("cummax", "largest")
cummin = _extreme("cummin", "smallest")


@method()
def logcumsumexp(input: Any, dim: int, *, out: Any = None) -> Any:
    """``log(cumsum(exp(input)))`` along ``dim`` without overflow on the way.

    Raises IndexError for a dimension out of range, NotImplementedError unless the dtype is
    floating.
    """
    output = _C.logcumsumexp(input, dim)
    if needs_grad(input):
        record(output, logcumsumexp_backward, (input,), (input, dim, output))
    return output if out is None else put_out(out, output)


def logcumsumexp_backward(node: Any, grad: Any) -> Any:
    """Each sum passes on the share that it has in the next one, each element takes its own."""
    input, dim, output = node.saved
    output = logcumsumexp(input, dim) if needs_grad(input) else output
    if input.ndim == 0:
        return grad
    share = _exp_of_difference(output, _shifted(output, dim, -1))
    later = linear_recurrence(grad, share, dim, True)
    return later * _exp_of_difference(input, output)


def _exp_of_difference(a: Any, b: Any) -> Any:
    """``exp(a - b)``, 1 where both are the same infinity."""
    same = a.detach() == b.detach()
    return where(same, 1.0, where(same, 0.0, a - b).exp()).to(a.dtype)


for _op in (cumprod, cumsum):
    composed_in_place(_op)
