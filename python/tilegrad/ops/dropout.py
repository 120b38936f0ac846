"""Dropout: random zeros during training, by element or by whole channels.

Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting" (2014). What
is kept is scaled by 1 / (1 - p), so evaluation needs no scaling. The default generator
(:func:`tilegrad.manual_seed`) supplies a key for every mask, and the mask is a function of the key,
the same for every number of threads. It is never stored: backward computes it again.
"""

from __future__ import annotations

from typing import Any

from .. import _C
from ..autograd.graph import needs_grad, record
from ..autograd.views import in_place
from ..tensor import Tensor
from ._register import takes_tensors
from .random import _source

__all__ = ["dropout", "dropout_", "feature_dropout", "feature_dropout_"]


def _check(input: Any, p: float) -> None:
    if not isinstance(input, Tensor):
        raise TypeError(f"dropout: argument 'input': expected a Tensor, got {type(input).__name__}")
    if not 0.0 <= p <= 1.0:
        raise ValueError(
            f"dropout: argument 'p': dropout probability has to be between 0 and 1, but got {p}"
        )


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Zeroes each element with probability ``p`` and scales the others; the input if not training.

    Raises ValueError for ``p`` outside [0, 1], RuntimeError for a dtype that is not floating.
    """
    _check(input, p)
    if not training or p == 0.0:
        return input
    key = _C.random_key(_source(None, input), input.device)
    if not inplace:
        return _dropout(input, p, key)
    if needs_grad(input):
        return in_place("dropout_", _dropout, input, p, key)
    _C.dropout_(input, p, key)
    return input


def _dropout(input: Any, p: float, key: Any) -> Any:
    output = _C.dropout(input, p, key)
    if needs_grad(input):
        record(output, dropout_backward, (input,), (p, key))
    return output


def dropout_backward(node: Any, grad: Any) -> Any:
    return _dropout(grad, *node.saved)


def dropout_(input: Any, p: float, training: bool) -> Any:
    """In-place form of :func:`dropout`; returns ``input``.

    Errors are those of :func:`dropout`, and RuntimeError for a leaf that requires grad.
    """
    return dropout(input, p, training, inplace=True)


def feature_dropout(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Any:
    """Zeroes whole channels, input[n, c], of an (N, C, ...) tensor with probability ``p``.

    Raises RuntimeError for fewer than two dimensions.
    """
    _check(input, p)
    if input.ndim < 2:
        raise RuntimeError(
            "feature_dropout: Feature dropout requires at least 2 dimensions in the input, "
            f"got {input.ndim}"
        )
    if not training or p == 0.0:
        return input
    shape = (*input.shape[:2], *(1 for _ in input.shape[2:]))
    ones = _C.full(shape, 1, input.dtype, input.device)
    mask = _C.dropout(ones, p, _C.random_key(_source(None, input), input.device))
    return input.mul_(mask) if inplace else input * mask


def feature_dropout_(input: Any, p: float, training: bool) -> Any:
    """In-place form of :func:`feature_dropout`; returns ``input``.

    Errors are those of :func:`feature_dropout`, and RuntimeError for a leaf that requires grad.
    """
    return feature_dropout(input, p, training, inplace=True)


@takes_tensors
def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """:func:`feature_dropout` of (N, C, L), or of (C, L) without a batch.

    Raises RuntimeError for other numbers of dimensions, ValueError for a probability outside 0 to
    1.
    """
    return _channels("dropout1d", input, p, training, inplace, 1)


def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """:func:`feature_dropout` of (N, C, H, W); a tensor of 3 dimensions counts as (N, C, L).

    Raises RuntimeError for fewer than two dimensions, ValueError for a probability outside 0 to 1.
    """
    return feature_dropout(input, p, training, inplace)


@takes_tensors
def dropout3d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """:func:`feature_dropout` of (N, C, D, H, W), or of (C, D, H, W) without a batch.

    Raises RuntimeError for other numbers of dimensions, ValueError for a probability outside 0 to
    1.
    """
    return _channels("dropout3d", input, p, training, inplace, 3)


def _channels(op: str, input: Any, p: float, training: bool, inplace: bool, spatial: int) -> Any:
    if input.ndim not in (spatial + 1, spatial + 2):
        raise RuntimeError(
            f"{op}: Expected {spatial + 1}D or {spatial + 2}D input, "
            f"but received a {input.ndim}D input"
        )
    if input.ndim == spatial + 2:
        return feature_dropout(input, p, training, inplace)
    batch = feature_dropout(input.unsqueeze(0), p, training, inplace)
    return input if inplace else batch.squeeze(0)
