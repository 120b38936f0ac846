"""Losses that compare element by element, with their mean or sum in the same pass over memory.

Public in ``tilegrad.nn.functional``, from ``nn/loss_functions.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from .. import _C
from ..autograd.graph import needs_grad, record
from .view import broadcast_tensors
from .where import where

__all__: list[str] = []

Formula = Callable[[Any, Any, float], Any]  # of input, target and the parameter


class Kind(NamedTuple):
    """A loss: its number in csrc/ops/loss.h, and its derivatives written with other ops."""

    number: int
    slope: Formula  # for the input
    target_slope: Formula | None  # for the target; None where that is the negative of the other


def check_reduction(op: str, reduction: str) -> None:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(
            f"{op}: {reduction} is not a valid value for reduction: expected 'none', 'mean' or "
            "'sum'"
        )


def elementwise_loss(
    op: str, input: Any, target: Any, reduction: str, parameter: float = 0.0
) -> Any:
    """The losses ``op`` of ``_KINDS`` of every pair of elements, reduced.

    Shapes broadcast, dtypes are promoted; floating dtypes. Raises RuntimeError for shapes that do
    not broadcast, ValueError for another ``reduction``, NotImplementedError for integers.
    """
    check_reduction(op, reduction)
    input, target = _alike(input, target)
    kind, scale = _KINDS[op].number, 1.0
    if reduction == "none":
        output = _C.loss(input, target, kind, parameter)
    else:
        if reduction == "mean":
            scale = 1 / input.numel() if input.numel() else math.nan
        output = _C.loss_sum(input, target, kind, parameter, scale)
    if needs_grad(input, target):
        saved = (input, target, op, parameter, scale)
        record(output, _BACKWARD[op], (input, target), saved)
    return output


def _alike(input: Any, target: Any) -> tuple[Any, Any]:
    """Both in one shape and dtype."""
    if input.dtype is not target.dtype:
        dtype = _C.result_type(input, target)
        input, target = input.to(dtype), target.to(dtype)
    if input.shape != target.shape:
        input, target = broadcast_tensors(input, target)
    return input, target


def _backward(node: Any, grad: Any) -> tuple:
    input, target, op, parameter, scale = node.saved
    kind = _KINDS[op]
    if _C.is_grad_enabled():  # the gradient is to be differentiated: built from other ops
        grad_input = grad * scale * kind.slope(input, target, parameter)
    elif node.needs(0) or kind.target_slope is None:
        grad_input = _C.loss_backward(grad, input, target, kind.number, parameter, scale)
    else:
        grad_input = None
    if not node.needs(1):
        return grad_input, None
    if kind.target_slope is None:
        return grad_input, -grad_input
    return grad_input, grad * scale * kind.target_slope(input, target, parameter)


def _bounded_log(x: Any) -> Any:
    return x.log().clamp(min=-100)


def _probability_slope(input: Any, target: Any, _: float) -> Any:
    return (input - target) / (input * (1 - input)).clamp(min=1e-12)


def _smooth_l1_slope(input: Any, target: Any, beta: float) -> Any:
    difference = input - target
    return where(difference.abs() >= beta, difference.sign(), difference / beta)


_KINDS = {
    "mse_loss": Kind(0, lambda x, t, _: 2 * (x - t), None),
    "l1_loss": Kind(1, lambda x, t, _: (x - t).sign(), None),
    "smooth_l1_loss": Kind(2, _smooth_l1_slope, None),
    "huber_loss": Kind(3, lambda x, t, delta: (x - t).clamp(-delta, delta), None),
    "binary_cross_entropy": Kind(
        4, _probability_slope, lambda x, t, _: _bounded_log(1 - x) - _bounded_log(x)
    ),
    "binary_cross_entropy_with_logits": Kind(
        5, lambda x, t, _: x.sigmoid() - t, lambda x, t, _: -x
    ),
}


def _named(op: str) -> Callable[[Any, Any], tuple]:
    """The backward function under the loss's own name, which ``grad_fn`` shows."""

    def backward(node: Any, grad: Any) -> tuple:
        return _backward(node, grad)

    backward.__name__ = f"{op}_backward"
    return backward


_BACKWARD = {op: _named(op) for op in _KINDS}
