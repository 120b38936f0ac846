"""Connectionist temporal classification: the likelihood of a sequence over all its alignments.

Graves et al., "Connectionist Temporal Classification", 2006. The recursion over time works on whole
batches; its gradient is the engine's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import _C
from .._autocast import full_precision
from ..ops._register import takes_tensors
from ..ops.fill import from_numpy, full, full_like
from ..ops.join import cat, stack
from ..ops.reduce import logsumexp
from ..ops.where import where

__all__ = ["ctc_loss"]

# Stands for log(0) in the recursion: -inf would make NaN of the gradient of a sum of two.
NEVER = -1e30


def _lengths(name: str, value: Any, batch: int) -> np.ndarray:
    lengths = np.asarray(value.tolist() if isinstance(value, _C.TensorBase) else value, np.int64)
    lengths = lengths.reshape(-1)
    if len(lengths) != batch:
        raise RuntimeError(
            f"{name} must be of size batch_size: expected {batch}, got {len(lengths)}"
        )
    return lengths


def _rows(targets: Any, lengths: np.ndarray, batch: int) -> np.ndarray:
    """The targets as a padded matrix; they come as one, or one after the other."""
    values = targets.detach().numpy()
    longest = int(lengths.max(initial=0))
    if values.ndim == 2:
        if len(values) != batch or values.shape[1] < longest:
            raise RuntimeError(
                f"Expected tensor to have size at least {longest} at dimension 1, but got size "
                f"{list(values.shape)} for argument 'targets'"
            )
        return values[:, :longest]
    if values.ndim != 1 or len(values) < lengths.sum():
        raise RuntimeError(
            f"ctc_loss: expected targets of {lengths.sum()} elements, got {list(values.shape)}"
        )
    rows: np.ndarray = np.zeros((batch, longest), np.int64)
    ends = np.cumsum(lengths)
    for row, end, length in zip(rows, ends, lengths, strict=True):
        row[:length] = values[end - length : end]
    return rows


@full_precision
@takes_tensors
def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Any:
    """``-log p(targets)`` summed over all alignments with blanks between repeated labels.

    ``log_probs`` is (time, batch, classes) or (time, classes), the result of a log-softmax;
    ``targets`` (batch, longest) or all one after the other; the lengths are tensors or sequences of
    ``batch`` integers. 'mean' divides each loss by its target's length first. Targets that cannot
    be aligned give infinity, or 0 with ``zero_infinity``.

    Raises RuntimeError for lengths that do not fit and a ``blank`` out of range, ValueError for
    another ``reduction``.
    """
    if log_probs.is_cuda:  # the tables of labels are made on the CPU, and so is all else
        options = (input_lengths, target_lengths, blank, reduction, zero_infinity)
        return ctc_loss(log_probs.cpu(), targets.cpu(), *options).to(log_probs.device)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    single = log_probs.ndim == 2
    scores = log_probs.unsqueeze(1) if single else log_probs
    if scores.ndim != 3:
        raise RuntimeError(f"ctc_loss: expected log_probs of 2 or 3 dimensions, got {scores.ndim}")
    time, batch, classes = scores.shape
    if not 0 <= blank < classes:
        raise RuntimeError(
            f"blank must be in label range: expected 0 to {classes - 1}, got {blank}"
        )
    if single and targets.ndim == 1:
        targets = targets.unsqueeze(0)
    steps = _lengths("input_lengths", input_lengths, batch)
    lengths = _lengths("target_lengths", target_lengths, batch)
    if (steps > time).any() or (steps < 0).any() or (lengths < 0).any():
        raise RuntimeError(
            f"Expected input_lengths to have value between 0 and {time}, but got {steps.tolist()}"
        )
    losses = -_log_likelihood(scores, _rows(targets, lengths, batch), steps, lengths, blank)
    losses = losses + _normalizer(scores, steps)
    losses = where(losses > -NEVER / 2, full_like(losses, 0 if zero_infinity else math.inf), losses)
    if reduction == "mean":
        counts = from_numpy(lengths.clip(min=1)).to(losses.dtype)
        return (losses / counts).mean()
    if reduction == "sum":
        return losses.sum()
    return losses.squeeze(0) if single else losses


def _normalizer(scores: Any, steps: np.ndarray) -> Any:
    """0, with the gradient ``exp(scores)``: as if the sum of all classes were in the loss.

    It makes the gradient that of normalized log-probabilities, as PyTorch's is.
    """
    used = from_numpy(np.arange(len(scores))[:, None] < steps).to(scores.dtype).unsqueeze(2)
    total = (scores.exp() * used).sum((0, 2))
    return total - total.detach()


def _log_likelihood(
    scores: Any, rows: np.ndarray, steps: np.ndarray, lengths: np.ndarray, blank: int
) -> Any:
    """The forward recursion over blank, label, blank, label, ..., blank: (batch)."""
    time, batch, _ = scores.shape
    states = 2 * rows.shape[1] + 1
    labels = np.full((batch, states), blank, np.int64)
    labels[:, 1::2] = rows
    # A label may follow the one before without a blank, unless it repeats it.
    skips = np.zeros((batch, states), bool)
    skips[:, 2:] = (labels[:, 2:] != blank) & (labels[:, 2:] != labels[:, :-2])
    may_skip = from_numpy(skips)
    index = from_numpy(labels)
    never = full((batch, 1), NEVER, dtype=scores.dtype, device=scores.device)
    start = np.arange(states) < 2
    first = from_numpy(np.broadcast_to(start, (batch, states)).copy())
    emitted = [scores[t].gather(1, index) for t in range(time)]
    alpha = where(
        first, full_like(index.to(scores.dtype), 0.0), full_like(may_skip.to(scores.dtype), NEVER)
    )
    history = []
    for t in range(time):
        if t > 0:
            one = cat([never, alpha[:, :-1]], 1)
            two = cat([never, one[:, :-1]], 1)
            two = where(may_skip, two, full_like(two, NEVER))
            alpha = logsumexp(stack([alpha, one, two]), 0)
        alpha = (alpha + emitted[t]).clamp(min=NEVER)
        history.append(alpha)
    ends = _at_end(history, steps, lengths, states)
    return ends


def _at_end(history: list[Any], steps: np.ndarray, lengths: np.ndarray, states: int) -> Any:
    """The sum of the last label and the last blank, at each sequence's own last step."""
    batch = len(steps)
    if not history:
        dtype = np.float32
        return from_numpy(np.where(lengths == 0, 0.0, NEVER).astype(dtype))
    whole = stack(history)  # (time, batch, states)
    rows = np.arange(batch)
    at = whole[from_numpy((steps - 1).clip(min=0)), from_numpy(rows)]
    last = from_numpy((2 * lengths).reshape(-1, 1))
    before = from_numpy((2 * lengths - 1).clip(min=0).reshape(-1, 1))
    blank_end, label_end = at.gather(1, last), at.gather(1, before)
    has_label = from_numpy((lengths > 0).reshape(-1, 1))
    label_end = where(has_label, label_end, full_like(label_end, NEVER))
    total = logsumexp(cat([blank_end, label_end], 1), 1)
    empty = from_numpy(steps == 0)
    nothing = np.where(lengths == 0, 0.0, NEVER)
    return where(empty, from_numpy(nothing).to(total.dtype), total)
