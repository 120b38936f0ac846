"""scatter_reduce and index_reduce against PyTorch; its own samples are in tests/conformance."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import check, check_error, randn

X, SOURCE = randn(4, 3), randn(5, 3, seed=1)
INDEX = np.array([[0, 1, 3], [0, 0, 3], [2, 1, 3], [0, 1, 1], [2, 2, 0]])
ROWS = np.array([1, 1, 3, 0, 1])


@pytest.mark.filterwarnings("ignore:index_reduce")  # PyTorch calls it a beta
@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
def test_values_and_gradients(reduce, include_self):
    options = {"reduce": reduce, "include_self": include_self}
    check(lambda m, x, i, s: m.scatter_reduce(x, 0, i, s, **options), X, INDEX, SOURCE)
    check(lambda m, x, i, s: x.t().scatter_reduce(1, i.t(), s.t(), **options), X, INDEX, SOURCE)
    check(lambda m, x, i, s: x.clone().scatter_reduce_(0, i, s, **options), X, INDEX, SOURCE)
    check(
        lambda m, x, i, s: m.scatter_reduce(x, 0, i[:2], s, **options), X, INDEX, SOURCE, grad=False
    )
    if reduce != "sum":
        check(lambda m, x, i, s: m.index_reduce(x, 0, i, s, **options), X, ROWS, SOURCE)


def test_products_with_zeros():
    x, source = X.copy(), SOURCE.copy()
    x[0, 0] = source[0, 1] = source[0, 2] = source[1, 2] = 0
    check(lambda m, x, i, s: m.scatter_reduce(x, 0, i, s, "prod"), x, INDEX, source)


def test_equal_extremes_share():
    x, source = np.round(X), np.round(SOURCE)
    check(lambda m, x, i, s: m.scatter_reduce(x, 0, i, s, "amax"), x, INDEX, source)


def test_complaints():
    x, i = tg.ones(2, 2), tg.zeros(2, dtype=tg.int64)
    check_error(RuntimeError, "either", lambda: tg.scatter_reduce(x, 0, i, x, "median"))
    check_error(RuntimeError, "either", lambda: tg.index_reduce(x, 0, i, x, "sum"))
    check_error(IndexError, "out of range", lambda: tg.index_reduce(x, 0, i + 5, x, "prod"))
