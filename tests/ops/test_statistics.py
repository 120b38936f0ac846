"""Statistics against PyTorch; its own samples are in tests/conformance."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import check, check_error, randn

X = randn(4, 7)
WITH_NAN = np.where(np.arange(28).reshape(4, 7) % 5 == 0, np.nan, X)


def test_counts():
    check(lambda m, x: m.histc(x, 5), X, grad=False)
    check(lambda m, x: m.histc(x, bins=4, min=-1, max=1), X.astype(np.float32), grad=False)
    check(lambda m, x: tuple(m.histogram(x, 6)), X, grad=False)
    check(lambda m, x: tuple(m.histogram(x, 6, range=(-1.0, 2.0), density=True)), X, grad=False)
    edges = np.array([-2.0, -0.3, 0.1, 3.0])
    check(lambda m, x, e: tuple(m.histogram(x, e)), X, edges, grad=False)
    check_error(RuntimeError, "bins must be > 0", lambda: tg.histc(tg.ones(2), 0))


@pytest.mark.parametrize("dim", [None, 0, -1])
@pytest.mark.parametrize("name", ["nansum", "nanmean"])
def test_without_nan(name, dim):
    check(lambda m, x: getattr(m, name)(x, dim), WITH_NAN)
    check(lambda m, x: getattr(x, name)(dim=dim, keepdim=dim is not None), WITH_NAN)


def test_medians():
    check(lambda m, x: m.nanmedian(x), WITH_NAN)
    check(lambda m, x: tuple(m.nanmedian(x, 1)), WITH_NAN)
    check(lambda m, x: tuple(m.nanmedian(x, 0, keepdim=True)), X)


def test_order():
    check(lambda m, x: tuple(m.aminmax(x)), X)
    check(lambda m, x: tuple(m.aminmax(x, dim=1, keepdim=True)), X)
    tied = np.random.default_rng(0).integers(0, 3, (5, 9))
    check(lambda m, x: m.mode(x, 1).values, tied, grad=False)
    check(lambda m, x: m.mode(x, 0, True).values, tied, grad=False)


@pytest.mark.parametrize("rule", ["linear", "lower", "higher", "midpoint", "nearest"])
@pytest.mark.parametrize("name", ["quantile", "nanquantile"])
def test_quantiles(name, rule):
    q = np.array([0.0, 0.3, 0.5, 1.0])
    for x in (X, WITH_NAN):
        check(lambda m, x, q: getattr(m, name)(x, q, interpolation=rule), x, q, grad=False)
        check(
            lambda m, x, q: getattr(m, name)(x, q, dim=1, keepdim=True, interpolation=rule),
            x,
            q,
            grad=False,
        )
    check(lambda m, x: getattr(x, name)(0.4, 0, interpolation=rule), X)
    check_error(RuntimeError, "range", lambda: getattr(tg, name)(tg.ones(2), 1.5))


def test_covariance():
    check(lambda m, x: m.cov(x), X)
    check(lambda m, x: m.cov(x, correction=0), X[0])
    f, a = np.array([1, 2, 0, 1, 3, 1, 1]), np.linspace(0.1, 1, 7)
    check(lambda m, x, f, a: m.cov(x, fweights=f, aweights=a), X, f, a)
    check(lambda m, x: m.corrcoef(x), X)
    check_error(RuntimeError, "two or fewer", lambda: tg.cov(tg.ones(2, 2, 2)))


def test_runs():
    x = np.array([[1, 1, 2], [1, 1, 2], [0, 0, 2]])
    check(lambda m, x: m.unique_consecutive(x, True, True), x, grad=False)
    check(lambda m, x: m.unique_consecutive(x, True, True, dim=0), x, grad=False)
    check(lambda m, x: m.unique_consecutive(x), np.zeros(0), grad=False)
