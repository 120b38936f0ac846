"""Diagonals and replaced parts against PyTorch; its own samples are in tests/conformance."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import check, check_error, randn

V, A, B = randn(4), randn(3, 5), randn(2, 3, 4)


@pytest.mark.parametrize("offset", [0, 1, -2])
def test_diagonals(offset):
    check(lambda m, x: m.diag(x, offset), V)
    check(lambda m, x: m.diag(x.t(), offset), A)
    check(lambda m, x: m.diag_embed(x, offset, 0, 2), A)
    check(lambda m, x: m.diagflat(x, offset), A)
    check(lambda m, x: m.diag_embed(x, offset), np.zeros((0, 2)))


def test_trace():
    check(lambda m, x: m.trace(x) + x.t().trace(), A)
    check_error(RuntimeError, "expected a matrix", lambda: tg.trace(tg.ones(2)))
    check_error(RuntimeError, "1D or 2D", lambda: tg.diag(tg.ones(2, 2, 2)))


def test_scatters():
    check(lambda m, x, y: m.select_scatter(x, y, 1, -1), B, randn(2, 4, seed=1))
    check(lambda m, x, y: m.slice_scatter(x, y, 2, 0, 4, 2), B, randn(2, 3, 2, seed=1))
    check(lambda m, x, y: m.diagonal_scatter(x, y, 1), A, randn(3, seed=1))
    check(lambda m, x, y: x.t().select_scatter(y, 0, 2), A, randn(3, seed=1))
    check_error(
        RuntimeError, "size equal", lambda: tg.select_scatter(tg.ones(2, 3), tg.ones(2), 0, 0)
    )


def test_a_replaced_part_can_be_differentiated_twice():
    x, y = (tg.from_numpy(a).requires_grad_() for a in (A, randn(5, seed=1)))
    assert tg.autograd.gradgradcheck(lambda a, b: tg.select_scatter(a, b, 0, 1) ** 3, (x, y))


@pytest.mark.parametrize("name", ["tril_indices", "triu_indices"])
def test_triangles(name):
    for rows, columns, offset in [
        (3, 4, 0),
        (4, 3, -1),
        (2, 5, 2),
        (0, 3, 0),
        (3, 3, 9),
        (3, 3, -9),
    ]:
        check(lambda m, r=rows, c=columns, o=offset: getattr(m, name)(r, c, o), grad=False)
    check_error(RuntimeError, "non-negative", lambda: getattr(tg, name)(-1, 2))
