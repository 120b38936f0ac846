"""``tilegrad.fft``: what of ``torch.fft`` needs no complex numbers: frequencies and shifts."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _C
from .ops._register import takes_tensors
from .ops.join import roll
from .ops.view import _dim

__all__ = ["fftfreq", "fftshift", "ifftshift", "rfftfreq"]


def _shift_dims(op: str, input: Any, dim: Any) -> list[int]:
    if dim is None:
        return list(range(input.ndim))
    return [_dim(d, input.ndim, op) for d in ([dim] if isinstance(dim, int) else dim)]


@takes_tensors
def fftshift(input: Any, dim: Any = None) -> Any:
    """Moves the frequency 0 from the front to the middle, along ``dim`` or all dimensions.

    Raises IndexError for a dimension out of range, TypeError for what is not a tensor.
    """
    dims = _shift_dims("fft_fftshift", input, dim)
    return roll(input, [input.shape[d] // 2 for d in dims], dims) if dims else input.clone()


@takes_tensors
def ifftshift(input: Any, dim: Any = None) -> Any:
    """Undoes :func:`fftshift`. Raises IndexError for a dimension out of range, TypeError for what
    is not a tensor."""
    dims = _shift_dims("fft_ifftshift", input, dim)
    return roll(input, [-(input.shape[d] // 2) for d in dims], dims) if dims else input.clone()


def _frequencies(made: np.ndarray, dtype: Any, device: Any, requires_grad: bool) -> Any:
    found = _C.to_dtype(_C.from_numpy(made), _C.get_default_dtype() if dtype is None else dtype)
    found = found if device is None else found.to(device)
    return found.requires_grad_() if requires_grad else found


def fftfreq(
    n: int, d: float = 1.0, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Any:
    """The frequencies of a transform of ``n`` samples ``d`` apart: 0, 1/(nd), ..., -1/(nd).

    Raises ValueError for no samples, TypeError for what is not a number.
    """
    return _frequencies(np.fft.fftfreq(n, d), dtype, device, requires_grad)


def rfftfreq(
    n: int, d: float = 1.0, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Any:
    """The frequencies from 0 to 1/(2d) of a transform of ``n`` real samples ``d`` apart.

    Raises ValueError for no samples, TypeError for what is not a number.
    """
    return _frequencies(np.fft.rfftfreq(n, d), dtype, device, requires_grad)
