"""Helpers of distributions: parameters of one shape, probabilities and log-odds."""

from __future__ import annotations

from typing import Any

from .. import _C
from .._limits import finfo
from ..ops.fill import tensor
from ..ops.random import normal
from ..ops.view import broadcast_tensors
from ..tensor import Tensor

__all__ = ["broadcast_all", "clamp_probs", "lazy_property", "logits_to_probs", "probs_to_logits"]


def broadcast_all(*values: Any) -> tuple[Any, ...]:
    """Tensors of one shape from tensors and numbers; numbers take the tensors' dtype.

    Raises ValueError for anything else.
    """
    if not all(isinstance(v, (Tensor, int, float)) for v in values):
        raise ValueError(
            "Input arguments must all be instances of Number, torch.Tensor or objects implementing "
            "__torch_function__."
        )
    tensors = [v for v in values if isinstance(v, Tensor)]
    dtype = tensors[0].dtype if tensors else _C.get_default_dtype()
    return tuple(
        broadcast_tensors(*(v if isinstance(v, Tensor) else tensor(v, dtype=dtype) for v in values))
    )


def standard_normal(shape: Any, like: Any) -> Any:
    """Numbers of the standard normal distribution, as PyTorch's distributions draw them."""
    zeros = _C.full(tuple(shape), 0, like.dtype, like.device)
    return normal(zeros, _C.full(tuple(shape), 1, like.dtype, like.device))


def clamp_probs(probs: Any) -> Any:
    """Probabilities in [eps, 1 - eps], so that their logarithms are finite."""
    eps = finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def logits_to_probs(logits: Any, is_binary: bool = False) -> Any:
    """The probabilities of log-odds, or of logits along the last dimension."""
    return logits.sigmoid() if is_binary else logits.softmax(-1)


def probs_to_logits(probs: Any, is_binary: bool = False) -> Any:
    """The inverse of :func:`logits_to_probs`, finite for probabilities of 0 and 1."""
    clamped = clamp_probs(probs)
    return clamped.log() - (-clamped).log1p() if is_binary else clamped.log()


class lazy_property:
    """An attribute that is computed when it is first asked for."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped
        self.__doc__ = wrapped.__doc__
        self.name = wrapped.__name__

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        value = self.wrapped(instance)
        instance.__dict__[self.name] = value
        return value


def special(name: str) -> Any:
    """A special function such as ``lgamma``."""
    from .. import ops

    return getattr(ops, name)
