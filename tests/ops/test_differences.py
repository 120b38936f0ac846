"""Differences and areas against PyTorch; its own samples are in tests/conformance."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import check, check_error, randn

X = randn(4, 6)


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_diff(n):
    check(lambda m, x: m.diff(x, n), X)
    check(lambda m, x: x.diff(n, 0), X)
    check(lambda m, x: m.diff(x, n), X > 0, grad=False)
    check(lambda m, x, y: m.diff(x, prepend=y, append=y), X, X[:, :2])
    check_error(RuntimeError, "one-dimensional", lambda: tg.diff(tg.tensor(1.0)))


@pytest.mark.parametrize("name", ["trapezoid", "cumulative_trapezoid"])
def test_areas(name):
    check(lambda m, y: getattr(m, name)(y, dx=0.5), X)
    check(lambda m, y, x: getattr(m, name)(y, x), X, np.linspace(0, 2, 6))
    check(lambda m, y, x: getattr(m, name)(y, x, dim=0), X, randn(4, 6, seed=1))
    check_error(RuntimeError, "one `x` value", lambda: getattr(tg, name)(tg.ones(3), tg.ones(2)))


@pytest.mark.parametrize("edge_order", [1, 2])
def test_gradient(edge_order):
    check(lambda m, x: m.gradient(x, edge_order=edge_order), X)
    check(lambda m, x: m.gradient(x, spacing=0.5, dim=1, edge_order=edge_order), X)
    at = np.array([0.0, 0.5, 0.8, 2.0])
    check(lambda m, x, t: m.gradient(x, spacing=(t,), dim=0, edge_order=edge_order), X, at)
    check_error(RuntimeError, "at least", lambda: tg.gradient(tg.ones(1), edge_order=edge_order))
