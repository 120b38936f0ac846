"""Making tensors: constants, ranges, grids, windows."""

from __future__ import annotations

import math
from typing import Any

import tilegrad as tg

from ..dtypes import convert_to_tensor, dtype_of, standardize_dtype
from ..op import as_ints, op, to_float

__all__ = [
    "arange", "array", "bartlett", "blackman", "empty", "empty_like", "eye", "full",
    "full_like", "geomspace", "hamming", "hanning", "identity", "kaiser", "linspace",
    "logspace", "ones", "ones_like", "tri", "vander", "zeros", "zeros_like",
]  # fmt: skip

array = convert_to_tensor


def zeros(shape: Any, dtype: Any = None) -> Any:
    """Zeros, ``floatx`` unless told otherwise."""
    return tg.zeros(as_ints(shape), dtype=dtype_of(dtype))


def ones(shape: Any, dtype: Any = None) -> Any:
    """Ones, ``floatx`` unless told otherwise."""
    return tg.ones(as_ints(shape), dtype=dtype_of(dtype))


empty = zeros


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    """One value everywhere."""
    value = convert_to_tensor(fill_value)
    if value.ndim:
        return value.expand(as_ints(shape)).clone().to(dtype_of(dtype))
    return tg.full(as_ints(shape), value.item(), dtype=dtype_of(dtype))


@op
def zeros_like(x: Any, dtype: Any = None, **kwargs: Any) -> Any:
    """Zeros of that shape and dtype."""
    x = convert_to_tensor(x)
    return tg.zeros(x.shape, dtype=x.dtype if dtype is None else dtype_of(dtype))


@op
def ones_like(x: Any, dtype: Any = None) -> Any:
    """Ones of that shape and dtype."""
    x = convert_to_tensor(x)
    return tg.ones(x.shape, dtype=x.dtype if dtype is None else dtype_of(dtype))


@op
def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Any:
    """One value everywhere, of that shape and dtype."""
    x = convert_to_tensor(x)
    return full(x.shape, fill_value, x.dtype if dtype is None else dtype)


empty_like = zeros_like


def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Any:
    """Numbers at equal steps, int32 or ``floatx``."""
    numbers = [x.item() if isinstance(x, tg.Tensor) else x for x in (start, stop, step)]
    first, last, width = numbers
    if last is None:
        first, last = 0, first
    width = 1 if width is None else width
    if dtype is None:
        floating = any(isinstance(x, float) for x in (first, last, width))
        dtype = standardize_dtype(None) if floating else "int32"
    return tg.arange(first, last, width, dtype=dtype_of(dtype))


def linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False,
    dtype: Any = None, axis: int = 0,
) -> Any:  # fmt: skip
    """``num`` numbers from ``start`` to ``stop``."""
    first, last = to_float(start), to_float(stop)
    step = (last - first) / max(num - 1 if endpoint else num, 1)
    places = tg.arange(num, dtype=step.dtype).reshape(-1, *[1] * step.ndim)
    made = tg.moveaxis(first + places * step, 0, axis).to(dtype_of(dtype))
    return (made, step) if retstep else made


def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: float = 10, dtype: Any =
    None, axis: int = 0,
) -> Any:  # fmt: skip
    """Powers of ``base``, whose exponents are at equal steps."""
    return (base ** linspace(start, stop, num, endpoint, axis=axis)).to(dtype_of(dtype))


def geomspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0
) -> Any:
    """Numbers with equal ratios."""
    return logspace(math.log10(start), math.log10(stop), num, endpoint, 10, dtype, axis)


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Any:
    """Ones on the ``k``-th diagonal."""
    return tri(N, M, k, dtype) - tri(N, M, k - 1, dtype)


def identity(n: int, dtype: Any = None) -> Any:
    """The unit matrix."""
    return tg.eye(n, dtype=dtype_of(dtype))


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Any:
    """Ones at and below the ``k``-th diagonal."""
    return tg.tril(tg.ones((N, N if M is None else M), dtype=dtype_of(dtype)), k)


def _window(name: str, function: Any) -> Any:
    def made(x: int) -> Any:
        return function(int(x), periodic=False)

    made.__name__ = name
    made.__doc__ = f"The {name} window of that many points."
    return made


bartlett = _window("bartlett", tg.bartlett_window)
blackman = _window("blackman", tg.blackman_window)
hamming = _window("hamming", tg.hamming_window)
hanning = _window("hanning", tg.hann_window)


def kaiser(x: int, beta: float) -> Any:
    """The Kaiser window of that many points."""
    return tg.kaiser_window(int(x), periodic=False, beta=float(beta))


@op
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """Powers of the elements, highest first."""
    made = tg.linalg.vander(convert_to_tensor(x), N=N)
    return made if increasing else tg.flip(made, (-1,))
