"""cumsum against PyTorch."""

from __future__ import annotations

import numpy as np

import tilegrad as tg
from support import check, check_error, randn


def test_values_and_gradients() -> None:
    for shape in [(7,), (3, 5), (2, 3, 4), (3, 70), (70, 3), (0, 3), (3, 0)]:
        for dim in range(-1, len(shape)):
            check(lambda m, x: m.cumsum(x, dim), randn(*shape))
            check(lambda m, x: x.cumsum(dim), np.arange(np.prod(shape)).reshape(shape) - 3)
    check(lambda m, x: m.cumsum(x, 0), np.array(3.0))
    check(lambda m, x: x.t().cumsum(1), randn(5, 6))
    check(lambda m, x: x[:, ::2].cumsum(axis=1), randn(5, 6))


def test_dtypes() -> None:
    check(lambda m, x: m.cumsum(x, 0), np.array([True, True, False]))
    check(lambda m, x: m.cumsum(x, 0), np.array([100, 100, 100], np.uint8))
    check(lambda m, x: m.cumsum(x, 0, dtype=m.float32), np.arange(5))
    check(lambda m, x: m.cumsum(x, 0, dtype=m.float64), randn(5, dtype=np.float32))
    check(lambda m, x: m.cumsum(x, 0, dtype=m.int8), np.full(5, 100))


def test_float32_accuracy() -> None:
    x = np.random.default_rng(0).random(1 << 18).astype(np.float32)
    exact = np.cumsum(x.astype(np.float64))
    np.testing.assert_allclose(tg.from_numpy(x).cumsum(0).numpy(), exact, rtol=1e-7)


def test_complaints() -> None:
    check_error(IndexError, "cumsum.*range.* 2", lambda: tg.ones(2, 3).cumsum(2))
