"""Windows for spectra: hann_window, hamming_window, blackman_window, kaiser_window, ...

All follow the PyTorch functions of the same names: a vector of ``window_length`` values of the
default dtype, or of ``dtype``. A periodic window leaves out the last value of one that is an
element longer. Errors: RuntimeError for a negative length and dtypes that are not floating,
TypeError for what is not a number.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _C
from .fill import _device, _finish

__all__ = [
    "bartlett_window",
    "blackman_window",
    "hamming_window",
    "hann_window",
    "kaiser_window",
]


def window(op: str, window_length: Any, periodic: bool, shape: Any, options: dict[str, Any]) -> Any:
    """``shape(position)`` at positions 0, ..., 1, computed in float64."""
    dtype = options.pop("dtype", None) or _C.get_default_dtype()
    device, requires_grad = options.pop("device", None), options.pop("requires_grad", False)
    options.pop("layout", None)
    pin_memory = options.pop("pin_memory", False)
    if options:
        raise TypeError(f"{op}() got an unexpected keyword argument '{next(iter(options))}'")
    if not isinstance(window_length, (int, np.integer)):
        raise TypeError(
            f"{op}(): argument 'window_length' must be int, not {type(window_length).__name__}"
        )
    if not isinstance(dtype, _C.dtype) or not dtype.is_floating_point:
        raise RuntimeError(f"{op} expects floating point dtypes, got: {dtype}")
    if window_length < 0:
        raise RuntimeError(f"{op} requires non-negative window_length, got {window_length}")
    if window_length > 2**40:
        raise MemoryError(f"{op}: cannot allocate {window_length} values")
    if window_length < 2:
        values = np.ones(window_length)
    else:
        last = window_length - (not periodic)
        values = shape(np.arange(window_length) / last)
    made = _C.to_dtype(_C.from_numpy(np.ascontiguousarray(values)), dtype)
    return _finish(made.to(_device(device)), requires_grad, None, pin_memory)


def hann_window(window_length: int, periodic: bool = True, **options: Any) -> Any:
    """``0.5 - 0.5 * cos(2 pi n / N)``. RuntimeError for a negative length."""
    return window(
        "hann_window", window_length, periodic, lambda t: 0.5 - 0.5 * np.cos(2 * np.pi * t), options
    )


def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    **options: Any,
) -> Any:
    """``alpha - beta * cos(2 pi n / N)``. RuntimeError for a negative length."""
    return window(
        "hamming_window",
        window_length,
        periodic,
        lambda t: alpha - beta * np.cos(2 * np.pi * t),
        options,
    )


def blackman_window(window_length: int, periodic: bool = True, **options: Any) -> Any:
    """``0.42 - 0.5 * cos(2 pi n / N) + 0.08 * cos(4 pi n / N)``. RuntimeError for a negative
    length."""
    return window(
        "blackman_window",
        window_length,
        periodic,
        lambda t: 0.42 - 0.5 * np.cos(2 * np.pi * t) + 0.08 * np.cos(4 * np.pi * t),
        options,
    )


def bartlett_window(window_length: int, periodic: bool = True, **options: Any) -> Any:
    """A triangle that starts and ends at 0. RuntimeError for a negative length."""
    return window(
        "bartlett_window", window_length, periodic, lambda t: 1 - np.abs(2 * t - 1), options
    )


def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, **options: Any
) -> Any:
    """Kaiser's window: the Bessel function I0 of a half circle of height ``beta``. RuntimeError for
    a negative length."""
    return window(
        "kaiser_window",
        window_length,
        periodic,
        lambda t: np.i0(beta * np.sqrt(np.maximum(0, 1 - (2 * t - 1) ** 2))) / np.i0(beta),
        options,
    )
