"""Copies and conversions against PyTorch: clone, contiguous, to, dtype methods, copy_."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check, check_error, randn

DTYPES = ["float64", "float32", "int64", "int32", "int16", "int8", "uint8", "bool"]
METHODS = ["double", "float", "long", "int", "short", "char", "byte", "bool"]
X = randn(4, 5)
LAYOUTS = {
    "plain": X,
    "transposed": X.T,
    "sliced": X[1::2, ::3],
    "expanded": np.broadcast_to(X[:, :1], (4, 5)),
    "0-dim": np.array(2.5),
    "empty": X[:0],
    "four dims": randn(2, 3, 4, 5).transpose(3, 1, 0, 2),
    "long": randn(300, 200).T,
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_copies(case: str) -> None:
    x = LAYOUTS[case]
    check(lambda m, a: (a.clone(), m.clone(a), a.contiguous()), x)
    check(lambda m, a: (a.float(), a.to(m.float32), a.to(m.float64)), x)
    for dtype in DTYPES:
        check(lambda m, a: a.to(getattr(m, dtype)), np.asarray(np.round(np.abs(x) * 5)), grad=False)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
def test_dtype_methods(dtype: str, method: str) -> None:
    x = (np.arange(12).reshape(3, 4) % 5).astype(dtype)
    check(lambda m, a: (getattr(a, method)(), getattr(a.t(), method)()), x, grad=False)


def test_conversion_of_extremes() -> None:
    fractions = np.array([-2.9, -1.0, -0.5, 0.0, 0.5, 2.9, 100.7])
    check(lambda m, a: (a.long(), a.int(), a.short(), a.char(), a.bool()), fractions, grad=False)
    whole = np.array([-(2**40) - 3, -129, -1, 0, 255, 256, 2**31, 2**33 + 5])
    check(lambda m, a: (a.int(), a.short(), a.char(), a.byte(), a.bool()), whole, grad=False)
    special = np.array([np.nan, np.inf, -np.inf, -0.0, 1e300, 1e-320])
    check(lambda m, a: (a.float(), a.bool()), special, grad=False)


@pytest.mark.host("it names the CPU")
def test_to_returns_itself_if_nothing_changes() -> None:
    x = tg.ones(2, requires_grad=True)
    for same in (
        x.to(tg.float32),
        x.to("cpu"),
        x.to(tg.device("cpu"), tg.float32),
        x.to(x),
        x.cpu(),
    ):
        assert same is x
    copy = x.to(tg.float32, copy=True)
    assert copy is not x and copy.data_ptr() != x.data_ptr() and copy.requires_grad
    assert x.contiguous() is x and x.float() is x and x.type_as(x) is x


@pytest.mark.host("it names the CPU")
def test_forms_of_to() -> None:
    other = np.zeros(1, np.float32)
    check(
        lambda m, a, o: (a.to(o), a.type_as(o), a.to(dtype=m.float32), a.to("cpu", m.int8)),
        X,
        other,
    )
    check(lambda m, a: (a.to(device="cpu", dtype=m.float32), a.to(m.float32, False, True)), X)
    check(lambda m, a: a.to(m.device("cpu"), non_blocking=True), X)


@pytest.mark.host("it names the CPU")
def test_gradients_are_converted_back() -> None:
    check(lambda m, a: (a.float() * 2).double() * a, X)
    x = tg.from_numpy(X).requires_grad_()
    assert tg.autograd.gradgradcheck(lambda a: (a.clone() * a.contiguous().to("cpu")) ** 2, (x,))
    assert not x.long().requires_grad and not (x > 0).requires_grad


@pytest.mark.parametrize("source", DTYPES)
@pytest.mark.parametrize("destination", DTYPES)
def test_copy_(source: str, destination: str) -> None:
    x, y = np.zeros((3, 4), destination), (np.arange(12).reshape(3, 4) % 3).astype(source)
    check(lambda m, a, b: (a.copy_(b), a), x, y, grad=False)
    check(lambda m, a, b: (a.t()[1:].copy_(b[:, 1]), a), x, y, grad=False)
    check(lambda m, a, b: (a.copy_(b[0, 2]), a[:, ::2].copy_(b[:1, 1::2])), x, y, grad=False)
    check(lambda m, a, b: a[:0].copy_(b[:0]), x, y, grad=False)


def test_copy_gradients() -> None:
    check(lambda m, a, b: (a * 1).copy_(b), X, randn(5, seed=1))
    check(lambda m, a, b: (a * 1).copy_(b), X, randn(4, 5, dtype=np.float32, seed=1))

    def partly(m: Any, a: Any, b: Any) -> Any:
        y = a * 2
        y[:, 1].copy_(b)
        return y * y

    check(partly, X, randn(4, seed=1))
    check(lambda m, b: m.zeros(4, 5, dtype=m.float64).copy_(b) ** 2, randn(5))


def test_overlapping_copy() -> None:
    x = tg.arange(6)
    assert x[1:].copy_(x[:-1]).tolist() == [0, 1, 2, 3, 4]
    y = tg.arange(9).view(3, 3)
    assert y.copy_(y.t()).tolist() == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


@pytest.mark.parametrize(
    "exception, pattern, function",
    [
        (RuntimeError, "copy_.*broadcast", lambda: tg.ones(2).copy_(tg.ones(3))),
        (RuntimeError, "copy_", lambda: tg.ones(2).copy_(tg.ones(1, 2))),
        (TypeError, "", lambda: tg.ones(2).copy_([1, 2])),
        (TypeError, "", lambda: tg.ones(2).copy_(None)),
        (TypeError, "to: expected a dtype", lambda: tg.ones(2).to(3.5)),
        (TypeError, "to: ", lambda: tg.ones(2).to()),
        (TypeError, "to: .*bytes", lambda: tg.ones(2).to(bytes)),
        (TypeError, "to: ", lambda: tg.ones(2).to(dtype="float32")),
        (TypeError, "", lambda: tg.ones(2).to(tg.float32, unknown=1)),
        (RuntimeError, "gpu", lambda: tg.ones(2).to("gpu")),
        (RuntimeError, "share one memory location", lambda: tg.ones(1).expand(3).copy_(tg.ones(3))),
        (TypeError, "", lambda: tg.clone(3)),
        (RuntimeError, "leaf", lambda: tg.ones(2, requires_grad=True).copy_(tg.ones(2))),
    ],
)
def test_complaints(exception: Any, pattern: str, function: Callable[[], Any]) -> None:
    check_error(exception, pattern, function)


DENSE_DTYPES = [np.bool_, np.uint8, np.int16, np.float32, np.int32, np.float64, np.int64]


@pytest.mark.parametrize("dtype", DENSE_DTYPES)
def test_orders_of_memory(dtype: type) -> None:
    """Transpositions in tiles, rows, small planes, and every end of them."""
    cases = [
        ((130, 70), (1, 0)), ((64, 64), (1, 0)), ((256, 33), (1, 0)), ((1, 300), (1, 0)),
        ((3, 200), (1, 0)), ((200, 3), (1, 0)), ((5, 7), (1, 0)), ((128, 1024), (1, 0)),
        ((2, 3, 9, 11), (0, 2, 3, 1)), ((2, 9, 11, 3), (0, 3, 1, 2)), ((2, 33, 9, 4), (0, 2, 3, 1)),
        ((3, 8, 4, 5), (0, 2, 1, 3)), ((3, 8, 4, 33), (0, 2, 1, 3)), ((17, 5, 66), (2, 1, 0)),
        ((66, 1, 70), (2, 1, 0)), ((4, 3, 2, 65), (3, 1, 0, 2)), ((40, 2, 3), (2, 1, 0)),
        ((300, 2, 2), (0, 2, 1)), ((2, 0, 3), (2, 1, 0)),
    ]  # fmt: skip
    for shape, order in cases:
        values = (np.random.default_rng(0).integers(0, 200, shape) * 257 % 251).astype(dtype)
        x = tg.from_numpy(values)
        wanted = np.ascontiguousarray(values.transpose(order))
        np.testing.assert_array_equal(x.permute(order).contiguous().cpu().numpy(), wanted)
        target = tg.zeros(*shape, dtype=x.dtype)  # the destination is the strided one
        target.permute(order).copy_(tg.from_numpy(wanted))
        np.testing.assert_array_equal(target.cpu().numpy(), values)


@pytest.mark.parametrize("dtype", [tg.bfloat16, tg.float16])
def test_orders_of_memory_of_halves(dtype: tg.dtype) -> None:
    x = tg.arange(130 * 70).reshape(130, 70).remainder(256).to(dtype)
    np.testing.assert_array_equal(
        x.t().contiguous().float().cpu().numpy(), x.float().cpu().numpy().T
    )


def test_a_step_between_elements() -> None:
    x = randn(70, 90)
    for view in (
        lambda a: a[::2, ::3],
        lambda a: a.T[::2],
        lambda a: a[:, ::2].T,
        lambda a: a[3:5],
    ):
        np.testing.assert_array_equal(
            tg.from_numpy(view(x)).contiguous().cpu().numpy(), np.ascontiguousarray(view(x))
        )


@pytest.mark.parametrize("threads", [1, 3])
def test_large_copies_go_past_the_caches(threads: int) -> None:
    before = tg.get_num_threads()
    tg.set_num_threads(threads)
    try:
        for shape in [(2112, 2112), (2111, 2113), (4, 16, 65536 + 64), (4194304 + 5,)]:
            values = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
            x = tg.from_numpy(values)
            np.testing.assert_array_equal(x.clone().cpu().numpy(), values)
            if x.ndim > 1:
                np.testing.assert_array_equal(
                    x.mT.contiguous().cpu().numpy(), values.swapaxes(-1, -2)
                )
            if x.ndim == 3:
                np.testing.assert_array_equal(
                    x.transpose(0, 1).contiguous().cpu().numpy(), values.swapaxes(0, 1)
                )
        whole = tg.zeros(4194304 + 100, dtype=tg.int32)
        part = whole[3 : 4194304 + 50]  # neither end on a cache line
        part.copy_(tg.arange(4194304 + 47, dtype=tg.int32))
        wanted = np.zeros(4194304 + 100, np.int32)
        wanted[3 : 4194304 + 50] = np.arange(4194304 + 47)
        np.testing.assert_array_equal(whole.cpu().numpy(), wanted)
    finally:
        tg.set_num_threads(before)


def test_to_with_nothing_but_none_is_the_tensor_itself():
    for m in (tg, torch):
        x = m.ones(2)
        assert x.to(device=None, dtype=None) is x and x.to(None) is x
    check_error(TypeError, "no arguments", lambda: tg.ones(2).to())
