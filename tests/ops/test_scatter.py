"""Writes through keys and index tensors against PyTorch: values, gradients, order, complaints."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check, check_error, randn

X = randn(4, 5, 6)
INDEX = np.array([[0, 3, 1], [2, 2, 0]])


def test_setitem_keeps_the_gradient_of_the_value():
    def function(m, x, value):
        y = x * 2
        y[1:3, 0] = value * 3
        y[m.tensor([0, 3])] = value[:5, None]
        return y

    check(function, X, randn(6))

    def through_a_leaf_buffer(m, value):
        y = m.zeros(3, 6, dtype=m.float64)
        y[1] = value
        y[m.tensor([0, 2])] = value * 2
        return y * y

    check(through_a_leaf_buffer, randn(6))


def test_setitem_ignores_leading_ones_and_converts():
    def function(m, x):
        y = x.clone()
        y[0, 0] = m.ones(1, 1, 6, dtype=m.float64)
        y[1] = m.ones(1, 5, 1, dtype=m.int64) * 3
        y[2, m.tensor([0, 1])] = m.ones(1, 1, 1, 6, dtype=m.float64)
        return y

    check(function, X)


def test_overlapping_assignment():
    x, expected = tg.from_numpy(X.copy()), X.copy()
    x[1:] = x[:-1]
    expected[1:] = expected[:-1].copy()
    x[[0, 1, 2]] = x[1:]
    expected[[0, 1, 2]] = expected[1:].copy()
    np.testing.assert_array_equal(x.numpy(), expected)


def test_a_bad_index_writes_nothing():
    x = tg.zeros(3, 2)
    for write in [
        lambda: x.__setitem__([0, 1, 3], 1.0),
        lambda: x.index_add_(0, tg.tensor([0, 3]), tg.ones(2, 2)),
        lambda: x.scatter_(0, tg.tensor([[0, 3]]), 1.0),
    ]:
        with pytest.raises((IndexError, RuntimeError)):
            write()
        assert float(x.sum()) == 0


def test_writes_along_a_dimension():
    x, source = randn(4, 3), randn(2, 3, seed=1)
    i = np.array([3, 3])
    j = np.array([3, 0])
    check(lambda m, x, s, i: m.index_add(x, 0, i, s), x, source, i)
    check(lambda m, x, s, i: x.t().index_add(1, i, s.t(), alpha=2), x, source, i)
    check(lambda m, x, s, i: m.index_copy(x, 0, i, s), x, source, j)
    check(lambda m, x, i: m.index_fill(x, 0, i, 7.0), x, j)
    check(lambda m, x, i, v: x.index_fill(0, i, v), x, j, np.array(2.0))
    check(lambda m, x, i: x.index_fill(0, i - 4, 2.0), x, j, grad=False)
    check(lambda m, x, i: (x * 1).index_fill_(1, i % 2, 7.0), x, j)
    check(lambda m, x, s, i: (x * 1).index_add_(0, i, s), x, source, i)
    check(lambda m, x, s, i: (x * 1).index_copy_(0, i, s), x, source, j)
    check(lambda m, x, s, i: m.index_put(x, (i,), s), x, source, j)
    check(lambda m, x, s, i: x.index_put((i,), s, accumulate=True), x, source, i)
    check(lambda m, x, s, i: (x * 1).index_put_((i,), s, True), x, source, i)
    check(lambda m, x, s: m.masked_scatter(x, x > 0, s), x, randn(5, 3))


def test_scatter():
    x, source = randn(4, 3), randn(3, 4, seed=1)
    check(lambda m, x, s, i: m.scatter_add(x, 0, i, s[:2, :3]), x, source, INDEX)
    check(lambda m, x, s, i: (x * 1).scatter_add_(0, i, s[:2, :3]), x, source, INDEX)
    i = np.array([[0, 3, 1], [2, 1, 0]])
    check(lambda m, x, s, i: m.scatter(x, 0, i, s[:2, :3]), x, source, i)
    check(lambda m, x, i: x.scatter(0, i, 1.5), x, i)
    check(lambda m, x, i: (x * 1).scatter_(0, i, value=1.5), x, i)
    check(lambda m, x, i: m.scatter(x, 0, i, 2.0, reduce="multiply"), x, INDEX, grad=False)
    ours = tg.from_numpy(source.copy()).requires_grad_()  # PyTorch cannot differentiate this one
    tg.from_numpy(x).scatter_add(0, tg.from_numpy(INDEX), ours[:, :3]).sum().backward()
    assert ours.grad.tolist() == [[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]
    for reduce in ("sum", "prod", "mean", "amax", "amin"):
        for include_self in (True, False):
            check(
                lambda m, x, s, i, r=reduce, f=include_self: m.scatter_reduce(
                    x, 0, i, s[:2, :3], r, include_self=f
                ),
                x,
                source,
                INDEX,
                grad=reduce == "sum",
            )


def test_large_gather_and_accumulation_are_reproducible():
    generator = np.random.default_rng(0)
    table = tg.from_numpy(generator.standard_normal((500, 64)).astype(np.float32))
    ids = tg.from_numpy(generator.integers(0, 500, 20000))
    rows = table[ids]
    np.testing.assert_array_equal(rows.numpy(), table.numpy()[ids.numpy()])
    expected = np.zeros((500, 64), np.float32)
    np.add.at(expected, ids.numpy(), rows.numpy())  # in order, like ours
    threads = tg.get_num_threads()
    try:
        for count in (1, 3):
            tg.set_num_threads(count)
            total = tg.zeros(500, 64).index_put_((ids,), rows, accumulate=True)
            np.testing.assert_array_equal(total.numpy(), expected)
    finally:
        tg.set_num_threads(threads)


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: x.scatter(0, m.tensor([[4]]), 1.0),
        lambda m, x: x.scatter(0, m.tensor([[0]]), m.ones(1, 1, dtype=m.float32)),
        lambda m, x: x.scatter_add(0, m.tensor([[0, 0]]), m.ones(1, 1, dtype=m.float64)),
        lambda m, x: x.index_add(0, m.tensor([0]), m.ones(2, 3, dtype=m.float64)),
        lambda m, x: x.index_add(0, m.tensor([4]), m.ones(1, 3, dtype=m.float64)),
        lambda m, x: x.index_put((m.tensor([0]),), m.ones(3)),
        lambda m, x: x.index_put((m.tensor([0]),), m.ones(2, dtype=m.float64)),
    ],
)
def test_complaints_have_pytorch_types(function):
    raised = []
    for m in (tg, torch):
        with pytest.raises((RuntimeError, IndexError, ValueError, TypeError)) as caught:
            function(m, m.from_numpy(randn(4, 3)))
        raised.append(caught.type)
    assert raised[0] is raised[1]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64"])
def test_bincount(dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 50, 1001).astype(dtype)
    weights = np.random.default_rng(1).random(1001)
    check(lambda m, a: m.bincount(a), x, grad=False)
    check(lambda m, a: a[::3].bincount(minlength=70), x, grad=False)
    for kind in ("float32", "float64", "int64"):
        check(lambda m, a, w: m.bincount(a, w), x, (weights * 9).astype(kind), grad=False)
    check(lambda m, a: m.bincount(a[:0], minlength=3), x, grad=False)
    check(lambda m, a: m.bincount(a[:0]), x, grad=False)


def test_bincount_complaints() -> None:
    x = tg.tensor([1, 2])
    check_error(RuntimeError, "non-negative", lambda: tg.bincount(tg.tensor([-1])))
    check_error(RuntimeError, "1-d", lambda: tg.bincount(tg.zeros(2, 2, dtype=tg.int64)))
    check_error(RuntimeError, "same length", lambda: tg.bincount(x, tg.ones(3)))
    check_error(RuntimeError, "minlength", lambda: tg.bincount(x, minlength=-1))
    check_error(NotImplementedError, "float32", lambda: tg.bincount(tg.ones(2)))
