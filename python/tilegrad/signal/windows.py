"""Windows of ``M`` values, symmetric or, with ``sym=False``, periodic.

All follow the functions of ``torch.signal.windows``. Errors: ValueError for a negative length,
parameters out of range and dtypes that are not float32 or float64, TypeError for what is not a
number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import _C
from ..ops.windows import window

__all__ = [
    "bartlett",
    "blackman",
    "cosine",
    "exponential",
    "gaussian",
    "general_cosine",
    "general_hamming",
    "hamming",
    "hann",
    "kaiser",
    "nuttall",
]

Shape = Callable[[np.ndarray], np.ndarray]


def _made(name: str, M: Any, sym: bool, shape: Shape, options: dict[str, Any]) -> Any:
    """``shape`` at positions 0, ..., 1, after the checks that all share."""
    if isinstance(M, int) and M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if options.get("layout") is not None and "strided" not in str(options["layout"]):
        raise ValueError(
            f"{name} is implemented for strided tensors only, got: {options['layout']}"
        )
    dtype = options.get("dtype")
    if dtype is not None and dtype not in (_C.float32, _C.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype}")
    return window(name, M, not sym, shape, options)


def _cosines(weights: list[float]) -> Shape:
    """A sum of cosines with alternating signs."""

    def shape(t: np.ndarray) -> np.ndarray:
        terms = (a * (-1) ** k * np.cos(2 * np.pi * k * t) for k, a in enumerate(weights))
        return sum(terms, np.zeros_like(t))

    return shape


def general_cosine(M: int, *, a: Iterable[float], sym: bool = True, **options: Any) -> Any:
    """A sum of cosines with the weights ``a``. Raises ValueError for a negative length and no
    weights, TypeError for weights that are not iterable."""
    if not isinstance(a, Iterable):
        raise TypeError("Coefficients must be a list/tuple")
    weights = list(a)
    if not weights:
        raise ValueError("Coefficients cannot be empty")
    return _made("general_cosine", M, sym, _cosines(weights), options)


def general_hamming(M: int, *, alpha: float = 0.54, sym: bool = True, **options: Any) -> Any:
    """``alpha - (1 - alpha) * cos``. Raises ValueError for a negative length."""
    return _made("general_hamming", M, sym, _cosines([alpha, 1 - alpha]), options)


def hamming(M: int, *, sym: bool = True, **options: Any) -> Any:
    """Hamming's window. Raises ValueError for a negative length."""
    return _made("hamming", M, sym, _cosines([0.54, 0.46]), options)


def hann(M: int, *, sym: bool = True, **options: Any) -> Any:
    """Hann's window. Raises ValueError for a negative length."""
    return _made("hann", M, sym, _cosines([0.5, 0.5]), options)


def blackman(M: int, *, sym: bool = True, **options: Any) -> Any:
    """Blackman's window. Raises ValueError for a negative length."""
    return _made("blackman", M, sym, _cosines([0.42, 0.5, 0.08]), options)


def nuttall(M: int, *, sym: bool = True, **options: Any) -> Any:
    """Nuttall's window of minimum sidelobes. Raises ValueError for a negative length."""
    weights = [0.3635819, 0.4891775, 0.1365995, 0.0106411]
    return _made("nuttall", M, sym, _cosines(weights), options)


def bartlett(M: int, *, sym: bool = True, **options: Any) -> Any:
    """A triangle from 0 to 1 and back. Raises ValueError for a negative length."""
    return _made("bartlett", M, sym, lambda t: 1 - np.abs(2 * t - 1), options)


def cosine(M: int, *, sym: bool = True, **options: Any) -> Any:
    """Half a wave, at the middles of ``M`` parts. Raises ValueError for a negative length."""

    def shape(t: np.ndarray) -> np.ndarray:
        parts = M if sym else M + 1
        return np.sin(np.pi / parts * (np.arange(M) + 0.5))

    return _made("cosine", M, sym, shape, options)


def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, **options: Any
) -> Any:
    """``exp(-|n - center| / tau)``. Raises ValueError for a negative length, for ``tau`` that is
    not positive, and for a ``center`` in a symmetric window."""
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")

    def shape(t: np.ndarray) -> np.ndarray:
        middle = (M if not sym and M > 1 else M - 1) / 2 if center is None else center
        return np.exp(-np.abs(np.arange(M) - middle) / tau)

    return _made("exponential", M, sym, shape, options)


def gaussian(M: int, *, std: float = 1.0, sym: bool = True, **options: Any) -> Any:
    """A bell of deviation ``std``. Raises ValueError for a negative length and a deviation that is
    not positive."""
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")

    def shape(t: np.ndarray) -> np.ndarray:
        middle = (M if not sym and M > 1 else M - 1) / 2
        return np.exp(-(((np.arange(M) - middle) / std) ** 2) / 2)

    return _made("gaussian", M, sym, shape, options)


def kaiser(M: int, *, beta: float = 12.0, sym: bool = True, **options: Any) -> Any:
    """The Bessel function I0 of a half circle of height ``beta``. Raises ValueError for a negative
    length and a negative ``beta``."""
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")

    def shape(t: np.ndarray) -> np.ndarray:
        circle = np.sqrt(np.maximum(0, 1 - (2 * t - 1) ** 2))
        return np.i0(beta * circle) / np.i0(np.float64(beta))

    return _made("kaiser", M, sym, shape, options)
