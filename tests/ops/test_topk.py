"""Selection of the best k and of single positions against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import check, check_error, randn

X = randn(4, 7, 3)
SPECIAL = np.array([[1.0, np.nan, -np.inf, np.inf, 0.0], [np.nan, 2.0, np.nan, -1.0, 3.0]])


def test_topk_kthvalue_median():
    for largest in (True, False):
        check(lambda m, x, f=largest: tuple(m.topk(x, 3, 1, f)), X)
        check(lambda m, x, f=largest: tuple(m.topk(x.transpose(1, 2), 7, largest=f)), X)
    check(lambda m, x: tuple(x.topk(0, 0)), X)
    check(lambda m, x: tuple(m.topk(x, 1)), np.array(2.0))
    check(lambda m, x: tuple(m.kthvalue(x, 4, 1)), X)
    check(lambda m, x: tuple(x.kthvalue(1, 0, keepdim=True)), X)
    check(lambda m, x: m.median(x), X)
    check(lambda m, x: m.median(x[0, :6, 0]), X)
    check(lambda m, x: tuple(m.median(x, 1)), X)
    check(lambda m, x: tuple(x.median(0, keepdim=True)), X)
    check(lambda m, x: tuple(m.median(x, 1)), SPECIAL, grad=False)
    check(lambda m, x: m.median(x), SPECIAL, grad=False)
    check(lambda m, x: m.median(x), np.array([5, 1, 4, 2]))


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "int32", "int64", "float32", "float64"]
)
@pytest.mark.parametrize("size", [1, 5, 63, 129, 1031, 5003])
def test_every_way_through_long_rows(dtype, size):
    """Few of many, many of few, and a share between: each takes another path."""
    x = (np.random.default_rng(size).standard_normal((3, size)) * 60).astype("int64")
    distinct = np.random.default_rng(1).permutation(3 * size).reshape(3, size)
    if dtype.startswith("float") or dtype == "int64":
        x = distinct - size
    x = x.astype(dtype)
    for k in sorted({0, 1, min(7, size), size // 5, size // 2, size}):
        for largest in (True, False):
            check(lambda m, x, k=k, f=largest: m.topk(x, k, largest=f).values, x, grad=False)
            taken = tg.topk(tg.from_numpy(x), k, largest=largest)
            order = np.argsort(-x.astype("float64") if largest else x, 1, kind="stable")[:, :k]
            assert np.array_equal(taken.indices.numpy(), order)  # of equal ones the first
    for k in {1, size // 3 + 1, size}:
        check(lambda m, x, k=k: m.kthvalue(x, k).values, x, grad=False)
        found = tg.kthvalue(tg.from_numpy(x), k).indices.numpy()
        assert np.array_equal(found, np.argsort(x, 1, kind="stable")[:, k - 1])
    check(lambda m, x: m.median(x, 1).values, x, grad=False)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_infinity_and_zeros(dtype):
    x = np.random.default_rng(0).standard_normal((2, 700)).astype(dtype)
    x[0, ::9] = np.nan
    x[0, 1::50], x[0, 2::50] = np.inf, -np.inf
    x[1, ::3], x[1, 1::3] = 0.0, -0.0
    for k in (3, 60, 90, 650):
        for largest in (True, False):
            check(lambda m, x, k=k, f=largest: m.topk(x, k, largest=f).values, x, grad=False)
        check(lambda m, x, k=k: m.kthvalue(x, k).values, x, grad=False)
    check(lambda m, x: m.median(x, 1).values, x, grad=False)
    assert tg.median(tg.from_numpy(x), 1).indices.numpy()[0] == 0  # the first NaN
    zeros = tg.topk(tg.from_numpy(x), 700, largest=False).indices.numpy()[1]
    order = np.argsort(x[1], kind="stable")
    assert np.array_equal(zeros, order)  # -0 equals 0


def test_constant_and_sorted_rows():
    rising = np.arange(3000, dtype="float32")
    for x in (rising, rising[::-1].copy(), np.zeros(3000, "float32"), rising % 3):
        for k in (1, 10, 800):
            check(lambda m, x, k=k: m.topk(x, k).values, x, grad=False)
        check(lambda m, x: m.kthvalue(x, 1500).values, x, grad=False)


def test_empty_rows():
    check(lambda m, x: tuple(m.topk(x, 0)), np.zeros((3, 0)))
    check(lambda m, x: tuple(m.topk(x, 2)), np.zeros((0, 4)))
    check(lambda m, x: tuple(m.median(x, 1)), np.zeros((0, 4)))
    check(lambda m, x: tuple(m.kthvalue(x, 2, 1)), np.zeros((0, 4)))


def test_complaints():
    x = tg.zeros(3, 4)
    check_error(RuntimeError, "out of range", lambda: tg.topk(x, 5))
    check_error(RuntimeError, "out of range", lambda: tg.kthvalue(x, 0))
    check_error(IndexError, "Dimension", lambda: tg.topk(x, 1, dim=2))
    check_error(IndexError, "non-zero size", lambda: tg.median(tg.zeros(2, 0), 1))
    check_error(RuntimeError, "topk", lambda: tg._C.topk(x, -1, 1, True))
    check_error(RuntimeError, "select_at", lambda: tg._C.select_at(x, 4, 1, False))
