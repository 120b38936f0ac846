"""Values that meet at one place, combined: scatter_reduce and index_reduce.

Both follow the PyTorch functions of the same names. Errors: IndexError or RuntimeError for an index
out of range, RuntimeError for shapes that do not fit, TypeError for what is not a tensor.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _C
from ..autograd.graph import needs_grad, record
from ._register import composed_in_place, method, takes_tensors
from .index import gather
from .scatter import scatter, scatter_add
from .view import _dim

__all__ = ["index_reduce", "scatter_reduce"]


@method()
def scatter_reduce(
    input: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True
) -> Any:
    """Like :func:`scatter`, combining all values that meet: 'sum', 'prod', 'mean', 'amax', 'amin'.

    ``include_self``: whether the input's own value takes part. Equal extremes share the gradient
    evenly. Raises RuntimeError for another reduction.
    """
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError(
            f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}."
        )
    if reduce == "sum":
        start = input if include_self else scatter(input, dim, index, 0)
        return scatter_add(start, dim, index, src)
    output = _C.clone(input)
    if not include_self:
        _C.scatter_(output, dim, index, _neutral(reduce, input.dtype), "assign")
    _C.scatter_(output, dim, index, src, reduce)
    if reduce == "mean":
        count = input.new_full(input.shape, 1 if include_self else 0)
        _C.scatter_(count, dim, index, input.new_ones(index.shape), "add")
        _C.fill_(count, 1) if count.numel() == 0 else _C.maximum_(count, 1)
        output = _C.div(output, count) if _is_float(input) else _C.floor_divide(output, count)
    if needs_grad(input, src):
        saved = (input, dim, index, src, reduce, include_self, output)
        record(output, scatter_reduce_backward, (input, src), saved)
    return output


def scatter_reduce_backward(node: Any, grad: Any) -> tuple:
    input, dim, index, src, reduce, include_self, output = node.saved
    if reduce == "prod":
        to_input, to_src = _product_slopes(input, dim, index, src, include_self, grad)
    elif reduce == "mean":
        counts = grad.new_full(grad.shape, 1.0 if include_self else 0.0)
        counts = scatter_add(counts, dim, index, grad.new_ones(index.shape)).clamp(min=1)
        to_input = grad / counts
        to_src = gather(to_input, dim, index)
    else:
        part = src[tuple(slice(n) for n in index.shape)] if src.ndim else src
        chosen_src = (part == gather(output, dim, index)).to(grad.dtype)
        chosen = (input == output).to(grad.dtype)
        if not include_self:
            chosen = scatter(chosen, dim, index, 0)
        share = grad / scatter_add(chosen, dim, index, chosen_src)
        to_input, to_src = share * chosen, gather(share, dim, index) * chosen_src
    if not include_self:
        to_input = scatter(to_input, dim, index, 0)
    return to_input, _padded(to_src, src.shape)


def _padded(grad: Any, shape: Any) -> Any:
    """Zeros for what the index did not reach."""
    if tuple(grad.shape) == tuple(shape):
        return grad
    whole = grad.new_zeros(shape)
    whole[tuple(slice(n) for n in grad.shape)] = grad
    return whole


def _product_slopes(
    input: Any, dim: int, index: Any, src: Any, include_self: bool, grad: Any
) -> tuple[Any, Any]:
    """Each factor's slope is the product of the others: that of all that are not zero, divided by
    its own, unless another factor is zero."""
    own = input if include_self else scatter(input, dim, index, 1)
    part = src[tuple(slice(n) for n in index.shape)] if src.ndim else src
    own_zero, zero = own == 0, part == 0
    plain_own, plain = own.masked_fill(own_zero, 1), part.masked_fill(zero, 1)
    product = scatter_reduce(plain_own, dim, index, plain, "prod")
    zeros = scatter_add(own_zero.to(grad.dtype), dim, index, zero.to(grad.dtype))
    to_input = grad * product / plain_own * (zeros == own_zero.to(grad.dtype))
    others = gather(zeros, dim, index) - zero.to(grad.dtype)
    return to_input, gather(grad * product, dim, index) / plain * (others == 0)


@method()
@takes_tensors
def index_reduce(
    input: Any, dim: int, index: Any, source: Any, reduce: str, *, include_self: bool = True
) -> Any:
    """Combines slice i of ``source`` with the slice of ``input`` at position ``index[i]``, by
    'prod', 'mean', 'amax' or 'amin'; see :func:`scatter_reduce`.

    Raises IndexError for positions outside, RuntimeError for shapes that do not fit.
    """
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(
            f"reduce argument must be either prod, mean, amax or amin, got {reduce}."
        )
    at = _dim(dim, input.ndim, "index_reduce")
    if index.ndim > 1:
        raise IndexError("index_reduce_(): Index should be a vector/scalar")
    size = input.shape[at] if input.ndim else 1
    if index.numel() and bool(((index < 0) | (index >= size)).any()):
        raise IndexError("index_reduce_(): index out of range")
    if input.ndim == 0:
        index, source = index.reshape(()), source.reshape(())
    else:
        if index.numel() != source.shape[at]:
            raise RuntimeError(
                "index_reduce_(): Number of indices should be equal to source.size(dim), got "
                f"{index.numel()} and {source.shape[at]}"
            )
        index = index.reshape([-1 if d == at else 1 for d in range(input.ndim)])
        index = index.expand(source.shape)
    return scatter_reduce(input, at, index.to(_C.int64), source, reduce, include_self=include_self)


def _is_float(input: Any) -> bool:
    return input.dtype.is_floating_point or input.dtype.is_complex


def _neutral(reduce: str, dtype: Any) -> Any:
    """The value that a reduction leaves as it was."""
    if reduce == "mean":
        return 0
    if reduce == "prod":
        return 1
    if dtype.is_floating_point:
        return -float("inf") if reduce == "amax" else float("inf")
    if dtype is _C.boolean:
        return reduce == "amin"
    bounds = np.iinfo(dtype.name)
    return int(bounds.min if reduce == "amax" else bounds.max)


for _op in (scatter_reduce, index_reduce):
    composed_in_place(_op)
