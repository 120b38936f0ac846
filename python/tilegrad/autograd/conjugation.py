"""Gradients of complex results, in PyTorch's convention.

The gradient of a real loss L by z = x + iy is dL/dx + i dL/dy: the direction of steepest ascent,
twice the conjugate Wirtinger derivative. For y = f(z) with a derivative f', which is how nearly all
operations depend on their inputs, that gives ``grad * conj(f'(z))``, or
``conj(conj(grad) * f'(z))``. So the formula ``grad * f'(z)`` of the real numbers serves complex
ones too, between two conjugations; ``record`` puts them around the backward function of every
operation with a complex result. What a real input gets of it is the real part (the engine cuts it
out). Only functions that are not differentiable by z, such as ``abs`` and ``conj``, need formulas
of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _C

__all__ = ["conjugated", "wirtinger"]


def wirtinger(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a backward function that takes and gives complex gradients as they are."""
    backward.is_wirtinger = True  # type: ignore[attr-defined]
    return backward


def conjugated(backward: Callable[..., Any]) -> Callable[..., Any]:
    """The backward function for complex results: ``backward`` between two conjugations.

    Those of users' own Functions, and those marked with :func:`wirtinger`, stay what they are.
    """
    if getattr(backward, "is_custom", False) or getattr(backward, "is_wirtinger", False):
        return backward
    known = getattr(backward, "conjugated", None)
    if known is not None:
        return known

    def between_conjugations(node: Any, *grads: Any) -> Any:
        result = backward(node, *map(_conj, grads))
        return tuple(map(_conj, result)) if isinstance(result, tuple) else _conj(result)

    between_conjugations.__name__ = getattr(backward, "__name__", "unknown")
    wirtinger(between_conjugations)
    if hasattr(backward, "__dict__"):
        backward.conjugated = between_conjugations  # type: ignore[attr-defined]
    return between_conjugations


def _conj(grad: Any) -> Any:
    is_complex = isinstance(grad, _C.TensorBase) and grad.dtype.is_complex
    return grad.conj() if is_complex else grad
