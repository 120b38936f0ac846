"""stft and istft against PyTorch: values, gradients, all options, complaints."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check, check_error, complex_randn, randn

pytestmark = pytest.mark.filterwarnings("ignore:.*A window was not provided")

X = randn(2, 40)
TOLERANCES = {"rtol": 1e-9, "atol": 1e-9}

STFT = {
    "plain": {"n_fft": 8},
    "hop": {"n_fft": 8, "hop_length": 3},
    "not centred": {"n_fft": 8, "center": False},
    "normalized": {"n_fft": 9, "normalized": True},
    "two-sided": {"n_fft": 8, "onesided": False},
    "padding": {"n_fft": 10, "pad_mode": "constant"},
    "short window": {"n_fft": 8, "win_length": 5},
}


@pytest.mark.parametrize("name", STFT)
def test_stft(name):
    options = STFT[name]
    win_length = options.get("win_length", options["n_fft"])
    window = np.hanning(win_length) + 0.1
    check(lambda m, x: m.stft(x, **options, return_complex=True), X, **TOLERANCES)
    check(lambda m, x, w: m.stft(x, window=w, **options, return_complex=True), X, window,
          **TOLERANCES)  # fmt: skip


def test_other_inputs():
    check(lambda m, x: x.stft(8, return_complex=True), X[0], **TOLERANCES)
    check(lambda m, z: m.stft(z, 8), complex_randn(30), **TOLERANCES)
    check(lambda m, x, w: m.stft(x, 8, window=w), X, complex_randn(8), **TOLERANCES)
    with pytest.warns(UserWarning, match="deprecated"):
        check(lambda m, x: m.stft(x, 8, return_complex=False), X, **TOLERANCES)
    x = X.astype(np.float32)
    check(lambda m, x, w: m.stft(x, 8, window=w, return_complex=True).abs(), x,
          np.hanning(8).astype(np.float32), rtol=1e-4, atol=1e-5)  # fmt: skip


ISTFT = {
    "plain": {"n_fft": 8},
    "hop": {"n_fft": 8, "hop_length": 3},
    "shorter": {"n_fft": 8, "length": 13},
    "normalized": {"n_fft": 8, "normalized": True},
    "short window": {"n_fft": 8, "win_length": 6},
    "ones": {"n_fft": 8, "center": False},
}


@pytest.mark.parametrize("name", ISTFT)
def test_istft(name):
    options = ISTFT[name]
    z = complex_randn(2, 5, 6)
    check(lambda m, z: m.istft(z, **options), z, **TOLERANCES)
    window = np.hamming(options.get("win_length", options["n_fft"]))
    check(lambda m, z, w: m.istft(z, window=w, **options), z, window, **TOLERANCES)


def test_istft_of_all_frequencies():
    check(lambda m, z: m.istft(z, 8, return_complex=True), complex_randn(8, 6), **TOLERANCES)
    check(lambda m, z: m.istft(z, 8, onesided=False), complex_randn(8, 6), **TOLERANCES)


def test_round_trip():
    x, window = tg.from_numpy(X), tg.hann_window(16, dtype=tg.float64)
    z = tg.stft(x, 16, 4, window=window, return_complex=True)
    assert tg.allclose(tg.istft(z, 16, 4, window=window, length=40), x)


def test_gradcheck():
    x = tg.from_numpy(X[0, :12].copy()).requires_grad_()
    window = tg.hamming_window(6, dtype=tg.float64)

    def there_and_back(x):
        z = tg.stft(x, 6, 2, window=window, return_complex=True)
        return z, tg.istft(z * 1j, 6, 2, window=window)

    assert tg.autograd.gradcheck(there_and_back, x)


def test_padding_the_tail_warns():
    z = tg.from_numpy(complex_randn(5, 6))
    with pytest.warns(UserWarning, match="padded with"):
        assert tg.istft(z, 8, length=30).shape == (30,)


@pytest.mark.parametrize(
    ("pattern", "call"),
    [
        ("return_complex parameter", lambda m: m.stft(m.ones(20), 8)),
        ("expected a 1D or 2D tensor",
         lambda m: m.stft(m.ones(1, 1, 20), 8, return_complex=True)),
        ("0 < n_fft <", lambda m: m.stft(m.ones(5), 8, center=False, return_complex=True)),
        ("hop_length > 0", lambda m: m.stft(m.ones(20), 8, 0, return_complex=True)),
        ("0 < win_length", lambda m: m.stft(m.ones(20), 8, 2, 9, return_complex=True)),
        ("1D window", lambda m: m.stft(m.ones(20), 8, window=m.ones(7), return_complex=True)),
        ("onesided output", lambda m: m.stft(m.ones(20) * 1j, 8, onesided=True)),
        ("floating point or complex",
         lambda m: m.stft(m.ones(20, dtype=m.int64), 8, return_complex=True)),
        ("complex-valued input", lambda m: m.istft(m.ones(5, 3, 2), 8)),
        ("cannot be empty", lambda m: m.istft(m.ones(5, 0, dtype=m.complex64), 8)),
        ("match n_fft", lambda m: m.istft(m.ones(4, 3, dtype=m.complex64), 8)),
        ("hop_length <=", lambda m: m.istft(m.ones(5, 3, dtype=m.complex64), 8, 9)),
        ("window overlap add min",
         lambda m: m.istft(m.ones(5, 3, dtype=m.complex64), 8, window=m.zeros(8))),
        ("onesided output",
         lambda m: m.istft(m.ones(5, 3, dtype=m.complex64), 8, return_complex=True)),
    ],
)  # fmt: skip
def test_complaints(pattern, call):
    with pytest.raises(RuntimeError):
        call(torch)
    check_error(RuntimeError, pattern, lambda: call(tg))
