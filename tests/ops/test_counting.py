"""Random counts: their moments, frequencies and complaints; numbers are not PyTorch's."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tilegrad as tg
from support import as_array, check_error


@pytest.mark.parametrize("rate", [0.0, 0.3, 4.0, 25.0, 1e4])
def test_poisson_numbers(rate):
    tg.manual_seed(0)
    x = tg.poisson(tg.full((20000,), rate, dtype=tg.float64))
    assert x.dtype is tg.float64 and (x == x.floor()).all() and (x >= 0).all()
    error = 6 * math.sqrt(rate / 20000)
    assert abs(x.mean().item() - rate) <= error
    assert abs(x.var().item() - rate) <= 0.06 * rate + error
    if rate == 4.0:
        shares = np.bincount(as_array(x).astype(int), minlength=20)[:8] / 20000
        exact = [math.exp(-4) * 4**k / math.factorial(k) for k in range(8)]
        np.testing.assert_allclose(shares, exact, atol=0.015)


@pytest.mark.parametrize(("count", "prob"), [(1, 0.3), (10, 0.5), (1000, 0.9), (7, 0.0), (7, 1.0)])
def test_binomial_numbers(count, prob):
    tg.manual_seed(0)
    counts = tg.full((20000,), float(count))
    x = tg.binomial(counts, tg.tensor(prob))
    assert x.dtype is tg.float32 and ((x >= 0) & (x <= count)).all() and x.shape == (20000,)
    spread = count * prob * (1 - prob)
    assert abs(x.mean().item() - count * prob) <= 6 * math.sqrt(spread / 20000) + 1e-3
    assert abs(x.var().item() - spread) <= 0.06 * spread + 1e-6


def test_seeds_and_gradients():
    rate = tg.full((50,), 3.0, requires_grad=True)
    tg.manual_seed(3)
    first = tg.poisson(rate)
    tg.manual_seed(3)
    assert tg.poisson(rate).tolist() == first.tolist() != tg.poisson(rate).tolist()
    generator = tg.Generator(rate.device).manual_seed(3)
    assert tg.poisson(rate, generator).tolist() == first.tolist()
    (first * rate).sum().backward()
    assert rate.grad.tolist() == first.tolist()


def test_complaints():
    x = tg.ones(2)
    for kind, pattern, call in [
        (RuntimeError, "non-negative", lambda: tg.poisson(-x)),
        (RuntimeError, "non-negative", lambda: tg.poisson(x * math.nan)),
        (NotImplementedError, "int64", lambda: tg.poisson(tg.arange(2))),
        (TypeError, "expected a Tensor", lambda: tg.poisson(3.0)),
        (RuntimeError, "counts", lambda: tg.binomial(-x, x)),
        (RuntimeError, "probabilities", lambda: tg.binomial(x, 2 * x)),
        (RuntimeError, "one dtype", lambda: tg.binomial(x, x.double())),
        (RuntimeError, "broadcast", lambda: tg.binomial(x, tg.ones(3))),
        (NotImplementedError, "int64", lambda: tg.binomial(tg.arange(2), x)),
    ]:
        check_error(kind, pattern, call)
