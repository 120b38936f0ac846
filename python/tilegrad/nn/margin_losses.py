"""Losses that compare with a margin, and losses of other likelihoods; compositions of public ops.

:mod:`tilegrad.nn.functional` makes them public. ``reduction`` is 'mean', 'sum' or 'none'; the
deprecated ``size_average`` and ``reduce`` are understood as in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .._autocast import full_precision
from ..ops._register import takes_tensors
from ..ops.activation import logsigmoid, softplus
from ..ops.binary import minimum
from ..ops.cross_entropy import legacy_reduction
from ..ops.where import where
from .distance import _check_tensors, pairwise_distance
from .loss_functions import _reduced

__all__ = [
    "cosine_embedding_loss",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "poisson_nll_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]


def _above(x: Any) -> Any:
    """``max(x, 0)``, with PyTorch's gradient 1 at 0."""
    return x.clamp_min(0)


@full_precision
@takes_tensors
def hinge_embedding_loss(
    input: Any,
    target: Any,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """``input`` where ``target`` is 1, ``max(0, margin - input)`` where it is -1.

    Shapes that broadcast. Raises ValueError for another ``reduction``, RuntimeError for shapes that
    do not broadcast.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    _check_tensors("hinge_embedding_loss", input, target)
    near = where(target != -1, input, 0 * input)
    far = where(target != 1, _above(margin - input), 0 * input)
    return _reduced("hinge_embedding_loss", near + far, reduction)


@full_precision
@takes_tensors
def margin_ranking_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """``max(0, -target * (input1 - input2) + margin)``: target 1 wants ``input1`` to be larger.

    All of the same number of dimensions, broadcasting. Raises RuntimeError for other numbers of
    dimensions, ValueError for another ``reduction``.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.size()}, input2: {input2.size()}, target: {target.size()} "
        )
    losses = _above(-target * (input1 - input2) + margin)
    return _reduced("margin_ranking_loss", losses, reduction)


@full_precision
@takes_tensors
def soft_margin_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """``log(1 + exp(-target * input))`` for targets of 1 and -1.

    Raises ValueError for another ``reduction``, RuntimeError for shapes that do not broadcast.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    return _reduced("soft_margin_loss", softplus(-target * input), reduction)


@full_precision
@takes_tensors
def multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """``sum_i max(0, margin - input[target] + input[i]) ** p / classes``, i other than the target.

    ``input`` is (batch, classes) or (classes), ``target`` (batch) or () of int64, ``weight``
    (classes). Raises ValueError for p other than 1 and 2 and another ``reduction``, RuntimeError
    for other shapes.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    _check_reduction("multi_margin_loss", reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.ndim != 1:
        raise ValueError("weight must be one-dimensional")
    batch, classes = _batch_and_classes("multi_margin_loss", input)
    if target.ndim > 1 or target.numel() != batch:
        raise RuntimeError(
            f"inconsistent target size, expected {batch} but got {list(target.shape)}"
        )
    if weight is not None and weight.numel() != classes:
        raise RuntimeError(
            f"inconsistent weight size, expected {classes} but got {list(weight.shape)}"
        )
    rows = input.reshape(batch, classes)
    index = target.reshape(batch, 1)
    losses = _above(margin - rows.gather(1, index) + rows)
    losses = losses * losses if p == 2 else losses
    if weight is not None:
        losses = losses * weight[index.reshape(-1)].unsqueeze(1)
    losses = losses.scatter(1, index, 0).sum(1) / max(classes, 1)
    return _reduced("multi_margin_loss", losses.reshape(target.shape), reduction)


def _check_reduction(op: str, reduction: str) -> None:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{op}: {reduction} is not a valid value for reduction")


def _batch_and_classes(op: str, input: Any) -> tuple[int, int]:
    if input.ndim > 2 or (input.ndim and input.shape[-1] == 0):
        raise RuntimeError(
            f"{op}: Expected non-empty vector or matrix with optional 0-dim batch size, but got: "
            f"{list(input.shape)}"
        )
    shape = (1, 1, *input.shape)[-2:]
    return shape[0], shape[1]


@full_precision
@takes_tensors
def multilabel_margin_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """``sum_ij max(0, 1 - input[target[j]] + input[i]) / classes``, i over all that are no target.

    ``input`` and ``target`` are (batch, classes) or (classes); a row's targets end before its first
    -1. Raises RuntimeError for other shapes, ValueError for another ``reduction``.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    _check_reduction("multilabel_margin_loss", reduction)
    batch, classes = _batch_and_classes("multilabel_margin_loss", input)
    if input.shape != target.shape:
        raise RuntimeError(
            f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}"
        )
    rows, labels = input.reshape(batch, classes), target.reshape(batch, classes)
    listed = (labels < 0).cumsum(1) == 0
    index = where(listed, labels, 0 * labels)
    is_target = (0 * labels).scatter_add(1, index, listed.to(labels.dtype)) > 0
    wanted = rows.gather(1, index)
    losses = _above(1 - wanted.unsqueeze(2) + rows.unsqueeze(1))
    counts = listed.unsqueeze(2) & ~is_target.unsqueeze(1)
    losses = (losses * counts.to(losses.dtype)).sum((1, 2)) / max(classes, 1)
    return _reduced("multilabel_margin_loss", losses.reshape(input.shape[:-1]), reduction)


@takes_tensors
def multilabel_soft_margin_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """The mean over classes of ``-y log(sigmoid(x)) - (1 - y) log(sigmoid(-x))``.

    (..., classes) of one shape; ``weight`` broadcasts. Raises ValueError for another ``reduction``.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    losses = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    losses = losses if weight is None else losses * weight
    losses = losses.sum(-1) / input.shape[-1]
    return _reduced("multilabel_soft_margin_loss", losses, reduction)


@full_precision
@takes_tensors
def cosine_embedding_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """``1 - cos`` where ``target`` is 1, ``max(0, cos - margin)`` where it is -1.

    Inputs (batch, features) with targets (batch), or (features) with (). Raises RuntimeError for
    other shapes, ValueError for another ``reduction``.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if target.ndim not in (0, 1):
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if not input1.ndim == input2.ndim == target.ndim + 1:
        raise RuntimeError(
            f"{target.ndim}D target tensor expects {target.ndim + 1}D input tensors, but found "
            f"inputs with sizes {list(input1.shape)} and {list(input2.shape)}."
        )
    cosine = _cosine(input1, input2, target.ndim)
    losses = where(target == 1, 1 - cosine, 0 * cosine) + where(
        target == -1, _above(cosine - margin), 0 * cosine
    )
    return _reduced("cosine_embedding_loss", losses, reduction)


def _cosine(a: Any, b: Any, dim: int) -> Any:
    """The cosine with PyTorch's epsilon for this loss, added to the squares."""
    epsilon = 1e-12
    squares = ((a * a).sum(dim) + epsilon) * ((b * b).sum(dim) + epsilon)
    return (a * b).sum(dim) / squares.sqrt()


@full_precision
@takes_tensors
def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """``max(0, |anchor - positive| - |anchor - negative| + margin)``, the p-norms of rows.

    All (batch, features) or (features). ``swap`` takes the smaller of the distances from anchor and
    positive to the negative (Balntas et al., 2016). Raises ValueError for a margin that is not
    positive and another ``reduction``, RuntimeError for other numbers of dimensions.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    return triplet_margin_with_distance_loss(
        anchor,
        positive,
        negative,
        distance_function=lambda a, b: pairwise_distance(a, b, p, eps),
        margin=margin,
        swap=swap,
        reduction=reduction,
    )


@takes_tensors
def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Callable[[Any, Any], Any] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """:func:`triplet_margin_loss` with any distance; None is :func:`pairwise_distance`.

    Raises ValueError for a margin that is not positive and another ``reduction``, RuntimeError for
    tensors of different numbers of dimensions.
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if not margin > 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of "
            f"dimensions, but got: anchor {anchor.ndim}D, positive {positive.ndim}D, and negative "
            f"{negative.ndim}D inputs"
        )
    distance = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    return _reduced("triplet_margin_loss", _above(margin + near - far), reduction)


@takes_tensors
def gaussian_nll_loss(
    input: Any,
    target: Any,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Any:
    """``(log(var) + (input - target)**2 / var) / 2``, ``var`` at least ``eps``; ``full`` adds
    ``log(2 pi) / 2``.

    ``var`` is a number, of the input's shape, without its last dimension, or with one dimension of
    size 1. Raises ValueError for negative entries, other shapes and another ``reduction``.
    """
    if isinstance(var, (int, float)):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = 0 * input.detach() + var
    elif (var < 0).any().item():
        raise ValueError("var has negative entry/entries")
    if var.shape != input.shape:
        if tuple(input.shape[:-1]) == tuple(var.shape):
            var = var.unsqueeze(-1)
        elif input.ndim != var.ndim or (
            sum(b for a, b in zip(input.shape, var.shape, strict=True) if a != b) != 1
        ):
            raise ValueError("var is of incorrect size")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid")
    # The gradient passes where var is below eps, too.
    bounded = var + (var.detach().clamp(min=eps) - var.detach())
    difference = input - target
    losses = 0.5 * (bounded.log() + difference * difference / bounded)
    losses = losses + 0.5 * math.log(2 * math.pi) if full else losses
    return _reduced("gaussian_nll_loss", losses, reduction)


@full_precision
@takes_tensors
def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """``exp(input) - target * input``, or without ``log_input`` ``input - target * log(input +
    eps)``; ``full`` adds Stirling's approximation of ``log(target!)`` for targets above 1.

    Raises ValueError for another ``reduction``, RuntimeError for shapes that do not broadcast.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    log_rate, rate = (input, input.exp()) if log_input else ((input + eps).log(), input)
    losses = rate - target * log_rate
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        losses = losses + stirling.masked_fill(target <= 1, 0)
    return _reduced("poisson_nll_loss", losses, reduction)
