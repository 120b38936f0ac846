"""Activations with random numbers, and those that cut out a band around zero."""

from __future__ import annotations

import warnings
from typing import Any

from .. import _C
from ..ops._register import takes_tensors
from ..ops.dropout import dropout as _dropout
from ..ops.fill import empty_like, ones_like, zeros_like
from ..ops.softmax import softmax
from ..ops.where import where

__all__ = [
    "alpha_dropout",
    "feature_alpha_dropout",
    "gumbel_softmax",
    "hardshrink",
    "rrelu",
    "rrelu_",
    "softshrink",
]

# What SELU's saturation value is: dropped elements are set to it (Klambauer et al., 2017).
SATURATION = -1.7580993408473766


@takes_tensors
def hardshrink(input: Any, lambd: float = 0.5) -> Any:
    """``input`` where it is outside [-lambd, lambd], 0 within.

    Any shape; floating dtypes are kept. Raises TypeError for what is not a tensor.
    """
    return where((input >= -lambd) & (input <= lambd), zeros_like(input), input)


@takes_tensors
def softshrink(input: Any, lambd: float = 0.5) -> Any:
    """``input`` moved by ``lambd`` towards 0, and 0 within [-lambd, lambd].

    Any shape; floating dtypes are kept. Raises RuntimeError for a negative ``lambd``.
    """
    if not lambd >= 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd}.")
    # NaN is outside of everything and must come through.
    outside = where(input > 0, input - lambd, input + lambd)
    return where((input >= -lambd) & (input <= lambd), 0 * input, outside)


@takes_tensors
def rrelu(
    input: Any,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Any:
    """``input`` where positive, else times a slope: uniform in [lower, upper] in training, their
    mean otherwise.

    Any shape; floating dtypes are kept. Raises RuntimeError for ``lower > upper``.
    """
    if lower > upper:
        raise RuntimeError(
            f"Lower bound should be less than or equal to the upper bound: {lower} {upper}"
        )
    slope: Any = (lower + upper) / 2
    if training:
        slope = empty_like(input.detach()).uniform_(lower, upper)
    positive = input > 0
    result = where(positive if training else input >= 0, input, input * slope)
    return input.copy_(result) if inplace else result


def rrelu_(
    input: Any, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False
) -> Any:
    """In-place form of :func:`rrelu`; returns ``input``."""
    return rrelu(input, lower, upper, training, inplace=True)


def _alpha(input: Any, keep: Any, p: float, inplace: bool) -> Any:
    """Dropped elements at SELU's saturation, then scaled back to mean 0 and variance 1."""
    scale = ((1 - p) * (1 + p * SATURATION**2)) ** -0.5
    shift = -scale * SATURATION * p
    result = input * (keep * scale) + ((1 - keep) * (SATURATION * scale) + shift)
    return input.copy_(result) if inplace else result


def _check_p(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


@takes_tensors
def alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """Dropout that keeps mean and variance of standard normal inputs, for use with SELU.

    Klambauer et al., "Self-Normalizing Neural Networks", 2017. Any shape; floating dtypes. Raises
    ValueError for a probability outside [0, 1].
    """
    _check_p(p)
    if not training or p == 0:
        return input
    if p == 1:
        return input.mul_(0) if inplace else input * 0
    keep = (_dropout(ones_like(input.detach()), p, True) != 0).to(input.dtype)
    return _alpha(input, keep, p, inplace)


@takes_tensors
def feature_alpha_dropout(
    input: Any, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Any:
    """:func:`alpha_dropout` of whole channels of (N, C, ...).

    Raises ValueError for a probability outside [0, 1], RuntimeError for fewer than two dimensions.
    """
    _check_p(p)
    if not training or p == 0:
        return input
    if input.ndim < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    if p == 1:
        return input.mul_(0) if inplace else input * 0
    shape = (*input.shape[:2], *(1 for _ in input.shape[2:]))
    ones = _C.full(shape, 1, input.dtype, input.device)
    return _alpha(input, (_dropout(ones, p, True) != 0).to(input.dtype), p, inplace)


@takes_tensors
def gumbel_softmax(
    logits: Any, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Any:
    """A sample of the softmax of ``(logits + Gumbel noise) / tau``; ``hard``: one-hot, with its
    gradient.

    Jang et al., "Categorical Reparameterization with Gumbel-Softmax", 2017. Raises IndexError for a
    dimension out of range. ``eps`` has no effect, with a warning.
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    noise = -empty_like(logits.detach()).exponential_().log()
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    index = soft.detach().argmax(dim, keepdim=True)
    one_hot = zeros_like(soft.detach()).scatter_(dim, index, 1.0)
    return one_hot - soft.detach() + soft
