"""Composed arithmetic against PyTorch; PyTorch's own samples are in tests/conformance."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import check, check_error, randn

X, Y, Z = randn(4, 3), randn(3, seed=1), randn(4, 1, seed=2)
SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.5, -2.0])
PAIRS = tuple(np.ascontiguousarray(x) for x in np.broadcast_arrays(SPECIAL[:, None], SPECIAL))
SIX = np.array([12, -18, 0, 7, 2**40, 1])


@pytest.mark.parametrize("name", ["addcmul", "addcdiv"])
def test_fused(name):
    check(lambda m, x, y, z: getattr(m, name)(x, y, z), X, Y, Z)
    check(lambda m, x, y, z: getattr(m, name)(x, y, z, value=-2.5), X, Y, Z)
    check(lambda m, x, y, z: getattr(x.clone().t(), f"{name}_")(z.t(), y[:, None]), X, Y, Z)
    check_error(RuntimeError, "2", lambda: getattr(tg, name)(tg.ones(2), tg.ones(3), tg.ones(3)))


def test_integer_quotients_are_refused():
    whole = tg.ones(2, dtype=tg.int64)
    check_error(RuntimeError, "Integer division", lambda: tg.addcdiv(whole, whole, whole))


@pytest.mark.parametrize(
    "name", ["hypot", "copysign", "logaddexp", "logaddexp2", "fmax", "fmin", "xlogy", "heaviside"]
)
def test_pairs(name):
    check(lambda m, x, y: getattr(m, name)(x, y), X, Y, grad=name != "heaviside")
    check(lambda m, x, y: getattr(m, name)(x.t(), y[:, None]), X, Y, grad=name != "heaviside")
    check(lambda m, x, y: getattr(m, name)(x, y), *PAIRS, grad=False)
    check(lambda m, x, y: getattr(m, name)(x, y), np.zeros((0, 3)), Y, grad=name != "heaviside")


def test_hypot_does_not_overflow():
    check(lambda m, x, y: m.hypot(x, y), np.array([3e200]), np.array([4e200]))


@pytest.mark.parametrize("name", ["deg2rad", "rad2deg", "angle", "signbit", "sgn", "isreal"])
def test_single(name):
    check(lambda m, x: getattr(m, name)(x), X, grad=False)
    check(lambda m, x: getattr(m, name)(x), SPECIAL, grad=False)
    check(lambda m, x: getattr(m, name)(x), np.array([3, -4, 0]), grad=False)


@pytest.mark.parametrize("name", ["gcd", "lcm", "bitwise_left_shift", "bitwise_right_shift"])
def test_integers(name):
    other = np.array([8, 27, 5, 0, 3, -1]) if name in ("gcd", "lcm") else np.array(
        [1, 2, 3, 63, 64, 5])  # fmt: skip
    check(lambda m, x, y: getattr(m, name)(x, y), SIX, other, grad=False)
    check(lambda m, x, y: getattr(m, name)(x, y), SIX.astype(np.int32), other[:1], grad=False)
    check_error(
        NotImplementedError, "not implemented", lambda: getattr(tg, name)(tg.ones(2), tg.ones(2))
    )


def test_digits():
    check(lambda m, x, y: m.nextafter(x, y), *PAIRS, grad=False)
    check(lambda m, x: tuple(m.frexp(x)), np.array([0.3, -8.0, 0.0, 1e-30]))
    check(lambda m, x, y: m.ldexp(x, y), X, np.array([1.0, -3.0, 5.0]))
    check(lambda m, x: m.float_power(x, 2.5), np.abs(X).astype(np.float32))
    check(lambda m, x: m.float_power(2, x), X)
