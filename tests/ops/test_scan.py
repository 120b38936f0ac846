"""cumprod, cummax, cummin and logcumsumexp against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import check, check_error, randn

SHAPES = [(7,), (3, 5), (2, 3, 4), (3, 70), (70, 3), (2, 5, 130), (0, 3), (3, 0)]
NAMES = ["cumprod", "cummax", "cummin", "logcumsumexp"]


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients(name: str) -> None:
    for dtype in (np.float64, np.float32):
        for shape in SHAPES:
            for dim in range(-1, len(shape)):
                check(lambda m, x: getattr(m, name)(x, dim), randn(*shape, dtype=dtype), rtol=1e-4)
        check(lambda m, x: getattr(m, name)(x, 0), np.array(3.0, dtype))
        check(lambda m, x: getattr(x.t(), name)(1), randn(5, 6, dtype=dtype))
        check(lambda m, x: getattr(x[:, ::2], name)(dim=1), randn(5, 6, dtype=dtype))


@pytest.mark.parametrize("name", ["cummax", "cummin"])
def test_the_last_of_equal_ones_and_nan_win(name: str) -> None:
    ties = np.array([[1.0, 3, 3, 2, 3, 5, 5], [0, -0.0, 0, -1, -1, 0, -1]])
    check(lambda m, x: getattr(m, name)(x, 1), ties)
    check(lambda m, x: getattr(m, name)(x, 0), ties.T)
    strange = np.array([1, np.inf, -np.inf, np.nan, 2, np.nan, np.inf])
    for dtype in (np.float32, np.float64):
        check(lambda m, x: getattr(m, name)(x, 0), strange.astype(dtype))
        check(lambda m, x: getattr(m, name)(x, 0), np.repeat(strange[:, None], 70, 1).astype(dtype))
    assert type(getattr(tg, name)(tg.ones(3), 0)).__name__ == name


@pytest.mark.parametrize("name", ["cumprod", "cummax", "cummin"])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int16, np.int32, np.int64])
def test_integers(name: str, dtype: type) -> None:
    x = np.array([[3, 1, 5, 5], [2, 7, 1, 0], [9, 9, 4, 4]]).astype(dtype)
    for dim in (0, 1):
        check(lambda m, x: getattr(m, name)(x, dim), x)


def test_products_with_zeros_and_dtypes() -> None:
    for zeros in ([2], [0], [1, 3], [0, 1, 2, 3, 4], [4]):
        x = randn(5, 3)
        x[zeros, 1] = 0
        check(lambda m, x: m.cumprod(x, 0), x)
        check(lambda m, x: x.t().cumprod(-1), x)
    check(lambda m, x: m.cumprod(x, 0), np.full(70, 3))  # wraps around
    check(lambda m, x: m.cumprod(x, 0, dtype=m.float32), np.arange(1, 9))
    check(lambda m, x: m.cumprod(x, 0, dtype=m.float64), randn(5, dtype=np.float32))
    check(lambda m, x: m.cumprod(x, 0, dtype=m.int8), np.full(5, 100))
    check(lambda m, x: x.clone().cumprod_(1), randn(3, 7, 5))


def test_log_sums_far_from_zero() -> None:
    for values in ([1e4, 1e4, -1e4], [-np.inf, -np.inf, 1.0, 2.0], [0.0, np.inf, 3.0, np.inf]):
        check(lambda m, x: m.logcumsumexp(x, 0), np.array(values), grad=False)
    check(lambda m, x: m.logcumsumexp(x, 0), np.array([1.0, np.nan, 2.0]), grad=False)
    check(lambda m, x: m.logcumsumexp(x, 0), np.array([1e3, -1e3, 1e3, 5.0]))
    check(lambda m, x: m.logcumsumexp(x, 0), np.array([-np.inf, 1.0, 2.0, -np.inf]), grad=False)


@pytest.mark.parametrize("name", NAMES)
def test_differentiated_twice(name: str) -> None:
    x = randn(4, 3)
    assert tg.autograd.gradgradcheck(
        lambda x: (
            getattr(tg, name)(x, 0)[0] if name.startswith("cumm") else getattr(tg, name)(x, 0)
        ),
        (tg.from_numpy(x).requires_grad_(),),
    )
    if name == "cumprod":
        x[1, 1] = x[2, 1] = x[0, 2] = 0
        assert tg.autograd.gradgradcheck(
            lambda x: tg.cumprod(x, 0), (tg.from_numpy(x).requires_grad_(),)
        )


@pytest.mark.host("threads are the CPU's")
def test_the_number_of_threads_does_not_matter() -> None:
    x = tg.from_numpy(randn(300, 500, dtype=np.float32))
    before = tg.get_num_threads()
    try:
        results = []
        for threads in (1, 3):
            tg.set_num_threads(threads)
            results.append([tg.logcumsumexp(x, 1).numpy(), tg.cumprod(x, 0).numpy()])
    finally:
        tg.set_num_threads(before)
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_out_and_complaints() -> None:
    values, indices = tg.empty(3), tg.empty(3, dtype=tg.int64)
    tg.cummax(tg.tensor([1.0, 3.0, 2.0]), 0, out=(values, indices))
    assert values.tolist() == [1, 3, 3] and indices.tolist() == [0, 1, 1]
    for name in NAMES:
        check_error(IndexError, f"{name}.*range", lambda n=name: getattr(tg, n)(tg.ones(2, 3), 2))
        check_error(TypeError, "", lambda n=name: getattr(tg, n)([1.0], 0))
    check_error(NotImplementedError, "logcumsumexp", lambda: tg.logcumsumexp(tg.arange(3), 0))
