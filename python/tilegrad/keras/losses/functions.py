"""Losses as functions of targets and predictions, one number per sample."""

from __future__ import annotations

import warnings
from typing import Any

import tilegrad as tg

from ...nn import functional as F
from ..config import settings
from ..dtypes import convert_to_tensor
from ..op import op
from ..registry import own
from .probabilities import sparse_log_loss

__all__ = [
    "binary_crossentropy", "binary_focal_crossentropy", "categorical_crossentropy",
    "categorical_focal_crossentropy", "categorical_generalized_cross_entropy", "categorical_hinge",
    "circle", "cosine_similarity", "ctc", "dice", "hinge", "huber", "kl_divergence", "log_cosh",
    "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_error",
    "mean_squared_logarithmic_error", "poisson", "sparse_categorical_crossentropy", "squared_hinge",
    "tversky",
]  # fmt: skip


def same_rank(x1: Any, x2: Any) -> tuple[Any, Any]:
    """Two tensors whose ranks differ by one made equal, where the last axis of one has size 1."""
    if x1.ndim == x2.ndim + 1 and x1.shape[-1] == 1:
        return (x1, x2.unsqueeze(-1)) if x2.ndim == 1 else (x1.squeeze(-1), x2)
    if x2.ndim == x1.ndim + 1 and x2.shape[-1] == 1:
        return (x1.unsqueeze(-1), x2) if x1.ndim == 1 else (x1, x2.squeeze(-1))
    return x1, x2


def _pair(y_true: Any, y_pred: Any, aligned: bool = True) -> tuple[Any, Any]:
    """Both as tensors of the dtype of the predictions."""
    y_pred = y_pred if isinstance(y_pred, tg.Tensor) else convert_to_tensor(y_pred)
    y_true = y_true if isinstance(y_true, tg.Tensor) else convert_to_tensor(y_true)
    if not y_pred.dtype.is_floating_point:
        y_pred = y_pred.to(tg.float32)
    if y_true.dtype is not y_pred.dtype:
        y_true = y_true.to(y_pred.dtype)
    return same_rank(y_true, y_pred) if aligned and y_true.ndim != y_pred.ndim else (y_true, y_pred)


@op
def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    """``mean((y_true - y_pred)**2)`` over the last axis."""
    y_true, y_pred = _pair(y_true, y_pred)
    return tg.mean(tg.square(y_true - y_pred), dim=-1)


@op
def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    """``mean(|y_true - y_pred|)`` over the last axis."""
    y_true, y_pred = _pair(y_true, y_pred)
    return tg.mean(tg.abs(y_true - y_pred), dim=-1)


@op
def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Any:
    """``100 * mean(|(y_true - y_pred) / y_true|)`` over the last axis."""
    y_true, y_pred = _pair(y_true, y_pred)
    share = tg.abs((y_true - y_pred) / tg.abs(y_true).clamp(min=settings.epsilon))
    return 100.0 * tg.mean(share, dim=-1)


@op
def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Any:
    """``mean((log(y_true + 1) - log(y_pred + 1))**2)`` over the last axis."""
    y_true, y_pred = _pair(y_true, y_pred)
    first = tg.log(y_pred.clamp(min=settings.epsilon) + 1.0)
    second = tg.log(y_true.clamp(min=settings.epsilon) + 1.0)
    return tg.mean(tg.square(first - second), dim=-1)


@op
def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """Minus the cosine of the angle between targets and predictions."""
    y_true, y_pred = _pair(y_true, y_pred)
    return -tg.sum(_unit(y_true, axis) * _unit(y_pred, axis), dim=axis)


def _unit(x: Any, axis: int) -> Any:
    return x * tg.rsqrt(tg.sum(x * x, dim=axis, keepdim=True).clamp(min=1e-12))


@op
def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Any:
    """Half the squared error up to ``delta``, then linear (Huber, 1964)."""
    y_true, y_pred = _pair(y_true, y_pred)
    error = y_pred - y_true
    size = tg.abs(error)
    far = delta * size - 0.5 * delta**2
    return tg.mean(tg.where(size <= delta, 0.5 * error * error, far), dim=-1)


@op
def log_cosh(y_true: Any, y_pred: Any) -> Any:
    """``mean(log(cosh(y_pred - y_true)))`` over the last axis."""
    y_true, y_pred = _pair(y_true, y_pred)
    error = y_pred - y_true
    return tg.mean(error + F.softplus(-2.0 * error) - 0.6931471805599453, dim=-1)


@op
def kl_divergence(y_true: Any, y_pred: Any) -> Any:
    """``sum(y_true * log(y_true / y_pred))`` over the last axis."""
    y_true, y_pred = _pair(y_true, y_pred, aligned=False)
    y_true, y_pred = y_true.clamp(settings.epsilon, 1), y_pred.clamp(settings.epsilon, 1)
    return tg.sum(y_true * tg.log(y_true / y_pred), dim=-1)


@op
def poisson(y_true: Any, y_pred: Any) -> Any:
    """``mean(y_pred - y_true * log(y_pred))`` over the last axis."""
    y_true, y_pred = _pair(y_true, y_pred, aligned=False)
    return tg.mean(y_pred - y_true * tg.log(y_pred + settings.epsilon), dim=-1)


def _signs(y_true: Any) -> Any:
    """Labels 0 and 1 as -1 and 1."""
    binary = bool(((y_true == 0) | (y_true == 1)).all())
    return 2.0 * y_true - 1.0 if binary else y_true


@op
def hinge(y_true: Any, y_pred: Any) -> Any:
    """``mean(max(1 - y_true * y_pred, 0))`` over the last axis; labels are -1 and 1, or 0 and 1."""
    y_true, y_pred = _pair(y_true, y_pred, aligned=False)
    return tg.mean((1.0 - _signs(y_true) * y_pred).clamp(min=0), dim=-1)


@op
def squared_hinge(y_true: Any, y_pred: Any) -> Any:
    """``mean(max(1 - y_true * y_pred, 0)**2)`` over the last axis."""
    y_true, y_pred = _pair(y_true, y_pred, aligned=False)
    return tg.mean(tg.square((1.0 - _signs(y_true) * y_pred).clamp(min=0)), dim=-1)


@op
def categorical_hinge(y_true: Any, y_pred: Any) -> Any:
    """``max(largest wrong - right + 1, 0)`` for targets in one-hot form."""
    y_true, y_pred = _pair(y_true, y_pred, aligned=False)
    right = tg.sum(y_true * y_pred, dim=-1)
    wrong = tg.amax((1.0 - y_true) * y_pred, dim=-1)
    return (wrong - right + 1.0).clamp(min=0)


def _logarithms(y_pred: Any, from_logits: bool, axis: int) -> Any:
    """Log-probabilities, of probabilities made to sum to one and kept off 0 and 1."""
    if from_logits:
        return F.log_softmax(y_pred, axis)
    y_pred = y_pred / tg.sum(y_pred, dim=axis, keepdim=True)
    return tg.log(y_pred.clamp(settings.epsilon, 1.0 - settings.epsilon))


def _check_classes(name: str, y_pred: Any) -> None:
    if y_pred.shape[-1] == 1:
        warnings.warn(
            f"In loss {name}, expected y_pred.shape to be (batch_size, num_classes) with "
            f"num_classes > 1. Received: y_pred.shape={tuple(y_pred.shape)}. Consider using "
            "'binary_crossentropy' if you only have 2 classes.",
            SyntaxWarning,
            stacklevel=4,
        )


@op
def categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """``-sum(y_true * log(y_pred))`` along ``axis``, for targets in one-hot form.

    Raises ValueError for shapes that differ.
    """
    y_true, y_pred = _pair(y_true, y_pred, aligned=False)
    _check_classes("categorical_crossentropy", y_pred)
    _check_shapes(y_true, y_pred)
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + label_smoothing / y_true.shape[-1]
    return -tg.sum(y_true * _logarithms(y_pred, from_logits, axis), dim=axis)


def _check_shapes(y_true: Any, y_pred: Any) -> None:
    if y_true.shape != y_pred.shape:
        raise ValueError(
            "Arguments `target` and `output` must have the same shape. Received: "
            f"target.shape={tuple(y_true.shape)}, output.shape={tuple(y_pred.shape)}; for targets "
            "that are class numbers use 'sparse_categorical_crossentropy'"
        )


@op
def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: Any = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """Cross-entropy that counts easy samples less (Lin et al., 2017)."""
    y_true, y_pred = _pair(y_true, y_pred, aligned=False)
    _check_classes("categorical_focal_crossentropy", y_pred)
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + label_smoothing / y_true.shape[-1]
    if from_logits:
        y_pred = F.softmax(y_pred, axis)
    p = y_pred / tg.sum(y_pred, dim=axis, keepdim=True)
    p = p.clamp(settings.epsilon, 1.0 - settings.epsilon)
    if not isinstance(alpha, (int, float)):
        alpha = convert_to_tensor(alpha).to(p.dtype)
    return tg.sum((1.0 - p) ** gamma * alpha * (-y_true * tg.log(p)), dim=axis)


@op
def sparse_categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Any:
    """``-log(y_pred[class])`` along ``axis``, for targets that are class numbers.

    Raises ValueError for shapes that do not fit.
    """
    y_pred = y_pred if isinstance(y_pred, tg.Tensor) else convert_to_tensor(y_pred)
    y_true = y_true if isinstance(y_true, tg.Tensor) else convert_to_tensor(y_true)
    if y_true.dtype is not tg.int64:
        y_true = y_true.to(tg.int64)
    if y_true.ndim == y_pred.ndim and y_true.shape[axis] == 1:
        y_true = y_true.squeeze(axis)
    axis %= y_pred.ndim
    if (*y_pred.shape[:axis], *y_pred.shape[axis + 1 :]) != tuple(y_true.shape):
        raise ValueError(
            "Argument `output` must have rank (ndim) `target.ndim + 1` and the same sizes but for "
            f"the classes. Received: target.shape={tuple(y_true.shape)}, "
            f"output.shape={tuple(y_pred.shape)}"
        )
    valid = None
    if ignore_class is not None:
        valid = y_true != ignore_class
        y_true = tg.where(valid, y_true, tg.zeros_like(y_true))
    if y_pred.ndim == 2 and axis == 1 and valid is None:
        return _sparse_rows(y_true, y_pred, from_logits, "none")
    logs = _logarithms(y_pred, from_logits, axis)
    if axis == 1 or axis == y_pred.ndim - 1 == 1:
        loss = F.nll_loss(logs, y_true, reduction="none")
    else:
        loss = -logs.gather(axis, y_true.unsqueeze(axis)).squeeze(axis)
    if valid is None:
        return loss
    loss = tg.where(valid, loss, tg.zeros_like(loss))
    loss._keras_mask = valid
    return loss


def _sparse_rows(y_true: Any, y_pred: Any, from_logits: bool, reduction: str) -> Any:
    try:
        if from_logits:
            return F.cross_entropy(y_pred, y_true, reduction=reduction)
        return sparse_log_loss(y_true, y_pred, settings.epsilon, reduction)
    except IndexError:
        classes = y_pred.shape[1]
        wrong = y_true[(y_true < 0) | (y_true >= classes)][0].item()
        raise IndexError(
            f"sparse_categorical_crossentropy: target {wrong} is out of bounds: the output has "
            f"{classes} classes, 0 to {classes - 1}; the last layer needs a unit for each class"
        ) from None


def _sparse_mean(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Any:
    """The mean of :func:`sparse_categorical_crossentropy`; None where it is not one operation."""
    rows = y_pred.ndim == 2 and axis in (1, -1) and ignore_class is None and y_pred.numel() > 0
    if not (rows and y_true.dtype is tg.int64 and y_true.ndim == 1 and len(y_true) == len(y_pred)):
        return None
    return _sparse_rows(y_true, y_pred, from_logits, "mean")


# Losses whose mean over all samples can be one operation: how, given targets, predictions, options.
MEANS = {sparse_categorical_crossentropy: _sparse_mean}


@op
def binary_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """``-mean(y_true * log(y_pred) + (1 - y_true) * log(1 - y_pred))`` along ``axis``.

    Raises ValueError for shapes that differ.
    """
    y_true, y_pred = _pair(y_true, y_pred, aligned=False)
    if y_true.shape != y_pred.shape:
        y_true, y_pred = same_rank(y_true, y_pred)
        _check_shapes(y_true, y_pred)
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + 0.5 * label_smoothing
    return tg.mean(_binary(y_true, y_pred, from_logits), dim=axis)


def _binary(y_true: Any, y_pred: Any, from_logits: bool) -> Any:
    if from_logits:
        return F.binary_cross_entropy_with_logits(y_pred, y_true, reduction="none")
    y_pred = y_pred.clamp(settings.epsilon, 1.0 - settings.epsilon)
    return F.binary_cross_entropy(y_pred, y_true, reduction="none")


@op
def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """Binary cross-entropy that counts easy samples less (Lin et al., 2017)."""
    y_true, y_pred = _pair(y_true, y_pred, aligned=False)
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + 0.5 * label_smoothing
    if from_logits:
        y_pred = tg.sigmoid(y_pred)
    p = y_true * y_pred + (1 - y_true) * (1 - y_pred)
    loss = (1.0 - p) ** gamma * _binary(y_true, y_pred, False)
    if apply_class_balancing:
        loss = (y_true * alpha + (1 - y_true) * (1 - alpha)) * loss
    return tg.mean(loss, dim=axis)


@op
def categorical_generalized_cross_entropy(y_true: Any, y_pred: Any, q: float) -> Any:
    """``(1 - p**q) / q`` of the probability p of the target's class, for noisy labels (Zhang and
    Sabuncu, 2018). Raises ValueError for ``q`` outside (0, 1)."""
    if not 0 < q < 1:
        raise ValueError(f"q must be in the interval (0, 1), got {q}")
    y_pred = convert_to_tensor(y_pred)
    y_true = convert_to_tensor(y_true).to(tg.int64)
    p = y_pred.gather(-1, y_true.reshape(*y_pred.shape[:-1], 1)).squeeze(-1)
    return (1 - p**q) / q


@op
def dice(y_true: Any, y_pred: Any, axis: Any = None) -> Any:
    """One minus twice the overlap over the sum of both (Sorensen and Dice)."""
    y_true, y_pred = _pair(y_true, y_pred, aligned=False)
    both = _total(y_true * y_pred, axis)
    size = _total(y_true, axis) + _total(y_pred, axis)
    return 1 - 2.0 * both / (size + settings.epsilon)


def _total(x: Any, axis: Any) -> Any:
    return tg.sum(x, dim=tuple(axis) if isinstance(axis, (list, tuple)) else axis)


@op
def tversky(
    y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Any = None
) -> Any:
    """One minus the overlap over itself, ``alpha`` times what only the targets hold and ``beta``
    times what only the predictions hold (Salehi et al., 2017)."""
    y_true, y_pred = _pair(y_true, y_pred, aligned=False)
    both = _total(y_true * y_pred, axis)
    positives = _total((1 - y_pred) * y_true, axis)  # Keras weighs them in this order
    negatives = _total(y_pred * (1 - y_true), axis)
    return 1 - both / (both + positives * alpha + negatives * beta + settings.epsilon)


@op
def circle(
    y_true: Any,
    y_pred: Any,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80.0,
    margin: float = 0.4,
) -> Any:
    """Circle loss of embeddings of norm 1 with class numbers (Sun et al., 2020)."""
    y_pred = convert_to_tensor(y_pred)
    labels = convert_to_tensor(y_true).reshape(-1)
    others = y_pred if ref_embeddings is None else convert_to_tensor(ref_embeddings)
    other_labels = labels if ref_labels is None else convert_to_tensor(ref_labels).reshape(-1)
    similar = (y_pred @ others.t()).clamp(max=1.0)
    same = labels.unsqueeze(1) == other_labels.unsqueeze(0)
    different = ~same
    if remove_diagonal:
        same = same & ~tg.eye(*same.shape, dtype=tg.bool)
    weight_same = (1 + margin - similar).clamp(min=0)
    weight_different = (similar + margin).clamp(min=0)
    low = tg.full_like(similar, -tg.inf)
    near = tg.where(same, -gamma * weight_same * (similar - (1 - margin)), low)
    far = tg.where(different, gamma * weight_different * (similar - margin), low)
    loss = F.softplus(_log_total(near) + _log_total(far))
    loss._keras_mask = loss > 0  # samples without pairs do not count
    return loss


def _log_total(x: Any) -> Any:
    """``logsumexp`` along the last axis, very negative where there is nothing to sum."""
    empty = tg.isinf(x).all(-1, keepdim=True)
    made = tg.logsumexp(tg.where(empty, tg.zeros_like(x), x), dim=-1)
    return tg.where(empty.squeeze(-1), tg.full_like(made, -1e9), made)


@op
def ctc(y_true: Any, y_pred: Any) -> Any:
    """Connectionist temporal classification (Graves et al., 2006): labels (N, length), 0 being
    padding, and logits (N, steps, classes), class 0 being the blank."""
    y_true, y_pred = convert_to_tensor(y_true), convert_to_tensor(y_pred)
    if y_true.ndim != 2 or y_pred.ndim != 3:
        raise ValueError(
            "ctc: expected targets of rank 2 and logits of rank 3, got shapes "
            f"{tuple(y_true.shape)} and {tuple(y_pred.shape)}"
        )
    logs = F.log_softmax(y_pred, -1).transpose(0, 1)
    steps = tg.full((y_pred.shape[0],), y_pred.shape[1], dtype=tg.int64)
    lengths = (y_true != 0).sum(-1)
    return F.ctc_loss(logs, y_true.to(tg.int64), steps, lengths, blank=0, reduction="none")


own(*(globals()[name] for name in __all__))
