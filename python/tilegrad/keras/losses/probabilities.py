"""The cross-entropy of class numbers and probabilities as one recorded operation.

A network's last layer is a softmax as a rule, and most of such a loss's time went into recording
and differentiating its five small steps.
"""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ... import _C
from ...autograd.graph import needs_grad, record

__all__ = ["sparse_log_loss"]


def sparse_log_loss(y_true: Any, y_pred: Any, epsilon: float, reduction: str = "none") -> Any:
    """``-log(p)`` for each row, p being the class's share of the row, kept ``epsilon`` off 0 and 1.

    ``y_true``: (rows), int64; ``y_pred``: (rows, classes), floating; the result: (rows), or with
    ``reduction="mean"`` one number. Raises IndexError for a class number outside of the row.
    """
    wants_grad = needs_grad(y_pred)
    output, slope = _C.cross_entropy_shares(y_pred, y_true, epsilon, reduction, wants_grad)
    if wants_grad:
        # In a list, from which backward takes it: it must not be changed and used again.
        saved = ([slope], y_true, y_pred, epsilon, reduction)
        record(output, sparse_log_loss_backward, (y_pred,), saved)
    return output


def sparse_log_loss_backward(node: Any, grad: Any) -> Any:
    ready, y_true, y_pred, epsilon, reduction = node.saved
    if ready and not needs_grad(grad, y_pred):
        slope = ready.pop()
        if reduction == "none":
            _C.mul_(slope, grad.unsqueeze(1))
        elif grad.is_cuda or grad.item() != 1:  # to read the number would make the host wait
            _C.mul_(slope, grad)
        return slope
    if reduction == "mean":
        grad = (grad / y_pred.shape[0]).expand(y_pred.shape[0])
    return _composed_backward(grad, y_true, y_pred, epsilon)


def _composed_backward(grad: Any, y_true: Any, y_pred: Any, epsilon: float) -> Any:
    """The formula of the kernel (csrc/ops/cross_entropy.cpp), in ops that can be differentiated."""
    rows, total = y_true.unsqueeze(1), tg.sum(y_pred, 1, keepdim=True)
    chosen = y_pred.gather(1, rows)
    share = chosen / total
    inside = (share >= epsilon) & (share <= 1 - epsilon)
    grad = tg.where(inside, grad.unsqueeze(1), 0.0)  # elsewhere the loss is constant
    own = -grad / tg.where(inside, chosen, 1.0)
    return (grad / total).expand(y_pred.shape).scatter_add(1, rows, own)
