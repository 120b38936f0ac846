"""Fourier transforms, windows of signals, complex numbers as pairs."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ..dtypes import convert_to_tensor
from ..op import op, to_float

__all__ = [
    "extract_sequences", "fft", "fft2", "ifft2", "irfft", "istft", "polar", "rfft", "stft",
    "view_as_complex", "view_as_real",
]  # fmt: skip


def _joined(x: Any) -> Any:
    """A complex tensor of a pair of real ones. Raises ValueError for what is no pair."""
    if not isinstance(x, (tuple, list)) or len(x) != 2:
        raise ValueError(
            "Input `x` should be a tuple of two tensors - real and imaginary. Received: "
            f"x={type(x).__name__}"
        )
    real, imaginary = to_float(x[0]), to_float(x[1])
    if real.shape != imaginary.shape:
        raise ValueError(
            "Input `x` should be a tuple of two tensors - real and imaginary. Both the real and "
            f"imaginary parts should have the same shape. Received: {tuple(real.shape)} and "
            f"{tuple(imaginary.shape)}"
        )
    return tg.complex(real, imaginary)


def _parts(x: Any) -> tuple[Any, Any]:
    return x.real, x.imag


@op
def fft(x: Any) -> tuple[Any, Any]:
    """The transform along the last axis of a pair (real, imaginary), as such a pair."""
    return _parts(tg.fft.fft(_joined(x)))


@op
def fft2(x: Any) -> tuple[Any, Any]:
    """The transform along the last two axes of a pair (real, imaginary), as such a pair."""
    return _parts(tg.fft.fft2(_joined(x)))


@op
def ifft2(x: Any) -> tuple[Any, Any]:
    """The inverse of :func:`fft2`."""
    return _parts(tg.fft.ifft2(_joined(x)))


@op
def rfft(x: Any, fft_length: int | None = None) -> tuple[Any, Any]:
    """The half of the transform that a real tensor needs, as a pair (real, imaginary)."""
    return _parts(tg.fft.rfft(to_float(x), n=fft_length))


@op
def irfft(x: Any, fft_length: int | None = None) -> Any:
    """The inverse of :func:`rfft`, of ``fft_length`` elements."""
    return tg.fft.irfft(_joined(x), n=fft_length)


def _window(window: Any, length: int, dtype: Any) -> Any:
    if window is None:
        return tg.ones(length, dtype=dtype)
    if isinstance(window, str):
        if window not in ("hann", "hamming"):
            raise ValueError(
                'If a string is passed to `window`, it must be one of `"hann"`, `"hamming"`. '
                f"Received: window={window}"
            )
        make = tg.hann_window if window == "hann" else tg.hamming_window
        return make(length, periodic=True, dtype=dtype)
    made = convert_to_tensor(window).to(dtype)
    if tuple(made.shape) != (length,):
        raise ValueError(
            "The shape of `window` must be equal to [sequence_length]. Received: window shape="
            f"{tuple(made.shape)}"
        )
    return made


@op
def stft(
    x: Any, sequence_length: int, sequence_stride: int, fft_length: int, window: Any = "hann",
    center: bool = True,
) -> tuple[Any, Any]:  # fmt: skip
    """Transforms of overlapping windows of signals (..., samples), a pair of shape (..., windows,
    fft_length // 2 + 1). Raises ValueError for a window that does not fit."""
    x = to_float(x)
    if fft_length < sequence_length:
        raise ValueError(
            "`fft_length` must equal or larger than `sequence_length`. Received: sequence_length="
            f"{sequence_length}, fft_length={fft_length}"
        )
    made = tg.stft(
        x.reshape(-1, x.shape[-1]), fft_length, sequence_stride, sequence_length,
        _window(window, sequence_length, x.dtype), center, return_complex=True,
    )  # fmt: skip
    made = made.transpose(-2, -1)
    return _parts(made.reshape(*x.shape[:-1], *made.shape[-2:]))


@op
def istft(
    x: Any, sequence_length: int, sequence_stride: int, fft_length: int, length: int | None = None,
    window: Any = "hann", center: bool = True,
) -> Any:  # fmt: skip
    """The signal of a pair that :func:`stft` made: windows are added up where they overlap."""
    frames = tg.fft.irfft(_joined(x), n=fft_length)
    count = frames.shape[-2]
    whole = fft_length + sequence_stride * (count - 1)
    if window is not None:
        own = _window(window, sequence_length, frames.dtype)
        before = (fft_length - sequence_length) // 2
        own = tg.nn.functional.pad(own, (before, fft_length - sequence_length - before))
        frames = frames * own
        if center and sequence_length == fft_length:
            # What the windows that are there weigh, as the signal's ends have fewer of them.
            weight = _overlapped((own * own).expand(1, count, fft_length), sequence_stride)[0]
        else:
            shifts = -(-fft_length // sequence_stride)
            padded = tg.nn.functional.pad(own * own, (0, shifts * sequence_stride - fft_length))
            weight = padded.reshape(shifts, sequence_stride).sum(0)
            weight = weight.repeat(-(-whole // sequence_stride))[:whole]
        made = _overlapped(frames.reshape(-1, count, fft_length), sequence_stride)
        start = fft_length // 2 if center else 0
        weight, made = weight[start:], made[:, start:]
        made = made / weight
    else:
        made = _overlapped(frames.reshape(-1, count, fft_length), sequence_stride)
        made = made[:, fft_length // 2 :] if center else made
    stop = length if length is not None else made.shape[-1] - (fft_length // 2 if center else 0)
    return made[:, :stop].reshape(*frames.shape[:-2], -1)


def _overlapped(frames: Any, stride: int) -> Any:
    """(N, count, size) added up, each ``stride`` behind the one before: (N, samples)."""
    rows, count, size = frames.shape
    whole = size + stride * (count - 1)
    made = tg.nn.functional.fold(frames.transpose(1, 2), (1, whole), (1, size), stride=(1, stride))
    return made.reshape(rows, whole)


@op
def extract_sequences(x: Any, sequence_length: int, sequence_stride: int) -> Any:
    """Overlapping windows of the last axis: (..., windows, sequence_length)."""
    return convert_to_tensor(x).unfold(-1, int(sequence_length), int(sequence_stride))


@op
def view_as_complex(x: Any) -> Any:
    """Complex numbers of a last axis of two. Raises ValueError for another size of it."""
    x = convert_to_tensor(x)
    if x.ndim < 1 or x.shape[-1] != 2:
        raise ValueError(
            "Last dimension of input must be size 2 (real and imaginary). Received shape: "
            f"{tuple(x.shape)}"
        )
    return tg.complex(x[..., 0], x[..., 1])


@op
def view_as_real(x: Any) -> Any:
    """The parts of complex numbers, as a last axis of two."""
    return tg.stack([x.real, x.imag], -1)


@op
def polar(abs_: Any, angle: Any) -> Any:
    """Complex numbers of that size and angle."""
    size, angle = to_float(abs_), to_float(angle)
    return tg.complex(size * tg.cos(angle), size * tg.sin(angle))
