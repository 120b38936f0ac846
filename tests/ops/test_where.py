"""Choices by a condition against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import check, check_error, randn

X, Y = randn(4, 5), randn(4, 5, seed=1)
MASK = X > 0
WHOLE = np.arange(-6, 6).reshape(3, 4)
SPECIAL = np.array([np.nan, np.inf, -np.inf, 1.0, -0.0])


@pytest.mark.parametrize(
    "mask, x, y",
    [
        (MASK, X, Y),
        (MASK.T, X.T, Y.T),
        (MASK[:, :1], X, Y[0]),
        (MASK, X[:1], Y.astype(np.float32)),
        (MASK[::2, 1::2], X[::2, 1::2], Y[1::2, 1::2]),
        (np.broadcast_to(MASK[:1], (4, 5)), X, Y),
        (MASK, X, np.array(2.0)),
        (MASK, WHOLE[:1, :1], X),
        (WHOLE > 2, WHOLE, WHOLE.astype(np.int8)),
        (WHOLE > 2, WHOLE.astype(np.int16), WHOLE.astype(np.uint8)),
        (WHOLE > 2, WHOLE > 0, WHOLE < -3),
        (MASK[:0], X[:0], Y[:0]),
        (np.array(True), X, Y),
        (randn(90_000) > 0, randn(90_000), randn(90_000, seed=4)),
    ],
)
def test_where(mask: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    check(lambda m, c, a, b: m.where(c, a, b), mask, x, y)
    check(lambda m, c, a, b: a.where(c, b), mask, x, y)


@pytest.mark.parametrize("x", [X, X.astype(np.float32), WHOLE[:1, :1], MASK])
@pytest.mark.parametrize("number", [0, 2.5, True, float("nan")])
def test_where_with_numbers(x: np.ndarray, number: float) -> None:
    check(lambda m, c, a: (m.where(c, a, number), m.where(c, number, a)), MASK, x)
    check(lambda m, c: (m.where(c, 1, 2), m.where(c, 1.0, 2), m.where(c, True, False)), MASK)


@pytest.mark.parametrize("value", [0, -1.5, float("-inf"), np.array(2.0)])
def test_masked_fill(value: object) -> None:
    for mask in (MASK, MASK[:1], MASK[:, :1], MASK.T.copy().T):
        check(lambda m, a, c, v: a.masked_fill(c, v), X, mask, value)
        check(lambda m, a, c, v: (a * 1).masked_fill_(c, v), X, mask, value)
        check(lambda m, a, c, v: a.masked_fill_(c, v), X, mask, value, grad=False)
        check(lambda m, a, c, v: a.t().masked_fill_(c.t(), v), X, mask, value, grad=False)
    check(lambda m, a, c: m.masked_fill(a, c, 3.7), WHOLE, WHOLE > 1)
    check(lambda m, a, c: m.masked_fill(a, c, 1), X[0], MASK)
    check(lambda m, a: a.masked_fill_(a, False), MASK)


@pytest.mark.parametrize("low, high", [(-0.5, 0.5), (None, 0.2), (0.1, None), (0.5, -0.5), (0, 1)])
def test_clamp_with_numbers(low: float, high: float) -> None:
    check(lambda m, a: m.clamp(a, low, high), X)
    check(lambda m, a: a.clip(min=low, max=high), X.astype(np.float32).T)
    check(lambda m, a: (a * 1).clamp_(low, high), X)
    check(lambda m, a: a.clamp_(low, high), X, grad=False)
    check(lambda m, a: a.clamp(low, high), WHOLE)
    check(lambda m, a: a.clamp(low, high), SPECIAL, grad=False)


@pytest.mark.parametrize("low", [None, randn(5, seed=5) - 0.5, np.array(-0.3)])
@pytest.mark.parametrize("high", [randn(4, 1, seed=6) + 0.5, np.array(0.4), X])
def test_clamp_with_tensors(low: object, high: object) -> None:
    check(lambda m, a, lo, hi: m.clamp(a, lo, hi), X, low, high)
    check(lambda m, a, lo, hi: m.clamp(a, hi, lo), X, low, high)
    check(lambda m, a, lo, hi: (a * 1).clamp_(lo, hi), X, low, high)


def test_clamp_takes_single_elements_for_numbers() -> None:
    check(lambda m, a: m.clamp(a, 0, m.tensor(0.5)), X)
    check(lambda m, a: m.clamp(a, m.tensor(-0.5), 0.25), X)
    check(lambda m, a: (a * 1).clamp_(-1, m.tensor(0)), X)
    for bad in (tg.ones(1), tg.tensor(0.5, requires_grad=True)):
        check_error(TypeError, "both numbers or both tensors", lambda b=bad: tg.clamp(bad, 0, b))


def test_clamp_min_and_max() -> None:
    check(lambda m, a: (m.clamp_min(a, 0.1), m.clamp_max(a, 0.1)), X)
    check(lambda m, a, b: (m.clamp_min(a, b), m.clamp_max(a, b)), X, Y)
    check(lambda m, a: ((a * 1).clamp_min_(0.1), (a * 1).clamp_max_(0.1)), X)
    check(lambda m, a: m.clamp(a, float("nan"), 1.0), X, grad=False)
    check(lambda m, a: (m.clamp(a, 0.5), m.clamp(a, 0, 1)), WHOLE)


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 0.9, 1.0, -2.0, randn(4, 5, seed=7), randn(1)])
def test_lerp(weight: object) -> None:
    check(lambda m, a, b, w: m.lerp(a, b, w), X, Y, weight)
    check(lambda m, a, b, w: (a * 1).lerp_(b, w), X, Y, weight)
    check(
        lambda m, a, b, w: a.lerp_(b, w),
        X.astype(np.float32),
        Y.astype(np.float32),
        0.25,
        grad=False,
    )


def test_nan_to_num() -> None:
    for x in (SPECIAL, SPECIAL.astype(np.float32)):
        check(lambda m, a: m.nan_to_num(a), x)
        check(lambda m, a: a.nan_to_num(nan=1.0, posinf=2.0, neginf=-3.0), x)
        check(lambda m, a: a.nan_to_num_(nan=0.5), x, grad=False)
    check(lambda m, a: m.nan_to_num(a), WHOLE)


@pytest.mark.parametrize("diagonal", [-9, -2, -1, 0, 1, 3, 9])
@pytest.mark.parametrize("name", ["tril", "triu"])
def test_triangles(name: str, diagonal: int) -> None:
    for x in (X, X.T, randn(2, 3, 4), WHOLE, MASK, randn(0, 3)):
        check(lambda m, a: getattr(m, name)(a, diagonal), x)
    check(lambda m, a: getattr(a * 1, name + "_")(diagonal), X)


def test_complaints() -> None:
    x, mask = tg.ones(2), tg.tensor([True, False])
    check_error(RuntimeError, "condition to be a boolean", lambda: tg.where(x, x, x))
    check_error(RuntimeError, "broadcast", lambda: tg.where(mask, tg.ones(3), x))
    check_error(RuntimeError, "boolean masks", lambda: x.masked_fill(tg.arange(2), 1))
    check_error(RuntimeError, "boolean masks", lambda: x.masked_fill_(tg.arange(2), 1))
    check_error(RuntimeError, "0-dimensional value", lambda: x.masked_fill(mask, x))
    check_error(RuntimeError, "0-dimensional value", lambda: x.masked_fill_(mask, x))
    check_error(RuntimeError, "masked_fill_", lambda: x.masked_fill_(mask.unsqueeze(1), 1))
    check_error(RuntimeError, "At least one of", lambda: tg.clamp(x))
    check_error(RuntimeError, "At least one of", lambda: x.clamp_())
    check_error(TypeError, "both numbers or both tensors", lambda: tg.clamp(x, 0, x))
    check_error(RuntimeError, "can't be cast", lambda: tg.arange(3).clamp_(0.5))
    check_error(RuntimeError, "lerp: expected dtype", lambda: tg.lerp(x, x.double(), 0.5))
    check_error(NotImplementedError, "lerp", lambda: tg.lerp(tg.arange(2), tg.arange(2), 0.5))
    check_error(RuntimeError, "at least 2 dimensions", lambda: tg.tril(x))
