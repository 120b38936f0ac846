"""softmax and log_softmax against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from support import check, check_error, randn

import tilegrad as tg

NAMES = ["softmax", "log_softmax"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_and_gradients(name: str, dtype: type) -> None:
    for shape in [(5,), (4, 7), (3, 100), (2, 33, 70), (2, 3, 4, 5), (3, 1), (0, 4), (4, 0)]:
        for dim in range(-1, len(shape)):
            check(lambda m, x: getattr(m, name)(x, dim), 3 * randn(*shape, dtype=dtype))
    check(lambda m, x: getattr(m, name)(x, 0), randn(dtype=dtype).astype(dtype).reshape(()))
    check(lambda m, x: getattr(x.t(), name)(1), randn(40, 37, dtype=dtype))
    check(lambda m, x: getattr(x[:, ::2], name)(dim=0), randn(40, 37, dtype=dtype))
    check(lambda m, x: getattr(x.expand(4, 9), name)(-1), randn(9, dtype=dtype))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [3, 70])
def test_extreme_values(name: str, size: int) -> None:
    x = np.zeros((7, size))
    x[0] = -np.inf
    x[1, 0] = -np.inf
    x[2, 1] = np.inf
    x[3, 2] = np.nan
    x[4] = 1e300
    x[5] = np.linspace(-1e4, 1e4, size)
    for dtype in (np.float32, np.float64):
        with np.errstate(over="ignore"):
            y = x.astype(dtype)
        check(lambda m, x: getattr(m, name)(x, 1), y, grad=False)
        check(lambda m, x: getattr(m, name)(x, 0), np.ascontiguousarray(y.T), grad=False)


@pytest.mark.parametrize("name", NAMES)
def test_dtype_argument(name: str) -> None:
    check(lambda m, x: getattr(m, name)(x, 0, dtype=m.float64), randn(3, 4, dtype=np.float32))
    check(lambda m, x: getattr(m, name)(x, 0, dtype=m.float32), np.arange(5))


@pytest.mark.parametrize("name", NAMES)
def test_second_derivative(name: str) -> None:
    def slope(m, x, w):
        (grad,) = m.autograd.grad((getattr(m, name)(x, 1) * w).sum(), x, create_graph=True)
        return grad

    check(slope, randn(3, 4), randn(3, 4, seed=1))


@pytest.mark.parametrize("name", NAMES)
def test_complaints(name: str) -> None:
    call = getattr(tg, name)
    check_error(IndexError, f"{name}.*range.* 2", lambda: call(tg.ones(2, 3), 2))
    check_error(NotImplementedError, f"{name}.*int64", lambda: call(tg.arange(3), 0))
