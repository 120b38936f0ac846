"""Products of several tensors against PyTorch; its own samples are in tests/conformance."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import check, check_error, randn

A, B, C, V = randn(3, 4), randn(4, 5, seed=1), randn(2, 3, 4, seed=2), randn(4, seed=3)
S = randn(3, 3, seed=4)


@pytest.mark.parametrize(
    ("equation", "arrays"),
    [
        ("ij,jk->ik", (A, B)),
        ("ij,jk", (A, B)),
        ("ij->ji", (A,)),
        ("ij->", (A,)),
        ("ii->i", (S,)),
        ("ii", (S,)),
        ("iij->j", (randn(3, 3, 2),)),
        ("bij,jk->bik", (C, B)),
        ("...ij,...jk->...ik", (C, B)),
        ("b...j,j->b...", (C, V)),
        ("bij,bij->b", (C, C)),
        ("i,j->ij", (V, V)),
        ("ij,ij->ij", (A, A)),
        ("bij,jk,k->bi", (C, B, randn(5))),
        ("ij,j,ik->k", (A, V, randn(3, 2))),
        ("bnqd,bnkd->bnqk", (randn(2, 3, 4, 5), randn(2, 3, 6, 5))),
        (" ij , jk -> ki ", (A, B)),
        ("ij,jk->ik", (np.zeros((2, 0)), np.zeros((0, 3)))),
        ("bi,bi->bi", (randn(1, 4), randn(3, 4))),
        ("bij,jk->bik", (randn(2, 3, 1), B)),
    ],
)
def test_equations(equation, arrays):
    check(lambda m, *x: m.einsum(equation, *x), *arrays)


def test_other_forms():
    check(lambda m, x, y: m.einsum("ij,jk", [x, y]), A, B)
    check(lambda m, x, y: m.einsum(x, [0, 1], y, [1, 2], [2, 0]), A, B)
    check(lambda m, x: m.einsum(x, [..., 1], [1, ...]), C)
    check(lambda m, x, y: m.einsum("ij,jk", x, y), *(np.arange(4).reshape(2, 2),) * 2, grad=False)


@pytest.mark.parametrize(
    "equation", ["ij,jk", "ijk", "i", "ij->k", "ij->ii", "i.j", "i2", "...i...", "ii"]
)
def test_equations_that_do_not_fit(equation):
    check_error(RuntimeError, "einsum", lambda: tg.einsum(equation, tg.ones(2, 3)))


def test_sizes_that_do_not_fit():
    check_error(RuntimeError, "size 4", lambda: tg.einsum("ij,jk", tg.ones(2, 3), tg.ones(4, 5)))
    check_error(TypeError, "expected tensors", lambda: tg.einsum("ij", 3))


def test_tensordot_and_kron():
    check(lambda m, x, y: m.tensordot(x, y, dims=1), C, B)
    check(lambda m, x, y: m.tensordot(x, y, dims=([1, 2], [0, 1])), C, A)
    check(lambda m, x, y: m.tensordot(x, y, dims=0), A, V)
    check(lambda m, x, y: m.kron(x, y), A, C)
    check(lambda m, x, y: m.kron(x, y), A, np.zeros((0, 2)))


def test_sums_of_products():
    check(lambda m, i, x, v: m.addmv(i, x, v, beta=0.5, alpha=2), randn(3), A, V)
    check(lambda m, i, v, w: m.addr(i, v, w), randn(4, 3), V, randn(3))
    check(lambda m, i, x, y: i.addbmm(x, y, alpha=3), randn(3, 5), C, randn(2, 4, 5))
    check(lambda m, x, y: m.vdot(x, y), V, randn(4, seed=9))
    check(lambda m, x, y: m.cross(x, y, dim=0), A, randn(3, 4, seed=9))
    check_error(RuntimeError, "length 3", lambda: tg.cross(tg.ones(2), tg.ones(2), 0))
