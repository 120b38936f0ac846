"""Cross-entropy and negative log-likelihood, of class indices (one kernel) and class probabilities.

Public as ``tilegrad.nn.functional.cross_entropy`` and ``nll_loss``; PyTorch has them in the same
place.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from .. import _C
from .._autocast import full_precision
from ..autograd.graph import needs_grad, record
from ._register import takes_tensors
from .softmax import log_softmax, softmax

__all__: list[str] = []  # in tilegrad.nn.functional, not in tilegrad


def legacy_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The reduction meant by PyTorch's deprecated arguments, where one of them is given."""
    if size_average is None and reduce is None:
        return reduction
    meant = "none" if reduce is False else "sum" if size_average is False else "mean"
    warnings.warn(
        f"size_average and reduce args will be deprecated, please use reduction='{meant}' instead.",
        stacklevel=3,
    )
    return meant


@full_precision
@takes_tensors
def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """The loss ``-log(softmax(input)[target])`` of unnormalized scores.

    Args:
        input: scores of shape (C,), (N, C) or (N, C, d1, ...), float32 or float64.
        target: class indices (int64) of the shape of ``input`` without C, or class probabilities of
            the shape and dtype of ``input``.
        weight: a factor per class, shape (C,); the mean is then weighted too.
        ignore_index: rows with this index count nothing. All ignored: the mean is NaN.
        reduction: 'none' (one loss per row), 'mean' or 'sum'.
        label_smoothing: the share of the target that is spread over all classes, in [0, 1]
            (Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015).

    Raises:
        IndexError: a label outside the classes.
        ValueError: different batch sizes, or an unknown reduction.
        RuntimeError: other misfits of shapes and dtypes.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    _check_input("cross_entropy", input)
    if target.shape == input.shape and (input.ndim > 1 or target.dtype.is_floating_point):
        return _soft_cross_entropy(
            input, target, weight, ignore_index, reduction, float(label_smoothing)
        )
    return _index_loss(
        "cross_entropy", input, target, weight, ignore_index, reduction, float(label_smoothing)
    )


@full_precision
@takes_tensors
def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Any:
    """The loss ``-input[target]`` of log-probabilities; arguments and errors as in
    :func:`cross_entropy`, class indices only."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    _check_input("nll_loss", input)
    if weight is not None and weight.dtype != input.dtype:
        raise RuntimeError(
            f"nll_loss: expected scalar type {input.dtype} for argument 'weight' but found "
            f"{weight.dtype}"
        )
    return _index_loss("nll_loss", input, target, weight, ignore_index, reduction, 0.0)


def _check_input(op: str, input: Any) -> None:
    if input.ndim == 0:
        raise ValueError(f"{op}: argument 'input': expected at least 1 dimension, got a scalar")


def _index_loss(
    op: str,
    input: Any,
    target: Any,
    weight: Any,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> Any:
    """Brings every accepted shape to (rows, classes) or (images, classes, pixels) and back."""
    if input.ndim == 2 and target.ndim == 1:
        if input.shape[0] != target.shape[0]:
            raise ValueError(
                f"{op}: Expected input batch_size ({input.shape[0]}) to match target batch_size "
                f"({target.shape[0]})."
            )
        rows, labels, shape = input, target, None
    elif input.ndim == 1:
        if target.numel() != 1:
            raise ValueError(
                f"{op}: argument 'target': expected one class index for input of shape "
                f"{list(input.shape)}, got shape {list(target.shape)}"
            )
        rows, labels, shape = input.unsqueeze(0), target.reshape(1), target.shape
    else:
        shape = (input.shape[0], *input.shape[2:])
        if tuple(target.shape) != shape:
            raise RuntimeError(
                f"{op}: Expected target size {list(shape)}, got {list(target.shape)}"
            )
        rows, labels = _rows_of_images(input), target.reshape(-1)
    loss = _row_loss(op, rows, labels, weight, ignore_index, reduction, label_smoothing)
    return loss.reshape(shape) if reduction == "none" and shape is not None else loss


def _rows_of_images(input: Any) -> Any:
    """Scores of pixels as they lie in memory: (pixels, classes) or (images, classes, pixels)."""
    last = input.movedim(1, -1)
    if last.is_contiguous():
        return last.reshape(-1, input.shape[1])
    return input.reshape(*input.shape[:2], math.prod(input.shape[2:]))


def _row_loss(op: str, input: Any, target: Any, weight: Any, *options: Any) -> Any:
    normalized = op == "nll_loss"
    wants_grad = needs_grad(input)
    loss, lse, total, grad_input = _C.cross_entropy(
        op, input, target, weight, *options, normalized, wants_grad
    )
    if wants_grad:
        # In a list, from which backward takes it: it must not be changed and used again.
        ready = [] if grad_input is None else [grad_input]
        saved = (ready, op, lse, total, input, target, weight, *options, normalized)
        backward = nll_loss_backward if normalized else cross_entropy_backward
        record(loss, backward, (input,), saved)
    return loss


def cross_entropy_backward(node: Any, grad: Any) -> Any:
    ready, op, lse, total, input, target, weight, *options = node.saved
    if needs_grad(grad, input):  # to be differentiated again
        return _composed_backward(grad, total, input, target, weight, *options)
    if ready and grad.is_cuda:  # to read the number would make the host wait
        return _C.mul(ready.pop(), grad)
    scale = grad.item() if ready else math.nan
    if math.isfinite(scale):  # times infinity, rows of zeros would not stay zero
        grad_input = ready.pop()
        if scale != 1:
            _C.mul_(grad_input, grad)
        return grad_input
    return _C.cross_entropy_backward(
        f"{op}_backward", grad, lse, total, input, target, weight, *options
    )


def nll_loss_backward(node: Any, grad: Any) -> Any:
    return cross_entropy_backward(node, grad)


def _composed_backward(
    grad: Any,
    total: Any,
    input: Any,
    target: Any,
    weight: Any,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    normalized: bool,
) -> Any:
    """The formula of the kernel (csrc/ops/cross_entropy.cpp), in ops that can be differentiated."""
    classes = input.shape[1]
    if input.ndim == 3:  # images: with the classes last
        options = (ignore_index, reduction, label_smoothing, normalized)
        last = input.movedim(1, -1)
        rows = last.reshape(target.numel(), classes)
        slope = _composed_backward(grad, total, rows, target, weight, *options)
        return slope.reshape(last.shape).movedim(-1, 1)
    counted = (target != ignore_index).to(input.dtype).unsqueeze(1)
    index = _C.arange(0, classes, 1, _C.int64, input.device)
    chosen = (index == target.unsqueeze(1)).to(input.dtype) * counted
    if weight is None:
        weight = _C.full((classes,), 1, input.dtype, input.device)
    hard = (chosen * weight).sum(1, keepdim=True) * (1 - label_smoothing)
    soft = counted * (label_smoothing / classes) if classes else counted
    slope = -hard * chosen - soft * weight
    if not normalized:
        slope = slope + softmax(input, 1) * (hard + soft * weight.sum())
    if reduction == "none":
        grad = grad.unsqueeze(1)
    return slope * (grad / total if reduction == "mean" else grad)


def _soft_cross_entropy(
    input: Any,
    target: Any,
    weight: Any,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> Any:
    """``-sum(target * log_softmax(input))``; the mean divides by the number of rows."""
    if not target.dtype.is_floating_point:
        raise RuntimeError(
            "cross_entropy: Expected floating point type for target with class probabilities, "
            f"got {target.dtype}"
        )
    if ignore_index >= 0:
        raise RuntimeError("cross_entropy: ignore_index is not supported for floating point target")
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(
            f"cross_entropy: label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}"
        )
    at = 0 if input.ndim == 1 else 1
    classes = input.shape[at]
    if weight is not None and tuple(weight.shape) != (classes,):
        raise RuntimeError(
            f"cross_entropy: weight tensor should be defined either for all {classes} classes "
            f"or no classes but got weight tensor of shape: {list(weight.shape)}"
        )
    one_dtype = all(x.dtype == input.dtype for x in (target, weight) if x is not None)
    if one_dtype and not needs_grad(target, weight):
        return _soft_rows(input, target, weight, reduction, label_smoothing, at)
    if label_smoothing > 0:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    terms = target * log_softmax(input, at)
    if weight is not None:
        terms = terms * weight.reshape(-1, *[1] * (input.ndim - at - 1))
    losses = -terms.sum(at)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    if reduction != "mean":
        raise ValueError(
            f"cross_entropy: {reduction} is not a valid value for reduction: "
            "expected 'none', 'mean' or 'sum'"
        )
    rows = losses.numel() if classes else 0
    return losses.sum() / (rows if rows else math.nan)


def _soft_rows(
    input: Any, target: Any, weight: Any, reduction: str, label_smoothing: float, at: int
) -> Any:
    """Loss and gradient of constant class probabilities in one kernel, on (rows, classes)."""
    shape = (*input.shape[:at], *input.shape[at + 1 :])
    if input.ndim == 1:
        input, target = input.unsqueeze(0), target.unsqueeze(0)
    elif input.ndim > 2:
        input = input.movedim(1, -1).reshape(-1, input.shape[1])
        target = target.movedim(1, -1).reshape(-1, target.shape[1])
    wants_grad = needs_grad(input)
    loss, grad_input = _C.cross_entropy_soft(
        input, target, weight, reduction, label_smoothing, wants_grad
    )
    if wants_grad:
        saved = ([grad_input], input, target, weight, reduction, label_smoothing)
        record(loss, soft_cross_entropy_backward, (input,), saved)
    return loss.reshape(shape) if reduction == "none" else loss


def soft_cross_entropy_backward(node: Any, grad: Any) -> Any:
    ready, input, target, weight, reduction, label_smoothing = node.saved
    scale = grad if reduction != "none" else grad.unsqueeze(1)
    if needs_grad(grad, input) or not ready:  # to be differentiated again, or used a second time
        classes = input.shape[1]
        share = target * (1 - label_smoothing) + label_smoothing / max(classes, 1)
        if weight is not None:
            share = share * weight
        slope = softmax(input, 1) * share.sum(1, keepdim=True) - share
        return slope * (scale / input.shape[0] if reduction == "mean" else scale)
    grad_input = ready.pop()
    _C.mul_(grad_input, scale)
    return grad_input
