"""Losses that compare element by element; :mod:`tilegrad.nn.functional` makes them public.

All compare ``input`` with ``target`` element by element, shapes broadcasting, and reduce the
elementwise losses by ``reduction``: 'mean', 'sum' or 'none'. They raise ValueError for another
reduction. The deprecated ``size_average`` and ``reduce`` are understood as in PyTorch.
"""

from __future__ import annotations

import warnings
from typing import Any

from .. import _autocast
from .._autocast import full_precision
from ..ops._register import takes_tensors
from ..ops.cross_entropy import cross_entropy, legacy_reduction, nll_loss
from ..ops.loss import check_reduction, elementwise_loss
from ..ops.where import where

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
]


def _reduced(op: str, losses: Any, reduction: str) -> Any:
    check_reduction(op, reduction)
    if reduction == "mean":
        return losses.mean()
    return losses.sum() if reduction == "sum" else losses


def _weighted(losses: Any, weight: Any) -> Any:
    return losses if weight is None else losses * weight


def _warn_about_shapes(input: Any, target: Any) -> None:
    if input.shape != target.shape:
        warnings.warn(
            f"Using a target size ({target.shape}) that is different to the input size "
            f"({input.shape}). This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            stacklevel=3,
        )


def _check_weight(op: str, losses: Any, weight: Any) -> None:
    if weight is not None and weight.shape != losses.shape:
        raise ValueError(
            f"{op}: argument 'weight': expected shape {list(losses.shape)}, "
            f"got {list(weight.shape)}"
        )


def _weighted_mean(op: str, input: Any, target: Any, weight: Any, reduction: str) -> Any:
    """A mean that divides by the sum of the weights."""
    if weight is None:
        return elementwise_loss(op, input, target, reduction)
    losses = elementwise_loss(op, input, target, "none")
    _check_weight(op, losses, weight)
    if reduction == "mean":
        return (losses * weight).sum() / weight.sum()
    return _reduced(op, losses * weight, reduction)


@full_precision
@takes_tensors
def mse_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """``(input - target)**2``. Warns where the shapes differ.

    With ``weight`` (the shape of the losses) the mean is ``sum(weight * loss) / sum(weight)``.

    Any shapes that broadcast; floating dtypes. ``reduction`` is 'none' (the broadcast shape),
    'mean' or 'sum' (0-dimensional). Raises RuntimeError for shapes that do not broadcast,
    ValueError for another ``reduction`` and for a ``weight`` of another shape.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    _warn_about_shapes(input, target)
    return _weighted_mean("mse_loss", input, target, weight, reduction)


@full_precision
@takes_tensors
def l1_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    """``abs(input - target)``. Warns where the shapes differ; ``weight`` as in :func:`mse_loss`.

    Any shapes that broadcast; floating dtypes. ``reduction`` is 'none' (the broadcast shape),
    'mean' or 'sum' (0-dimensional). Raises RuntimeError for shapes that do not broadcast,
    ValueError for another ``reduction`` and for a ``weight`` of another shape.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    _warn_about_shapes(input, target)
    if input.is_complex() or target.is_complex():
        losses = (input - target).abs()
        _check_weight("l1_loss", losses, weight)
        return _reduced("l1_loss", _weighted(losses, weight), reduction)
    return _weighted_mean("l1_loss", input, target, weight, reduction)


@full_precision
@takes_tensors
def smooth_l1_loss(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Any:
    """``d**2 / (2 * beta)`` for ``d = abs(input - target)`` below ``beta``, else ``d - beta / 2``.

    ``beta = 0`` is :func:`l1_loss`. Raises RuntimeError for a negative ``beta``. Girshick, "Fast
    R-CNN" (2015).
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    _warn_about_shapes(input, target)
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss does not support negative values for beta. Got: {beta}")
    if beta == 0:
        return elementwise_loss("l1_loss", input, target, reduction)
    return elementwise_loss("smooth_l1_loss", input, target, reduction, beta)


@full_precision
@takes_tensors
def huber_loss(
    input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None
) -> Any:
    """``d**2 / 2`` for ``d = abs(input - target)`` up to ``delta``, else ``delta * (d - delta/2)``.

    Raises RuntimeError unless ``delta`` is positive. ``weight`` has the shape of the losses; unlike
    in :func:`mse_loss`, the mean still divides by their number. Huber, "Robust Estimation of a
    Location Parameter" (1964).
    """
    _warn_about_shapes(input, target)
    if not delta > 0:
        raise RuntimeError(
            f"huber_loss does not support non-positive values for delta. Got: {delta}"
        )
    if weight is None:
        return elementwise_loss("huber_loss", input, target, reduction, delta)
    losses = elementwise_loss("huber_loss", input, target, "none", delta)
    _check_weight("huber_loss", losses, weight)
    return _reduced("huber_loss", losses * weight, reduction)


@takes_tensors
def binary_cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """``-(target * log(input) + (1 - target) * log(1 - input))`` of probabilities.

    Logarithms are cut off at -100, so the loss is finite at 0 and 1. ``weight`` multiplies the
    losses. Raises ValueError unless the shapes agree, RuntimeError for an input outside [0, 1] and
    in mixed precision on CUDA devices, where probabilities of float16 have rounded to 0 and 1.
    """
    if _autocast.enabled and _autocast.is_on():
        if _autocast.applies("cuda", input, target):
            raise RuntimeError(
                "binary_cross_entropy and BCELoss are unsafe to autocast on CUDA devices: expected "
                "logits for binary_cross_entropy_with_logits or BCEWithLogitsLoss"
            )
        return _autocast.raised(
            binary_cross_entropy, input, target, weight, size_average, reduce, reduction
        )
    reduction = legacy_reduction(size_average, reduce, reduction)
    if input.shape != target.shape:
        raise ValueError(
            f"binary_cross_entropy: Using a target size ({target.shape}) that is different to the "
            f"input size ({input.shape}) is deprecated. Please ensure they have the same size."
        )
    if input.numel() and not (input.detach().amin() >= 0 and input.detach().amax() <= 1):
        raise RuntimeError("binary_cross_entropy: all elements of input should be between 0 and 1")
    return _weighted_loss("binary_cross_entropy", input, target, weight, reduction)


def _weighted_loss(op: str, input: Any, target: Any, weight: Any, reduction: str) -> Any:
    """A mean that divides by the number of losses."""
    if weight is None:
        return elementwise_loss(op, input, target, reduction)
    return _reduced(op, elementwise_loss(op, input, target, "none") * weight, reduction)


@full_precision
@takes_tensors
def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:
    """:func:`binary_cross_entropy` of ``sigmoid(input)``, computed without overflow.

    ``pos_weight`` multiplies the losses of positive targets, ``weight`` all; both broadcast. Raises
    ValueError unless the shapes of input and target agree.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if input.shape != target.shape:
        raise ValueError(
            f"binary_cross_entropy_with_logits: Target size ({target.shape}) must be the same as "
            f"input size ({input.shape})"
        )
    op = "binary_cross_entropy_with_logits"
    if pos_weight is None:
        return _weighted_loss(op, input, target, weight, reduction)
    negative_log = (-input.abs()).exp().log1p() + _positive_part(-input)  # -log(sigmoid(input))
    losses = (1 - target) * input + ((pos_weight - 1) * target + 1) * negative_log
    return _reduced(op, _weighted(losses, weight), reduction)


def _positive_part(x: Any) -> Any:
    return x.maximum(x * 0)


@full_precision
@takes_tensors
def kl_div(
    input: Any,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Any:
    """``target * (log(target) - input)``, where ``input`` holds log-probabilities.

    With ``log_target`` the target holds log-probabilities too. ``reduction='batchmean'`` divides
    the sum by the first size, which is the divergence of Kullback and Leibler (1951); 'mean'
    divides by all.

    Any shapes that broadcast; floating dtypes. ``reduction`` is 'none' (the broadcast shape),
    'mean' or 'sum' (0-dimensional). Raises RuntimeError for shapes that do not broadcast,
    ValueError for another ``reduction``.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if reduction == "mean":
        warnings.warn(
            "kl_div: reduction 'mean' divides by the number of elements; the divergence per row is "
            "'batchmean'.",
            stacklevel=2,
        )
    if log_target:
        losses = target.exp() * (target - input)
    else:
        logarithm = where(target == 0, 1.0, target).log()  # 0 * log(0) counts as 0
        losses = target * (logarithm - input)
    if reduction == "batchmean":
        return losses.sum() / (input.shape[0] if input.ndim else 1)
    return _reduced("kl_div", losses, reduction)
