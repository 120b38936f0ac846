"""Fourier transforms through NumPy's pocketfft, and of short pieces of a signal: stft, istft.

Here are the three transforms that all others are made of, complex to complex, real to complex and
complex to real, with their gradients; ``tilegrad.fft`` has the public functions. ``norm`` says
where a transform over n points is divided by n: 'backward' in the inverse transform, 'forward' in
the other one, 'ortho' by sqrt(n) in both. A transform divided in one place is the adjoint of its
inverse divided in the other, which is what gradients need.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .. import _C
from .._autocast import full_precision_on
from ..autograd.conjugation import wirtinger
from ..autograd.graph import needs_grad, record
from ..tensor import Tensor, as_array
from ._register import method, takes_tensors
from .complex import complex, imag, real, view_as_complex, view_as_real

__all__ = ["istft", "stft"]

_OPPOSITE = {"backward": "forward", "forward": "backward", "ortho": "ortho"}


# --- the three transforms -------------------------------------------------------------------------


def _made(array: np.ndarray, dtype: Any, device: Any) -> Any:
    return _C.to_device(_C.to_dtype(_C.from_numpy(np.ascontiguousarray(array)), dtype), device)


def complex_to_complex(x: Any, dims: list[int], norm: str, forward: bool) -> Any:
    """The transform, or its inverse, of complex numbers along ``dims``."""
    if not dims:
        return x
    transform = np.fft.fftn if forward else np.fft.ifftn
    output = _made(transform(as_array(x), axes=dims, norm=norm), x.dtype, x.device)
    if needs_grad(x):
        record(output, fft_c2c_backward, (x,), (dims, norm, forward))
    return output


@wirtinger
def fft_c2c_backward(node: Any, grad: Any) -> Any:
    dims, norm, forward = node.saved
    return complex_to_complex(grad, dims, _OPPOSITE[norm], not forward)


def real_to_complex(x: Any, dim: int, norm: str) -> Any:
    """The transform of real numbers; of n frequencies the first n // 2 + 1, the others being their
    conjugates."""
    dtype = _C.promote_types(x.dtype, _C.complex64)
    output = _made(np.fft.rfft(as_array(x), axis=dim, norm=norm), dtype, x.device)
    if needs_grad(x):
        record(output, fft_r2c_backward, (x,), (x.shape[dim], dim, norm))
    return output


@wirtinger
def fft_r2c_backward(node: Any, grad: Any) -> Any:
    size, dim, norm = node.saved
    whole = resized(grad, dim, size)
    return real(complex_to_complex(whole, [dim], _OPPOSITE[norm], False))


def complex_to_real(x: Any, dim: int, norm: str, size: int) -> Any:
    """The inverse of :func:`real_to_complex`, to ``size`` real numbers."""
    dtype = _C.float64 if x.dtype is _C.complex128 else _C.float32
    output = _made(np.fft.irfft(as_array(x), size, axis=dim, norm=norm), dtype, x.device)
    if needs_grad(x):
        record(output, fft_c2r_backward, (x,), (x.shape[dim], dim, norm))
    return output


def fft_c2r_backward(node: Any, grad: Any) -> Any:
    from .join import cat

    count, dim, norm = node.saved
    half = real_to_complex(grad, dim, _OPPOSITE[norm])
    twice = grad.shape[dim] - half.shape[dim]  # each of these stands for its conjugate too
    parts = half.split([1, twice, half.shape[dim] - 1 - twice], dim)
    return resized(cat([parts[0], parts[1] * 2, parts[2]], dim), dim, count)


def resized(x: Any, dim: int, size: int) -> Any:
    """Cut, or filled up with zeros, to ``size`` along ``dim``."""
    from .pad import pad

    missing = size - x.shape[dim]
    if missing <= 0:
        return x if missing == 0 else x.narrow(dim, 0, size)
    return pad(x, [0, 0] * (x.ndim - 1 - dim) + [0, missing])


# --- pieces of a signal ---------------------------------------------------------------------------


def _described(op: str, input: Any, n_fft: Any, hop: Any, win: Any, window: Any) -> str:
    shape = "None" if window is None else f"{window.dtype}{{{list(window.shape)}}}"
    return (
        f"{op}({input.dtype}{list(input.shape)}, n_fft={n_fft}, hop_length={hop}, "
        f"win_length={win}, window={shape})"
    )


_warned: set[str] = set()


def _check_window(op: str, said: str, window: Any, win_length: int) -> None:
    if window is None:
        if op not in _warned:  # once
            _warned.add(op)
            warnings.warn(
                f"{op}: A window was not provided. A rectangular window will be applied.",
                UserWarning,
                stacklevel=3,
            )
        return
    if not isinstance(window, Tensor):
        raise TypeError(f"{op}(): argument 'window' must be Tensor, not {type(window).__name__}")
    if window.ndim != 1 or window.shape[0] != win_length:
        raise RuntimeError(
            f"{said}: expected a 1D window tensor of size equal to win_length={win_length}, but "
            f"got window with size {list(window.shape)}"
        )


def _whole_window(window: Any, win_length: int, n_fft: int, like: Any) -> Any:
    """The window in the middle of ``n_fft`` zeros."""
    from .pad import pad

    if window is None:
        dtype = _C.float64 if like.dtype in (_C.float64, _C.complex128) else _C.float32
        window = _C.full((win_length,), 1, dtype, like.device)
    if win_length == n_fft:
        return window
    left = (n_fft - win_length) // 2
    return pad(window, [left, n_fft - win_length - left])


def _is_complex(x: Any) -> bool:
    return x is not None and x.dtype.is_complex


@method()
@takes_tensors
@full_precision_on("cpu")
def stft(
    input: Any,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Any:
    """Fourier transforms of overlapping pieces: a signal's frequencies over time.

    (batch, length) or (length) -> (batch, frequencies, pieces), with n_fft // 2 + 1 frequencies for
    real signals (``onesided``), ``n_fft`` for complex ones. Pieces start every ``hop_length``
    (n_fft // 4) samples and are multiplied by ``window`` (``win_length``, all ones unless given);
    with ``center`` piece t is centred at t * hop_length, and the signal padded by ``pad_mode``.
    ``normalized`` divides by sqrt(n_fft). Without ``return_complex`` the parts lie in a last
    dimension of size 2. Raises RuntimeError for arguments that do not fit together.
    """
    if not isinstance(input, Tensor):
        raise TypeError(f"stft(): argument 'input' must be Tensor, not {type(input).__name__}")
    hop_length = n_fft // 4 if hop_length is None else hop_length
    win_length = n_fft if win_length is None else win_length
    said = _described("stft", input, n_fft, hop_length, win_length, window)
    any_complex = _is_complex(input) or _is_complex(window)
    _check_stft(said, input, window, center, return_complex, any_complex, align_to_window)
    signal = input if input.ndim == 2 else input.unsqueeze(0)
    if center:
        signal = _reflected(signal, n_fft // 2, pad_mode)
    _check_pieces(said, signal.shape[-1], n_fft, hop_length, win_length)
    _check_window("stft", said, window, win_length)
    onesided = not any_complex if onesided is None else onesided
    if onesided and any_complex:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    if not center and align_to_window:
        raise RuntimeError("stft: align_to_window=True requires center=True")
    if window is not None or win_length != n_fft:
        pieces = signal.unfold(-1, n_fft, hop_length) * _whole_window(
            window, win_length, n_fft, input
        )
    else:
        pieces = signal.unfold(-1, n_fft, hop_length)
    norm = "ortho" if normalized else "backward"
    if onesided:
        found = real_to_complex(pieces, 2, norm)
    else:
        dtype = _C.promote_types(pieces.dtype, _C.complex64)
        found = complex_to_complex(pieces.to(dtype), [2], norm, True)
    found = found.transpose(1, 2)
    found = found if input.ndim == 2 else found.squeeze(0)
    return found if return_complex or (return_complex is None) else view_as_real(found)


def _check_stft(
    said: str, input: Any, window: Any, center: bool, return_complex: Any, any_complex: bool,
    align_to_window: Any,
) -> None:  # fmt: skip
    if return_complex is None and not any_complex:
        raise RuntimeError(
            "stft requires the return_complex parameter be given for real inputs, and will further "
            "require that return_complex=True in a future PyTorch release."
        )
    if center and align_to_window is not None:
        raise RuntimeError("stft align_to_window should only be set when center = false")
    if input.dtype not in (_C.float32, _C.float64, _C.complex64, _C.complex128):
        raise RuntimeError(f"{said}: expected a tensor of floating point or complex values")
    if input.ndim not in (1, 2):
        raise RuntimeError(f"{said}: expected a 1D or 2D tensor")
    if not return_complex and return_complex is not None and not any_complex:
        warnings.warn(
            "stft with return_complex=False is deprecated. In a future PyTorch release, stft will "
            "return complex tensors for all inputs, and return_complex=False will raise an error.",
            UserWarning,
            stacklevel=3,
        )


def _reflected(signal: Any, amount: int, pad_mode: str) -> Any:
    """Padded at both ends: the parts of complex signals as two channels."""
    from .pad import pad

    if not signal.dtype.is_complex:
        return pad(signal.unsqueeze(1), [amount, amount], mode=pad_mode).squeeze(1)
    parts = pad(view_as_real(signal).movedim(-1, 1), [amount, amount], mode=pad_mode)
    return view_as_complex(parts.movedim(1, -1).contiguous())


def _check_pieces(said: str, length: int, n_fft: int, hop: int, win: int) -> None:
    if n_fft <= 0 or n_fft > length:
        raise RuntimeError(f"{said}: expected 0 < n_fft < {length}, but got n_fft={n_fft}")
    if hop <= 0:
        raise RuntimeError(f"{said}: expected hop_length > 0, but got hop_length={hop}")
    if win <= 0 or win > n_fft:
        raise RuntimeError(f"{said}: expected 0 < win_length <= n_fft, but got win_length={win}")


@method()
@takes_tensors
def istft(
    input: Any,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Any:
    """The signal of which ``input`` is the :func:`stft`: pieces windowed, added up and divided by
    the sum of squared windows.

    (batch, frequencies, pieces) or (frequencies, pieces), complex -> (batch, length) or (length),
    cut or filled up with zeros to ``length``. The other arguments are those of :func:`stft`. Raises
    RuntimeError for arguments that do not fit together, and where the windows leave gaps.
    """
    if not isinstance(input, Tensor):
        raise TypeError(f"istft(): argument 'input' must be Tensor, not {type(input).__name__}")
    hop_length = n_fft // 4 if hop_length is None else hop_length
    win_length = n_fft if win_length is None else win_length
    said = _described("istft", input, n_fft, hop_length, win_length, window)
    if not input.dtype.is_complex:
        raise RuntimeError(
            "istft requires a complex-valued input tensor matching the output from stft with "
            "return_complex=True."
        )
    onesided = input.shape[-2:-1] != (n_fft,) if onesided is None else onesided
    _check_istft(said, input, n_fft, hop_length, win_length, onesided)
    _check_window("istft", said, window, win_length)
    if return_complex and onesided:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    if not return_complex and _is_complex(window):
        raise RuntimeError("Complex windows are incompatible with return_complex=False")
    whole = _whole_window(window, win_length, n_fft, input)
    spectrum = input if input.ndim == 3 else input.unsqueeze(0)
    norm = "ortho" if normalized else "backward"
    if return_complex:
        pieces = complex_to_complex(spectrum, [1], norm, False)
    elif onesided:
        pieces = complex_to_real(spectrum, 1, norm, n_fft)
    else:
        pieces = complex_to_real(spectrum.narrow(1, 0, n_fft // 2 + 1), 1, norm, n_fft)
    pieces = pieces * whole.reshape(1, n_fft, 1)
    signal = _assembled(said, pieces, whole, hop_length, n_fft // 2 if center else 0, length)
    return signal if input.ndim == 3 else signal.squeeze(0)


def _check_istft(said: str, input: Any, n_fft: int, hop: int, win: int, onesided: bool) -> None:
    if input.numel() == 0:
        raise RuntimeError(f"{said}: input tensor cannot be empty.")
    if input.ndim not in (2, 3):
        raise RuntimeError(f"{said}: expected a tensor with 2 or 3 dimensions, got {input.ndim}")
    expected = n_fft // 2 + 1 if onesided else n_fft
    if input.shape[-2] != expected:
        kind = "onesided" if onesided else "full"
        raise RuntimeError(
            f"{said}: expected the frequency dimension (3rd to the last) of the input tensor to "
            f"match n_fft {'/ 2 + 1 ' if onesided else ''}when {kind}, but got {input.shape[-2]}"
        )
    if not 0 < hop <= win:
        raise RuntimeError(f"{said}: expected 0 < hop_length <= win_length")
    if not 0 < win <= n_fft:
        raise RuntimeError(f"{said}: expected 0 < win_length <= n_fft")


def _assembled(said: str, pieces: Any, window: Any, hop: int, start: int, length: Any) -> Any:
    """Overlapping pieces (batch, n_fft, count) as signals (batch, length)."""
    n_fft, count = pieces.shape[1:]
    total = n_fft + hop * (count - 1)
    signal = _overlapped(pieces, hop, total)
    squares = (window * window).reshape(1, n_fft, 1).expand(1, n_fft, count)
    weights = _overlapped(squares, hop, total)
    end = total - start if length is None else start + length
    shown = min(end, total)
    signal, weights = signal[:, start:shown], weights[:, start:shown]
    smallest = weights.abs().min().item() if weights.numel() else 0
    if not smallest > 1e-11:
        raise RuntimeError(f"{said}window overlap add min: {smallest}")
    signal = signal / weights
    if end > total:
        warnings.warn(
            "The length of signal is shorter than the length parameter. Result is being padded with"
            " zeros in the tail. Please check your center and hop_length settings.",
            UserWarning,
            stacklevel=3,
        )
        signal = resized(signal, 1, end - start)
    return signal


def _overlapped(pieces: Any, hop: int, total: int) -> Any:
    """The sum of pieces (batch, n_fft, count) that start ``hop`` samples apart: (batch, total)."""
    from ..nn.functional import fold

    if pieces.dtype.is_complex:
        return complex(*(_overlapped(x, hop, total) for x in (real(pieces), imag(pieces))))
    size = pieces.shape[1]
    return fold(pieces, (1, total), (1, size), stride=(1, hop)).reshape(pieces.shape[0], total)
