"""Distances against PyTorch; its own samples are in tests/conformance."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import check, check_error, randn

X, Y = randn(2, 4, 3), randn(5, 3, seed=1)
INF = float("inf")


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 2.0, 3.5, INF])
def test_distances(p):
    check(lambda m, x, y: m.cdist(x, y, p), X, Y, grad=p > 0)  # PyTorch has none for 0
    check(
        lambda m, x: m.nn.functional.pdist(x, p) if m is not tg else tg.pdist(x, p), Y, grad=p > 0
    )
    check(lambda m, x, y: m.dist(x, y, p), X[0], Y[:4], grad=p > 0)


def test_distances_of_equal_rows_have_no_slope():
    check(lambda m, x: m.cdist(x, x.detach()), Y)


def test_empty_and_wrong():
    check(lambda m, x, y: m.cdist(x, y), np.zeros((0, 3)), Y)
    check(lambda m, x, y: m.cdist(x, y), np.zeros((2, 0)), np.zeros((4, 0)))
    check_error(RuntimeError, "columns", lambda: tg.cdist(tg.ones(2, 3), tg.ones(2, 4)))
    check_error(RuntimeError, "non-negative", lambda: tg.cdist(tg.ones(2, 3), tg.ones(2, 3), -1))
    check_error(RuntimeError, "2D", lambda: tg.cdist(tg.ones(3), tg.ones(2, 3)))


def test_renorm():
    check(lambda m, x: m.renorm(x, 2, 1, 1.0), X)
    check(lambda m, x: x.renorm(1, 0, 0.5), X)
    check_error(RuntimeError, "non-positive", lambda: tg.renorm(tg.ones(2, 2), 0, 0, 1))
