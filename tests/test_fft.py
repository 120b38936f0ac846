"""``tilegrad.fft`` against ``torch.fft``: values, sizes, dtypes, gradients, complaints."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check, check_error, complex_randn, randn

ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
PLANE = tuple(f"{name}2" for name in ONE)
MANY = tuple(f"{name}n" for name in ONE)


def given(name: str, dtype: type = np.float64) -> np.ndarray:
    """Real numbers where only those are taken, complex ones elsewhere."""
    wide = np.complex128 if dtype is np.float64 else np.complex64
    real = "rfft" in name.replace("irfft", "") or name.startswith("ihfft")
    return randn(4, 6, 5, dtype=dtype) if real else complex_randn(4, 6, 5, dtype=wide)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
@pytest.mark.parametrize("name", ONE + PLANE + MANY)
def test_like_torch(name, norm, dtype):
    tolerance = 1e-10 if dtype is np.float64 else 3e-5
    check(
        lambda m, x: getattr(m.fft, name)(x, norm=norm),
        given(name, dtype),
        rtol=tolerance,
        atol=tolerance,
    )


@pytest.mark.parametrize("n", [1, 2, 5, 6, 7, 12])
@pytest.mark.parametrize("name", ONE)
def test_sizes_and_dimensions(name, n):
    check(lambda m, x: getattr(m.fft, name)(x, n, 1), given(name), rtol=1e-10, atol=1e-10)
    check(lambda m, x: getattr(m.fft, name)(x, n=n, dim=-3), given(name), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", MANY)
@pytest.mark.parametrize(
    ("s", "dim"),
    [((3, 8), None), (None, (0,)), ((4, -1), (-1, 0)), ((7,), 1), (None, (2, 0, 1)), (6, 0)],
)
def test_sizes_along_several(name, s, dim):
    check(lambda m, x: getattr(m.fft, name)(x, s=s, dim=dim), given(name), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ONE)
def test_real_and_integer_input(name):
    check(lambda m, x: getattr(m.fft, name)(x), randn(5), rtol=1e-10, atol=1e-10)
    check(lambda m, x: getattr(m.fft, name)(x), np.arange(6), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ONE)
def test_gradcheck(name):
    x = tg.from_numpy(given(name)[0, :, :2].copy()).requires_grad_()

    def transform(x):
        return getattr(tg.fft, name)(x, n=5, dim=0)

    assert tg.autograd.gradcheck(transform, x)
    assert tg.autograd.gradgradcheck(transform, x)


def test_helpers():
    check(lambda m, x: (m.fft.fftshift(x), m.fft.ifftshift(x, dim=1)), given("fft"))
    check(lambda m: (m.fft.fftfreq(7, 0.5), m.fft.rfftfreq(8)))


def test_inverses():
    x = tg.from_numpy(given("rfft"))
    assert tg.allclose(tg.fft.irfftn(tg.fft.rfftn(x), s=x.shape), x)
    assert tg.allclose(tg.fft.hfft(tg.fft.ihfft(x), n=5), x)
    assert tg.allclose(tg.fft.ifft2(tg.fft.fft2(x)).real, x)


def test_out():
    x = tg.ones(4)
    out = tg.empty(4, dtype=tg.complex64)
    assert tg.fft.fft(x, out=out) is out
    assert out.tolist() == [4, 0, 0, 0]


@pytest.mark.parametrize(
    ("exception", "pattern", "call"),
    [
        (RuntimeError, "Invalid number of data points", lambda m: m.fft.fft(m.ones(3), 0)),
        (RuntimeError, "Invalid number of data points", lambda m: m.fft.irfft(m.ones(1))),
        (RuntimeError, "Invalid normalization mode", lambda m: m.fft.fft(m.ones(3), norm="x")),
        (RuntimeError, "expects a real input", lambda m: m.fft.rfft(m.ones(3) * 1j)),
        (RuntimeError, "expects a real input", lambda m: m.fft.ihfft(m.ones(3) * 1j)),
        (RuntimeError, "dims must be unique", lambda m: m.fft.fftn(m.ones(3, 3), dim=(0, 0))),
        (RuntimeError, "must have the same length",
         lambda m: m.fft.fftn(m.ones(3, 3), s=(1, 2), dim=(0,))),
        (RuntimeError, "input tensor only has", lambda m: m.fft.fftn(m.ones(3), s=(1, 2))),
        (RuntimeError, "must transform at least one axis", lambda m: m.fft.rfftn(m.ones(()))),
        (RuntimeError, "Unsupported dtype", lambda m: m.fft.fft(m.ones(4, dtype=m.float16))),
        (IndexError, "out of range|range", lambda m: m.fft.fft(m.ones(3), dim=2)),
        (IndexError, "no dimensions", lambda m: m.fft.fft(m.ones(()))),
        (TypeError, "Tensor", lambda m: m.fft.fft([1.0])),
    ],
)  # fmt: skip
def test_complaints(exception, pattern, call):
    with pytest.raises(exception):
        call(torch)
    check_error(exception, pattern, lambda: call(tg))
