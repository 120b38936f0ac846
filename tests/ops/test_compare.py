"""Comparisons and logical operations against PyTorch."""

from __future__ import annotations

import operator

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check, check_error, randn

NAMES = ["eq", "ne", "lt", "le", "gt", "ge"]
SPECIAL = np.array([0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, 2.5])
WHOLE = np.arange(-6, 6).reshape(3, 4)


def operands() -> list[tuple]:
    x, y = np.round(randn(5, 7)), np.round(randn(5, 7, seed=1))
    return [
        (x, y),
        (x.astype(np.float32), y.astype(np.float32)),
        (x, y[:, :1]),
        (x.T, y[0, :, None]),
        (x[::2, 1::3], y[1::2, 1::3][:1]),
        (np.broadcast_to(x[:, :1], (5, 7)), y),
        (SPECIAL[:, None], SPECIAL),
        (WHOLE, WHOLE.T.reshape(3, 4).astype(np.int32)),
        (WHOLE, WHOLE + 0.5),
        (WHOLE.astype(np.int8), WHOLE.astype(np.uint8)),
        (WHOLE > 0, WHOLE < 3),
        (WHOLE > 0, WHOLE.astype(np.float32)),
        (randn(0, 3), randn(1)),
        (np.array(2.0), np.array(3)),
        (WHOLE.astype(np.int16), np.array(1.5, dtype=np.float32)),
        (randn(40000, seed=2), randn(40000, seed=3)),
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("x, y", operands())
def test_tensors(name: str, x: np.ndarray, y: np.ndarray) -> None:
    check(lambda m, a, b: getattr(m, name)(a, b), x, y, grad=False)
    check(lambda m, a, b: getattr(operator, name)(a, b), x, y, grad=False)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("number", [0, 1, 2.5, True, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("x", [SPECIAL, WHOLE, WHOLE > 0, SPECIAL.astype(np.float32)])
def test_numbers(name: str, number: float, x: np.ndarray) -> None:
    check(lambda m, a: getattr(m, name)(a, number), x, grad=False)
    check(lambda m, a: getattr(operator, name)(number, a), x, grad=False)


@pytest.mark.parametrize("name", ["logical_and", "logical_or", "logical_xor"])
@pytest.mark.parametrize("x, y", operands())
def test_logical(name: str, x: np.ndarray, y: np.ndarray) -> None:
    check(lambda m, a, b: getattr(m, name)(a, b), x, y, grad=False)
    check(lambda m, a, b: getattr(a, name)(b), x, y, grad=False)


@pytest.mark.parametrize("alias", ["not_equal", "less", "less_equal", "greater", "greater_equal"])
def test_aliases(alias: str) -> None:
    check(lambda m, a: (getattr(m, alias)(a, 1), getattr(a, alias)(1)), WHOLE)


@pytest.mark.parametrize("name", [*NAMES, "logical_and", "logical_xor"])
@pytest.mark.parametrize("x", [SPECIAL, WHOLE, WHOLE > 0])
def test_in_place(name: str, x: np.ndarray) -> None:
    check(lambda m, a, b: getattr(a, name + "_")(b), x, x[..., :1], grad=False)


def test_in_place_refuses_to_grow() -> None:
    check_error(
        RuntimeError, "doesn't match the broadcast shape", lambda: tg.ones(2).lt_(tg.ones(3, 1))
    )


def test_result_has_no_gradient() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    assert not (x < 1.5).requires_grad


def test_foreign_operands() -> None:
    x = tg.ones(2)
    assert (x == None) is False and (x != None) is True  # noqa: E711
    assert (x == "a") is False and (x == None) is False  # noqa: E711
    check_error(TypeError, "'<' not supported", lambda: x < "a")
    with pytest.raises(TypeError):
        x.eq(None)
    assert len({x, x, tg.ones(2)}) == 2  # hashes by identity


CLOSE = np.array([1.0, 1.00001, 1.1, np.inf, -np.inf, np.nan, 0.0, 1e-9])


@pytest.mark.parametrize("equal_nan", [False, True])
@pytest.mark.parametrize("tolerances", [(1e-5, 1e-8), (0.0, 0.0), (0.2, 0.0), (0.0, 0.05)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_isclose(equal_nan: bool, tolerances: tuple, dtype: type) -> None:
    rtol, atol = tolerances
    x = CLOSE.astype(dtype)
    check(lambda m, a, b: m.isclose(a, b, rtol, atol, equal_nan), x[:, None], x)
    check(lambda m, a, b: m.allclose(a, b, rtol, atol, equal_nan), x, x, grad=False)
    check(lambda m, a, b: m.allclose(a, b, rtol, atol, equal_nan), x[:2], x[1:3], grad=False)


def test_isclose_of_integers() -> None:
    check(lambda m, a, b: m.isclose(a, b, rtol=0.3), WHOLE, WHOLE[::-1].copy())
    check(lambda m, a, b: m.isclose(a, b), WHOLE > 0, WHOLE > 1)
    check(lambda m, a, b: a.isclose(b, atol=2), WHOLE, WHOLE + 2)


def test_isclose_complaints() -> None:
    check_error(
        RuntimeError, "float32 did not match", lambda: tg.isclose(tg.ones(2), tg.ones(2).double())
    )
    check_error(
        RuntimeError, "rtol must be greater", lambda: tg.isclose(tg.ones(2), tg.ones(2), rtol=-1)
    )
    check_error(
        RuntimeError, "atol must be greater", lambda: tg.allclose(tg.ones(2), tg.ones(2), atol=-1)
    )


@pytest.mark.parametrize(
    "x, y",
    [
        (WHOLE, WHOLE),
        (WHOLE, WHOLE.T),
        (WHOLE, WHOLE.astype(np.float64)),
        (randn(3, 0), randn(3, 0)),
        (SPECIAL, SPECIAL.copy()),
        (randn(5, 4).T, randn(5, 4).T),
        (randn(70000), randn(70000) * (np.arange(70000) < 69999)),
    ],
)
def test_equal(x: np.ndarray, y: np.ndarray) -> None:
    assert tg.equal(tg.from_numpy(x), tg.from_numpy(y)) is torch.equal(
        torch.from_numpy(x), torch.from_numpy(y)
    )


def test_out() -> None:
    out = tg.empty(3, dtype=tg.bool)
    assert tg.lt(tg.tensor([1.0, 2.0, 3.0]), 2, out=out) is out
    assert out.tolist() == [True, False, False]


@pytest.mark.parametrize("name", [*NAMES, "logical_or"])
def test_shapes_that_do_not_broadcast(name: str) -> None:
    check_error(
        RuntimeError, f"{name}: .*broadcast", lambda: getattr(tg, name)(tg.ones(2), tg.ones(3))
    )


def test_types_that_do_not_compare() -> None:
    for name in (*NAMES, "logical_and"):
        with pytest.raises(TypeError):
            getattr(tg, name)(tg.ones(2), "a")
        with pytest.raises(TypeError):
            getattr(tg, name)(2, tg.ones(2))
