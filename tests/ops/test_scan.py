"""Running products and extremes against PyTorch; its own samples are in tests/conformance."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import check, check_error, randn

X = randn(3, 70, 5)
SPECIAL = np.array([[1.0, np.inf, 2.0, -np.inf], [np.nan, 1.0, 3.0, 2.0], [-np.inf, -np.inf, 0, 1]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("name", ["cumprod", "cummax", "cummin", "logcumsumexp"])
def test_values_and_gradients(name, dim, dtype):
    def outcome(m, x):
        found = getattr(m, name)(x, dim)
        return found if name in ("cumprod", "logcumsumexp") else tuple(found)

    check(outcome, (X / 2).astype(dtype))
    check(lambda m, x: outcome(m, x.transpose(0, 2)), (X[:, :4] / 2).astype(dtype))
    check(outcome, SPECIAL.astype(dtype) if dim < 2 else X, grad=False)


def test_products_with_zeros():
    x = np.array([[2.0, 0.0, 3.0, 0.0, 5.0], [0.0, 1.0, 2.0, 3.0, 4.0]])
    check(lambda m, x: m.cumprod(x, 1), x)
    leaf = tg.from_numpy(x).requires_grad_()
    assert tg.autograd.gradgradcheck(lambda y: tg.cumprod(y, 1), (leaf,))


def test_second_derivatives():
    leaf = tg.from_numpy(randn(2, 5)).requires_grad_()
    assert tg.autograd.gradgradcheck(lambda y: tg.logcumsumexp(y, 1), (leaf,))
    assert tg.autograd.gradgradcheck(lambda y: tg.cumprod(y, 0), (leaf,))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64"])
def test_integers(dtype):
    x = np.random.default_rng(0).integers(0, 3, (4, 6)).astype(dtype)
    check(lambda m, x: m.cumprod(x, 1), x, grad=False)
    check(lambda m, x: tuple(m.cummax(x, 1)) + tuple(m.cummin(x, 0)), x, grad=False)


def test_sizes_and_complaints():
    for shape in [(0,), (2, 0), (0, 3), ()]:
        check(lambda m, x: (m.cumprod(x, 0), *m.cummax(x, 0), m.logcumsumexp(x, 0)), np.ones(shape))
    check(lambda m, x: m.cumprod(x, 0, dtype=m.float64), np.float32([1.5, 2]))
    check(lambda m, x: x.clone().cumprod_(1), X)
    for name in ("cumprod", "cummax", "cummin", "logcumsumexp"):
        check_error(IndexError, "range", lambda n=name: getattr(tg, n)(tg.ones(2), 1))
    check_error(NotImplementedError, "int64", lambda: tg.logcumsumexp(tg.arange(3), 0))


def test_threads_do_not_change_the_result():
    x = tg.from_numpy(randn(64, 3000).astype(np.float32))
    before = tg.get_num_threads()
    found = []
    for threads in (1, 3):
        tg.set_num_threads(threads)
        found.append([tg.cumprod(x, 1), tg.logcumsumexp(x, 1), tg.cummax(x, 0).values])
    tg.set_num_threads(before)
    assert all(tg.equal(a, b) for a, b in zip(*found, strict=True))
