"""``tilegrad.fft``: discrete Fourier transforms, as in ``torch.fft``.

Each is made of the transforms in :mod:`tilegrad.ops.fourier`, which NumPy computes, float32 in
float32. Common arguments: ``n`` or ``s``, sizes to which the input is cut or filled up with zeros
first (-1: as it is); ``dim``, where; ``norm``: 'backward' (the default: the inverse divides by n),
'ortho' (both by sqrt(n)), 'forward'. Integers and bools become the default dtype. Errors:
RuntimeError for sizes below 1, repeated dimensions, halves and another ``norm``, IndexError for a
dimension out of range, TypeError for what is not a tensor.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _C
from ._autocast import full_precision_on
from .ops._register import put_out, takes_tensors
from .ops.complex import conj
from .ops.fill import _device
from .ops.fill import _finish as _new_tensor
from .ops.fourier import complex_to_complex, complex_to_real, real_to_complex, resized
from .ops.join import roll
from .ops.view import _dim

__all__ = [
    "fft",
    "fft2",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "hfft2",
    "hfftn",
    "ifft",
    "ifft2",
    "ifftn",
    "ifftshift",
    "ihfft",
    "ihfft2",
    "ihfftn",
    "irfft",
    "irfft2",
    "irfftn",
    "rfft",
    "rfft2",
    "rfftfreq",
    "rfftn",
]

_LAST_TWO = (-2, -1)


# --- arguments ------------------------------------------------------------------------------------


def _norm(norm: str | None, is_inverse: bool = False) -> str:
    """The mode for a transform in its usual direction; the other one divides where it does not."""
    mode = "backward" if norm is None else norm
    if mode not in ("backward", "forward", "ortho"):
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    return {"backward": "forward", "forward": "backward"}.get(mode, mode) if is_inverse else mode


def _floating(op: str, input: Any) -> Any:
    """Float32, float64 or complex values."""
    if not (input.dtype.is_floating_point or input.dtype.is_complex):
        return input.to(_C.get_default_dtype())
    if input.dtype.itemsize == 2:
        raise RuntimeError(f"{op}: Unsupported dtype {input.dtype}")
    return input


def _complex(op: str, input: Any) -> Any:
    input = _floating(op, input)
    return input.to(_C.promote_types(input.dtype, _C.complex64))


def _real(op: str, input: Any) -> Any:
    if input.dtype.is_complex:
        raise RuntimeError(f"{op} expects a real input tensor, but got {input.dtype}")
    return _floating(op, input)


def _one(op: str, input: Any, n: int | None, dim: int) -> tuple[int, int]:
    """(dimension, size) of a transform along one dimension."""
    if input.ndim == 0:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    at = _dim(dim, input.ndim, op)
    size = input.shape[at] if n is None or n == -1 else n
    if size < 1:
        raise RuntimeError(f"Invalid number of data points ({size}) specified")
    return at, size


def _several(op: str, input: Any, s: Any, dim: Any) -> tuple[list[int], list[int]]:
    """(dimensions, sizes) of a transform along several."""
    ndim = input.ndim
    given = [s] if isinstance(s, int) else None if s is None else list(s)
    dims = [dim] if isinstance(dim, int) else None if dim is None else list(dim)
    if dims is not None:
        dims = [_dim(d, ndim, op) for d in dims]
        if len(set(dims)) != len(dims):
            raise RuntimeError("FFT dims must be unique")
    if given is not None:
        if dims is not None and len(dims) != len(given):
            raise RuntimeError("When given, dim and shape arguments must have the same length")
        if len(given) > ndim:
            raise RuntimeError(
                f"Got shape with {len(given)} values but input tensor only has {ndim} dimensions."
            )
    if dims is None:
        dims = list(range(ndim)) if given is None else list(range(ndim - len(given), ndim))
    sizes = [-1] * len(dims) if given is None else given
    sizes = [input.shape[d] if n == -1 else n for d, n in zip(dims, sizes, strict=True)]
    for size in sizes:
        if size < 1:
            raise RuntimeError(f"Invalid number of data points ({size}) specified")
    return dims, sizes


def _half(op: str, input: Any, s: Any, dim: Any) -> tuple[list[int], list[int], int]:
    """(dimensions, sizes, real size of the last) where the last dimension has half of the
    frequencies."""
    dims, sizes = _several(op, input, s, dim)
    if not dims:
        raise RuntimeError(f"{op} must transform at least one axis")
    last = None if s is None else s if isinstance(s, int) else s[-1]
    real_size = 2 * (input.shape[dims[-1]] - 1) if last is None or last == -1 else last
    if real_size < 1:
        raise RuntimeError(f"Invalid number of data points ({real_size}) specified")
    return dims, [*sizes[:-1], real_size // 2 + 1], real_size


def _fitted(input: Any, dims: list[int], sizes: list[int]) -> Any:
    for dim, size in zip(dims, sizes, strict=True):
        input = resized(input, dim, size)
    return input


def _finish(output: Any, out: Any) -> Any:
    return output if out is None else put_out(out, output)


# --- along one dimension --------------------------------------------------------------------------


@takes_tensors
@full_precision_on("cpu")
def fft(
    input: Any, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Any = None
) -> Any:
    """The transform ``sum_j input[j] exp(-2 pi i j k / n)``: real or complex (n) -> complex (n)."""
    at, size = _one("fft", input, n, dim)
    values = resized(_complex("fft", input), at, size)
    return _finish(complex_to_complex(values, [at], _norm(norm), True), out)


@takes_tensors
@full_precision_on("cpu")
def ifft(
    input: Any, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Any = None
) -> Any:
    """The inverse of :func:`fft`: real or complex (n) -> complex (n)."""
    at, size = _one("ifft", input, n, dim)
    values = resized(_complex("ifft", input), at, size)
    return _finish(complex_to_complex(values, [at], _norm(norm), False), out)


@takes_tensors
@full_precision_on("cpu")
def rfft(
    input: Any, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Any = None
) -> Any:
    """:func:`fft` of real numbers, without the second half, which mirrors the first: real (n) ->
    complex (n // 2 + 1). Raises RuntimeError for complex input."""
    at, size = _one("rfft", input, n, dim)
    values = resized(_real("rfft", input), at, size)
    return _finish(real_to_complex(values, at, _norm(norm)), out)


@takes_tensors
@full_precision_on("cpu")
def irfft(
    input: Any, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Any = None
) -> Any:
    """The inverse of :func:`rfft`: complex (n // 2 + 1) -> real (n), by default an even n. The
    imaginary part of what must be real (frequency 0, and n / 2) is ignored."""
    values = _complex("irfft", input)
    dims, sizes, size = _half_of_one("irfft", values, n, dim)
    values = _fitted(values, dims, sizes)
    return _finish(complex_to_real(values, dims[0], _norm(norm), size), out)


def _half_of_one(op: str, input: Any, n: Any, dim: int) -> tuple[list[int], list[int], int]:
    if input.ndim == 0:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    return _half(op, input, n, dim)


@takes_tensors
@full_precision_on("cpu")
def hfft(
    input: Any, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Any = None
) -> Any:
    """The transform of a signal whose second half mirrors the first: complex (n // 2 + 1) -> real
    (n), by default an even n."""
    values = _complex("hfft", input)
    dims, sizes, size = _half_of_one("hfft", values, n, dim)
    values = conj(_fitted(values, dims, sizes))
    return _finish(complex_to_real(values, dims[0], _norm(norm, True), size), out)


@takes_tensors
@full_precision_on("cpu")
def ihfft(
    input: Any, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Any = None
) -> Any:
    """The inverse of :func:`hfft`: real (n) -> complex (n // 2 + 1). Raises RuntimeError for
    complex input."""
    at, size = _one("ihfft", input, n, dim)
    values = resized(_real("ihfft", input), at, size)
    return _finish(conj(real_to_complex(values, at, _norm(norm, True))), out)


# --- along several --------------------------------------------------------------------------------


@takes_tensors
@full_precision_on("cpu")
def fftn(
    input: Any, s: Any = None, dim: Any = None, norm: str | None = None, *, out: Any = None
) -> Any:
    """:func:`fft` along all dimensions, or the last ones that ``s`` has sizes for."""
    dims, sizes = _several("fftn", input, s, dim)
    values = _fitted(_complex("fftn", input), dims, sizes)
    return _finish(complex_to_complex(values, dims, _norm(norm), True), out)


@takes_tensors
@full_precision_on("cpu")
def ifftn(
    input: Any, s: Any = None, dim: Any = None, norm: str | None = None, *, out: Any = None
) -> Any:
    """The inverse of :func:`fftn`."""
    dims, sizes = _several("ifftn", input, s, dim)
    values = _fitted(_complex("ifftn", input), dims, sizes)
    return _finish(complex_to_complex(values, dims, _norm(norm), False), out)


@takes_tensors
@full_precision_on("cpu")
def rfftn(
    input: Any, s: Any = None, dim: Any = None, norm: str | None = None, *, out: Any = None
) -> Any:
    """:func:`fftn` of real numbers, with half of the last dimension, as :func:`rfft`."""
    values = _real("rfftn", input)
    dims, sizes = _several("rfftn", values, s, dim)
    if not dims:
        raise RuntimeError("rfftn must transform at least one axis")
    half = real_to_complex(_fitted(values, dims, sizes), dims[-1], _norm(norm))
    return _finish(complex_to_complex(half, dims[:-1], _norm(norm), True), out)


@takes_tensors
@full_precision_on("cpu")
def irfftn(
    input: Any, s: Any = None, dim: Any = None, norm: str | None = None, *, out: Any = None
) -> Any:
    """The inverse of :func:`rfftn`, with the defaults of :func:`irfft`."""
    values = _complex("irfftn", input)
    dims, sizes, size = _half("irfftn", values, s, dim)
    values = complex_to_complex(_fitted(values, dims, sizes), dims[:-1], _norm(norm), False)
    return _finish(complex_to_real(values, dims[-1], _norm(norm), size), out)


@takes_tensors
def hfftn(
    input: Any, s: Any = None, dim: Any = None, norm: str | None = None, *, out: Any = None
) -> Any:
    """:func:`fftn` of a signal whose second half along the last dimension mirrors the first, as
    :func:`hfft`."""
    values = _complex("hfftn", input)
    dims, sizes, size = _half("hfftn", values, s, dim)
    values = complex_to_complex(_fitted(values, dims, sizes), dims[:-1], _norm(norm), True)
    return _finish(complex_to_real(conj(values), dims[-1], _norm(norm, True), size), out)


@takes_tensors
def ihfftn(
    input: Any, s: Any = None, dim: Any = None, norm: str | None = None, *, out: Any = None
) -> Any:
    """The inverse of :func:`hfftn`. Raises RuntimeError for complex input."""
    values = _real("ihfftn", input)
    dims, sizes = _several("ihfftn", values, s, dim)
    if not dims:
        raise RuntimeError("ihfftn must transform at least one axis")
    half = conj(real_to_complex(_fitted(values, dims, sizes), dims[-1], _norm(norm, True)))
    return _finish(complex_to_complex(half, dims[:-1], _norm(norm), False), out)


def _plane(name: str, function: Any) -> Any:
    """The same over the last two dimensions."""

    def transform(
        input: Any, s: Any = None, dim: Any = _LAST_TWO, norm: str | None = None, *, out: Any = None
    ) -> Any:
        return function(input, s, dim, norm, out=out)

    transform.__name__ = transform.__qualname__ = name
    transform.__doc__ = f""":func:`{function.__name__}` along two dimensions, by default the last.

    Dtypes and errors are those of :func:`{function.__name__}`.
    """
    return transform


fft2 = _plane("fft2", fftn)
ifft2 = _plane("ifft2", ifftn)
rfft2 = _plane("rfft2", rfftn)
irfft2 = _plane("irfft2", irfftn)
hfft2 = _plane("hfft2", hfftn)
ihfft2 = _plane("ihfft2", ihfftn)


# --- frequencies ----------------------------------------------------------------------------------


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


def _frequencies(
    made: np.ndarray, dtype: Any, device: Any, requires_grad: bool, pin_memory: bool
) -> Any:
    found = _C.to_dtype(_C.from_numpy(made), _C.get_default_dtype() if dtype is None else dtype)
    return _new_tensor(found.to(_device(device)), requires_grad, None, pin_memory)


def fftfreq(
    n: int, d: float = 1.0, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
    pin_memory: bool = False,
) -> Any:  # fmt: skip
    """The frequencies of a transform of ``n`` samples ``d`` apart: 0, 1/(nd), ..., -1/(nd).

    Raises ValueError for no samples, TypeError for what is not a number.
    """
    return _frequencies(np.fft.fftfreq(n, d), dtype, device, requires_grad, pin_memory)


def rfftfreq(
    n: int, d: float = 1.0, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
    pin_memory: bool = False,
) -> Any:  # fmt: skip
    """The frequencies from 0 to 1/(2d) of a transform of ``n`` real samples ``d`` apart.

    Raises ValueError for no samples, TypeError for what is not a number.
    """
    return _frequencies(np.fft.rfftfreq(n, d), dtype, device, requires_grad, pin_memory)
