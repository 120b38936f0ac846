"""The cross-entropy of class numbers and probabilities as one recorded operation.

A network's last layer is a softmax as a rule, and most of such a loss's time went into recording
and differentiating its five small steps.
"""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ...autograd.graph import needs_grad, record
from ...ops.cross_entropy import nll_loss

__all__ = ["sparse_log_loss"]


def sparse_log_loss(y_true: Any, y_pred: Any, epsilon: float) -> Any:
    """``-log(p)`` for each row, p being the class's share of the row, kept ``epsilon`` off 0 and 1.

    ``y_true``: (rows), int64; ``y_pred``: (rows, classes); the result: (rows). Raises IndexError
    for a class number outside of the row.
    """
    given = y_pred.detach()
    share = nll_loss(given, y_true, reduction="none") / -tg.sum(given, 1)
    output = -tg.log(share.clamp(epsilon, 1 - epsilon))
    if needs_grad(y_pred):
        record(output, sparse_log_loss_backward, (y_pred,), (y_true, y_pred, epsilon))
    return output


def sparse_log_loss_backward(node: Any, grad: Any) -> Any:
    y_true, y_pred, epsilon = node.saved
    rows, total = y_true.unsqueeze(1), tg.sum(y_pred, 1, keepdim=True)
    chosen = y_pred.gather(1, rows)
    share = chosen / total
    inside = (share >= epsilon) & (share <= 1 - epsilon)
    grad = tg.where(inside, grad.unsqueeze(1), 0.0)  # elsewhere the loss is constant
    own = -grad / tg.where(inside, chosen, 1.0)
    return (grad / total).expand(y_pred.shape).scatter_add(1, rows, own)
