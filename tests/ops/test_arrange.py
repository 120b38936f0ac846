"""Cutting and counting against PyTorch; its own samples are in tests/conformance."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import check, check_error, randn

X = randn(4, 6, 2)


@pytest.mark.parametrize("name", ["hsplit", "vsplit", "dsplit"])
def test_splits(name):
    check(lambda m, x: getattr(m, name)(x, 2), X)
    check(lambda m, x: getattr(x, name)([1, 2]), X)
    check_error(RuntimeError, "at least", lambda: getattr(tg, name)(tg.tensor(1.0), 1))
    check_error(RuntimeError, "divisible", lambda: getattr(tg, name)(tg.ones(2, 2, 2), 3))


def test_choices():
    v = np.arange(4)
    check(lambda m, x: m.combinations(x), v, grad=False)
    check(lambda m, x: m.combinations(x, 3, with_replacement=True), randn(3))
    check(lambda m, x, y: m.cartesian_prod(x, y), randn(3), randn(2))
    check(lambda m, x: m.unravel_index(x, (3, 4, 5)), np.array([[0, 59], [17, 3]]), grad=False)
    check(lambda m, x, y: m.isin(x, y), np.arange(6).reshape(2, 3), np.array([1, 5]), grad=False)
    check(lambda m, x: m.isin(x, 2, invert=True), v, grad=False)
    check_error(TypeError, "integer dtype", lambda: tg.unravel_index(tg.ones(2), (2, 2)))


def test_copies():
    check(lambda m, x: m.ravel(x.transpose(0, 1)), X)
    check(lambda m, x: m.narrow_copy(x, 1, 2, 3), X)
    check(lambda m, x: m.adjoint(x), X)
    check(lambda m, x: m.split_with_sizes(x, [1, 5], 1), X)


def test_memory():
    made = tg.empty_strided((2, 3), (1, 2))
    assert made.shape == (2, 3) and made.stride() == (1, 2)
    assert tg.empty_permuted((2, 3, 4), (0, 2, 1)).stride() == (12, 1, 3)
    assert tg.ones(2).new_empty_strided((2,), (3,)).stride() == (3,)
    check(lambda m: m.scalar_tensor(2), grad=False)
    check_error(RuntimeError, "dimensionality", lambda: tg.empty_strided((2, 3), (1,)))


def test_resize():
    x = tg.arange(6).reshape(2, 3)
    assert x.resize_(4) is x
    assert x.tolist() == [0, 1, 2, 3]
    assert x.resize_as_(tg.ones(2, 2)).tolist() == [[0, 1], [2, 3]]
    assert x.resize_(2, 3).shape == (2, 3) and x.reshape(-1)[:4].tolist() == [0, 1, 2, 3]
    check_error(
        RuntimeError, "leaf|require grad", lambda: tg.ones(2, requires_grad=True).resize_(3)
    )


@pytest.mark.parametrize(
    "change",
    [lambda x: x.unsqueeze_(1), lambda x: x.squeeze_(), lambda x: x.transpose_(0, 2),
     lambda x: x[0].t_()],
)  # fmt: skip
def test_shapes_in_place(change):
    check(lambda m, x: change(x), np.arange(8).reshape(4, 1, 2), grad=False)
