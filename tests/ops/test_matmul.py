"""Matrix products against PyTorch: all dimensions, batches, dtypes, gradients, complaints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tilegrad as tg
from support import check, check_error, randn

SHAPES = [
    ((3,), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3,)),
    ((2, 3), (3, 4)),
    ((3,), (5, 3, 4)),
    ((5, 2, 3), (3,)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((1, 2, 3), (5, 3, 4)),
    ((5, 2, 3), (1, 3, 4)),
    ((6, 1, 2, 3), (5, 3, 4)),
    ((6, 1, 2, 3), (1, 5, 3, 4)),
    ((3,), (6, 5, 3, 4)),
    ((6, 5, 2, 3), (3,)),
    ((0,), (0,)),
    ((2, 0), (0, 4)),
    ((0, 3), (3, 4)),
    ((2, 3), (3, 0)),
    ((5, 2, 0), (5, 0, 4)),
    ((0, 2, 3), (3, 4)),
    ((0, 2, 3), (1, 3, 4)),
    ((2, 0), (0,)),
    ((1, 1), (1, 1)),
    ((70, 130), (130, 65)),
    ((2, 33, 257), (257, 19)),
]


@pytest.mark.parametrize("left, right", SHAPES)
def test_matmul(left: tuple, right: tuple) -> None:
    x, y = randn(*left), randn(*right, seed=1)
    check(lambda m, a, b: m.matmul(a, b), x, y)
    check(lambda m, a, b: a @ b, x.astype(np.float32), y.astype(np.float32), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("left, right", SHAPES)
@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "int8", "uint8"])
def test_integers(left: tuple, right: tuple, dtype: str) -> None:
    x, y = (
        np.round(randn(*s, seed=i) * 3).astype("int8").astype(dtype)
        for i, s in enumerate((left, right))
    )
    check(lambda m, a, b: a @ b, x, y, grad=False)


@pytest.mark.parametrize(
    "x, y",
    [
        (randn(3, 2).T, randn(4, 3).T),
        (randn(4, 6)[::2, ::2], randn(6, 8)[1::2, 1::3]),
        (np.broadcast_to(randn(1, 3), (2, 3)), np.broadcast_to(randn(3, 1), (3, 4))),
        (np.broadcast_to(randn(2, 3), (5, 2, 3)), randn(5, 4, 3).transpose(0, 2, 1)),
        (randn(2, 5, 3).transpose(1, 0, 2), randn(3, 4, 5).transpose(2, 0, 1)),
        (randn(8)[::2], randn(12)[::3]),
        (randn(2, 4), randn(12)[::3]),
    ],
)
def test_strides(x: np.ndarray, y: np.ndarray) -> None:
    check(lambda m, a, b: a @ b, x, y)
    check(lambda m, a, b: (a * 1) @ b, x.astype(np.float32), y.astype(np.float32))


def test_special_numbers() -> None:
    x = np.array([[np.inf, 0.0], [np.nan, 1.0], [1e308, 1e308]])
    check(lambda m, a, b: a @ b, x, np.array([[0.0, 1.0], [10.0, -np.inf]]), grad=False)


def test_relatives() -> None:
    x, y, batch = randn(2, 3), randn(3, 4, seed=1), randn(5, 2, 3, seed=2)
    check(lambda m, a, b: (m.mm(a, b), a.mm(b)), x, y)
    check(lambda m, a, b: (m.bmm(a, b), a.bmm(b)), batch, randn(5, 3, 4))
    check(lambda m, a, b: (m.mv(a, b), a.mv(b)), x, y[:, 0])
    check(lambda m, a, b: (m.dot(a, b), a.dot(b)), x[0], y[:, 0])
    check(lambda m, a, b: (m.outer(a, b), a.outer(b), a.ger(b)), x[0], y[0])
    check(lambda m, a, b: m.inner(a, b), batch, x)
    check(lambda m, a, b: m.inner(a, b), x[0], x[1])
    check(lambda m, a, b: m.inner(a, b), np.array(2.0), x)
    for bias in (randn(2, 4), randn(4), randn(2, 1), np.array(1.5)):
        check(lambda m, c, a, b: m.addmm(c, a, b, beta=0.5, alpha=2), bias, x, y)
        check(lambda m, c, a, b: c.addmm(a, b), randn(2, 4), x, y)
        check(lambda m, c, a, b: m.baddbmm(c, a, b, beta=0.5, alpha=2), bias, batch, randn(5, 3, 4))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [(1, 7, 5), (3, 300, 2), (40, 3, 33), (150, 150, 150), (9, 0, 4)])
def test_addmm_adds_in_the_kernel(size: tuple, dtype: type) -> None:
    n, k, m = size
    x, y = randn(n, k, dtype=dtype), randn(k, m, seed=1, dtype=dtype)
    for shape in ((n, m), (m,), (1, m), (n, 1), (1,), ()):
        check(lambda f, c, a, b: f.addmm(c, a, b), randn(*shape, seed=2, dtype=dtype), x, y)
    check(lambda f, c, a, b: f.addmm(c.t(), a, b), randn(m, n, seed=2, dtype=dtype), x, y)
    left, right = randn(6, n, k, dtype=dtype), randn(6, k, m, seed=1, dtype=dtype)
    # The gradient of (6, 1, 1) is a sum of n * m numbers up to 1, which may cancel: its rounding
    # errors, PyTorch's among them, grow with the root of their number.
    atol = np.finfo(dtype).eps * max(100, 2 * (n * m) ** 0.5)
    for shape in ((6, n, m), (n, m), (6, 1, 1), (6, n, 1)):
        added = randn(*shape, seed=2, dtype=dtype)
        check(lambda f, c, a, b: f.baddbmm(c, a, b), added, left, right, atol=atol)


def test_addmm_complains_about_an_input_that_does_not_fit() -> None:
    with pytest.raises(RuntimeError, match=r"addmm.*\(2, 5\).*\(3, 4\)|expand"):
        tg.addmm(tg.ones(2, 5), tg.ones(3, 6), tg.ones(6, 4))
    with pytest.raises(RuntimeError, match="3 and 5"):
        tg.baddbmm(tg.ones(4), tg.ones(3, 2, 2), tg.ones(5, 2, 4))


@pytest.mark.parametrize(
    "shape", [(3,), (2, 3), (5, 2, 3), (6, 5, 2, 3), (0, 3), (5, 0, 3), (70, 3)]
)
@pytest.mark.parametrize("with_bias", [True, False])
def test_linear(shape: tuple, with_bias: bool) -> None:
    bias = (randn(4, seed=2),) if with_bias else ()
    arrays = (randn(*shape), randn(4, 3, seed=1), *bias)
    check(lambda m, *args: m.nn.functional.linear(*args), *arrays)
    check(lambda m, x, *args: m.nn.functional.linear(x * 1, *args), *arrays)
    single = [array.astype(np.float32) for array in arrays]
    check(lambda m, *args: m.nn.functional.linear(*args), *single, rtol=1e-4, atol=1e-4)


def test_linear_strides_and_empty_sizes() -> None:
    linear = lambda m, *args: m.nn.functional.linear(*args)  # noqa: E731
    check(linear, randn(3, 5).T, randn(3, 4).T, randn(8)[::2])
    check(linear, randn(4, 2, 3).transpose(1, 0, 2), randn(8, 3)[::2], randn(4))
    check(linear, randn(5, 0), randn(4, 0), randn(4))
    check(linear, randn(5, 3), randn(0, 3), randn(0))


@pytest.mark.parametrize("left, right", SHAPES[:11])
def test_second_derivatives(left: tuple, right: tuple) -> None:
    x = tg.from_numpy(randn(*left)).requires_grad_()
    y = tg.from_numpy(randn(*right, seed=1)).requires_grad_()
    assert tg.autograd.gradcheck(tg.matmul, (x, y))
    assert tg.autograd.gradgradcheck(tg.matmul, (x, y))


def test_second_derivatives_of_linear() -> None:
    for shape in [(3,), (2, 3), (2, 2, 3)]:
        args = [tg.from_numpy(a).requires_grad_() for a in (randn(*shape), randn(4, 3), randn(4))]
        assert tg.autograd.gradgradcheck(tg.nn.functional.linear, args)


def test_out() -> None:
    check(
        lambda m, a, b: m.matmul(a, b, out=m.zeros(2, 4, dtype=m.float64)),
        randn(2, 3),
        randn(3, 4),
        grad=False,
    )
    out = tg.zeros(2, 2)
    assert tg.mm(tg.ones(2, 3), tg.ones(3, 2), out=out) is out and out.tolist() == [[3, 3]] * 2


F = tg.nn.functional


@pytest.mark.parametrize(
    "exception, pattern, function",
    [
        (RuntimeError, r"matmul: .*\(2, 3\) and \(2, 3\)", lambda: tg.ones(2, 3) @ tg.ones(2, 3)),
        (RuntimeError, "cannot be multiplied", lambda: tg.ones(3) @ tg.ones(4)),
        (RuntimeError, "broadcast", lambda: tg.ones(2, 2, 3) @ tg.ones(3, 3, 4)),
        (RuntimeError, "at least 1 dimension", lambda: tg.ones(3) @ tg.tensor(1.0)),
        (
            RuntimeError,
            "float32 and float64",
            lambda: tg.ones(2, 2) @ tg.ones(2, 2, dtype=tg.float64),
        ),
        (RuntimeError, "bool", lambda: tg.ones(2, 2).bool() @ tg.ones(2, 2).bool()),
        (TypeError, "", lambda: tg.ones(2, 2) @ 2),
        (TypeError, "", lambda: tg.ones(2, 2) @ [[1, 2], [3, 4]]),
        (TypeError, "", lambda: tg.matmul(tg.ones(2, 2), None)),
        (
            RuntimeError,
            "mm: argument 'mat2': expected a 2D",
            lambda: tg.mm(tg.ones(2, 2), tg.ones(2)),
        ),
        (RuntimeError, "bmm: .*'input'.*3D", lambda: tg.bmm(tg.ones(2, 2), tg.ones(2, 2, 2))),
        (RuntimeError, "bmm: .*2 and 3", lambda: tg.bmm(tg.ones(2, 2, 2), tg.ones(3, 2, 2))),
        (RuntimeError, "mv: .*'vec'", lambda: tg.mv(tg.ones(2, 2), tg.ones(2, 1))),
        (RuntimeError, "dot: .*'input'", lambda: tg.dot(tg.ones(2, 2), tg.ones(2))),
        (RuntimeError, "multiplied", lambda: tg.dot(tg.ones(2), tg.ones(3))),
        (RuntimeError, "outer", lambda: tg.outer(tg.ones(2, 2), tg.ones(3))),
        (TypeError, "mm: argument 'mat2'", lambda: tg.mm(tg.ones(2, 2), [1])),
        (RuntimeError, r"linear", lambda: F.linear(tg.ones(2, 3), tg.ones(4, 2))),
        (
            RuntimeError,
            r"bias.*\(4,\).*\(3,\)",
            lambda: F.linear(tg.ones(2, 3), tg.ones(4, 3), tg.ones(3)),
        ),
        (RuntimeError, "linear", lambda: F.linear(tg.ones(2, 3), tg.ones(4, 3).double())),
        (TypeError, "", lambda: F.linear(tg.ones(2, 3), None)),
    ],
)
def test_complaints(exception: Any, pattern: str, function: Callable[[], Any]) -> None:
    check_error(exception, pattern, function)
