"""Special functions against PyTorch; its own samples are in tests/conformance."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import check, check_error

WIDE = np.concatenate([np.linspace(-30.3, 30.7, 62), np.array([1e-8, -1e-8, 1e5, 0.5, 2.0])])
POSITIVE = np.concatenate([np.linspace(0.01, 40, 57), np.array([1e-6, 1e4])])
UNIT = np.concatenate([np.linspace(0.003, 0.997, 41), np.array([1e-10, 1 - 1e-10])])
CASES = {
    "gammaln": POSITIVE,
    "digamma": POSITIVE,
    "erfinv": 2 * UNIT - 1,
    "i0": WIDE[np.abs(WIDE) < 700],
    "i0e": WIDE,
    "i1": WIDE[np.abs(WIDE) < 700],
    "i1e": WIDE,
    "ndtr": WIDE,
    "ndtri": UNIT,
    "erfcx": WIDE[(WIDE > -5) & (WIDE < 10)],
    "log_ndtr": WIDE[WIDE < 1e4],
    "entr": POSITIVE,
    "sinc": WIDE[np.abs(WIDE) < 100],
    "logit": UNIT[1:41],
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name, dtype):
    tolerance = {"rtol": 2e-10, "atol": 1e-12} if dtype == "float64" else {"rtol": 1e-5}
    if name == "log_ndtr" and dtype == "float32":  # PyTorch's slope has five digits there
        tolerance["rtol"] = 1e-4
    if name == "digamma":  # PyTorch's trigamma has nine digits
        tolerance["rtol"] = max(tolerance["rtol"], 2e-9)
    x = CASES[name].astype(dtype)
    if dtype == "float32":
        x = x[np.abs(x) < 60] if name not in ("erfinv", "ndtri", "logit") else x[1:41]
    check(lambda m, x: getattr(m.special, name)(x), x, **tolerance)
    check(lambda m, x: getattr(m.special, name)(x[::2]), x, grad=False, **tolerance)


@pytest.mark.parametrize("name", CASES)
def test_edges(name):
    edges = np.array([0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 2.0])
    if name in ("sinc", "i0e", "i1e", "i0", "i1", "erfcx", "gammaln", "digamma"):
        edges = edges[[0, 1, 5, 6]]
    check(lambda m, x: getattr(m.special, name)(x), edges, grad=False, rtol=1e-10)
    check(lambda m, x: getattr(m.special, name)(x), np.zeros((2, 0)))
    check(lambda m, x: getattr(m.special, name)(x), np.array([1, 2]), grad=False, rtol=1e-5)


@pytest.mark.parametrize("n", [0, 1, 2, 4])
def test_polygamma(n):
    check(lambda m, x: m.polygamma(n, x), POSITIVE[3:57], rtol=1e-9)
    check(lambda m, x: x.polygamma(n), POSITIVE[3:57].astype(np.float32), rtol=1e-5)


def test_others():
    check(lambda m, x: m.mvlgamma(x, 3), POSITIVE[3:] + 2, rtol=1e-10)
    check(lambda m, x: m.logit(x, 0.1), UNIT)
    check(lambda m, x, y: m.special.xlog1py(x, y), UNIT, UNIT)
    check(lambda m, x, q: m.special.zeta(x, q), POSITIVE + 1.5, POSITIVE, grad=False, rtol=1e-9)
    check(lambda m, x: m.special.zeta(x, 2.5), POSITIVE + 1.5, grad=False, rtol=1e-9)
    check_error(RuntimeError, "negative n", lambda: tg.polygamma(-1, tg.ones(2)))
    check_error(RuntimeError, "greater", lambda: tg.mvlgamma(tg.ones(2), 0))


def test_in_place():
    check(lambda m, x: x.clone().lgamma_().digamma_(), POSITIVE[20:50], rtol=1e-9)
