"""Functions of one tensor against PyTorch: values, dtypes, gradients, in-place forms."""

from __future__ import annotations

import operator

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check, check_error, randn

ANYWHERE = randn(6, 7) * 2
POSITIVE = np.abs(ANYWHERE) + 0.1
INSIDE_ONE = np.tanh(ANYWHERE) * 0.95
ABOVE_ONE = POSITIVE + 1
DOMAINS = {
    **dict.fromkeys(
        ["neg", "abs", "sign", "square", "exp", "exp2", "expm1", "sin", "cos"], ANYWHERE
    ),
    **dict.fromkeys(["atan", "sinh", "cosh", "asinh", "erf", "erfc", "reciprocal"], ANYWHERE),
    **dict.fromkeys(["floor", "ceil", "trunc", "round", "frac"], ANYWHERE),
    **dict.fromkeys(["log", "log2", "log10", "log1p", "sqrt", "rsqrt"], POSITIVE),
    **dict.fromkeys(["asin", "acos", "atanh", "tan"], INSIDE_ONE),
    "acosh": ABOVE_ONE,
}
EDGES = np.array(
    [0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e30, -1e-30]
)
WHOLE = np.arange(-6, 6).reshape(3, 4)
PREDICATES = ["isnan", "isinf", "isfinite", "isposinf", "isneginf", "logical_not"]
ROUNDINGS = ["floor", "ceil", "trunc", "round"]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", DOMAINS)
def test_values_and_gradients(name: str, dtype: type) -> None:
    x = DOMAINS[name].astype(dtype)
    for layout in (x, x.T, x[::2, 1::3], np.broadcast_to(x[:1], (4, 7)), x[:0], x[1, 2]):
        check(lambda m, a: getattr(m, name)(a), np.asarray(layout))
    check(lambda m, a: getattr(a, name)(), x)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", [*DOMAINS, *PREDICATES])
def test_edges(name: str, dtype: type) -> None:
    check(lambda m, a: getattr(m, name)(a), EDGES.astype(dtype), grad=False)
    check(lambda m, a: getattr(m, name)(a), np.repeat(EDGES, 9)[::3].astype(dtype), grad=False)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int16, np.int8, np.uint8])
@pytest.mark.parametrize("name", [*(set(DOMAINS) - {"frac"}), *PREDICATES, "bitwise_not"])
def test_integers(name: str, dtype: type) -> None:
    x = WHOLE if dtype != np.uint8 else WHOLE + 6
    check(lambda m, a: getattr(m, name)(a), x.astype(dtype))


@pytest.mark.parametrize("name", ["sign", "square", "exp", "sqrt", "bitwise_not", *PREDICATES])
def test_bools(name: str) -> None:
    check(lambda m, a: getattr(m, name)(a), WHOLE > 0)


def test_smallest_integers_wrap() -> None:
    x = np.array([-128, 127, -1], dtype=np.int8)
    check(lambda m, a: (m.neg(a), m.abs(a), m.square(a)), x)


def test_large_tensors() -> None:  # several chunks
    check(lambda m, a: m.exp(a), randn(100_003))
    check(lambda m, a: m.neg(a), randn(300, 400).T)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("decimals", [1, 3, -1, -2, 0])
def test_round_to_decimals(decimals: int, dtype: type) -> None:
    x = (randn(50) * 100).astype(dtype)
    check(lambda m, a: m.round(a, decimals=decimals), x)
    check(lambda m, a: a.clone().round_(decimals=decimals), x)


@pytest.mark.parametrize("symbol", ["neg", "abs"])
def test_operators(symbol: str) -> None:
    check(lambda m, a: getattr(operator, symbol)(a), ANYWHERE)
    check(lambda m, a: getattr(operator, symbol)(a), WHOLE)


def test_pos_and_invert() -> None:
    x = tg.ones(2)
    assert +x is x
    check(lambda m, a: ~a, WHOLE)
    check(lambda m, a: ~a, WHOLE > 0)
    check_error(RuntimeError, r"\+. operator, on a bool", lambda: +tg.tensor([True]))
    check_error(TypeError, "only implemented on integer and Boolean", lambda: ~x)


@pytest.mark.parametrize("name", DOMAINS)
def test_in_place(name: str) -> None:
    x = DOMAINS[name]
    check(lambda m, a: getattr(a, name + "_")(), x, grad=False)
    check(lambda m, a: getattr(a.t(), name + "_")(), x, grad=False)
    if name in ("asinh", "acosh", "atanh"):
        return  # PyTorch does not differentiate the in-place forms of these
    check(lambda m, a: getattr(a * 1, name + "_")(), x)
    check(lambda m, a: getattr((a * 1).narrow(0, 0, 3), name + "_")() * 2, x)


def test_in_place_returns_self_and_counts() -> None:
    x = tg.tensor([1.0, 4.0])
    assert x.sqrt_() is x and x.tolist() == [1.0, 2.0]
    y = tg.tensor([1.0, 4.0], requires_grad=True) * 1
    z = y.exp()
    z.neg_()
    check_error(RuntimeError, "modified by an inplace", lambda: z.backward(tg.ones(2)))
    check(lambda m, a: a.logical_not_(), WHOLE)
    check(lambda m, a: (a.floor_(), a.bitwise_not_(), a.abs_()), WHOLE)


@pytest.mark.parametrize(
    "alias",
    ["absolute", "negative", "fix", "arcsin", "arccos", "arctan", "arcsinh", "arctanh", "positive"],
)
def test_aliases(alias: str) -> None:
    check(lambda m, a: (getattr(m, alias)(a), getattr(a, alias)()), INSIDE_ONE)


@pytest.mark.parametrize("name", sorted(set(DOMAINS) - {"sign", *ROUNDINGS}))
def test_second_derivatives(name: str) -> None:
    results = []
    for m in (tg, torch):
        leaf = m.from_numpy(DOMAINS[name].copy()).requires_grad_()
        y = getattr(m, name)(leaf) + leaf * leaf
        (first,) = m.autograd.grad(y, leaf, m.ones_like(y), create_graph=True)
        (second,) = m.autograd.grad(first * first, leaf, m.ones_like(y))
        results.append(second.cpu().numpy())
    np.testing.assert_allclose(*results, rtol=1e-10, atol=1e-12)


def test_complaints() -> None:
    floats, bools = tg.ones(2), tg.tensor([True])
    check_error(RuntimeError, "neg: .*bool", lambda: -bools)
    check_error(NotImplementedError, "abs: .*bool", lambda: bools.abs())
    check_error(NotImplementedError, "floor: .*bool", lambda: bools.floor())
    check_error(NotImplementedError, "frac: .*int64", lambda: tg.arange(3).frac())
    check_error(NotImplementedError, "bitwise_not: .*float32", lambda: floats.bitwise_not())
    check_error(NotImplementedError, "decimals", lambda: tg.arange(3).round(decimals=1))
    check_error(RuntimeError, "exp_: .*can't be cast", lambda: tg.arange(3).exp_())
    check_error(RuntimeError, "expand", lambda: tg.ones(1).expand(3).exp_())
    leaf = tg.ones(2, requires_grad=True)
    check_error(RuntimeError, "leaf Variable", lambda: leaf.exp_())
    for bad in (2.0, None, "a", np.ones(2)):
        with pytest.raises(TypeError):
            tg.exp(bad)


def test_out() -> None:
    out = tg.empty(2)
    assert tg.neg(tg.ones(2), out=out) is out and out.tolist() == [-1, -1]
