"""Linear algebra against PyTorch; PyTorch's own samples are in tests/conformance."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import check, check_error, randn

A = randn(2, 4, 4)
WIDE, TALL = randn(3, 5), randn(2, 5, 3)
B = randn(2, 4, 3, seed=1)
CLOSE = {"rtol": 1e-8, "atol": 1e-9}


def positive(m, x):
    return x @ x.mT + m.eye(x.shape[-1], dtype=x.dtype)


@pytest.mark.parametrize("upper", [False, True])
def test_cholesky(upper):
    check(lambda m, x: m.linalg.cholesky(positive(m, x), upper=upper), A, **CLOSE)
    check(lambda m, x: tuple(m.linalg.cholesky_ex(positive(m, x), upper=upper)), A, **CLOSE)

    def solved(m, x, b):
        return m.cholesky_solve(b, m.linalg.cholesky(positive(m, x), upper=upper), upper)

    check(solved, A, B, **CLOSE)
    check_error(tg.linalg.LinAlgError, "positive", lambda: tg.linalg.cholesky(-tg.eye(3)))
    assert tg.linalg.cholesky_ex(tg.tensor([[1.0, 2.0], [2.0, 1.0]])).info.item() == 2


@pytest.mark.parametrize("x", [A, WIDE, TALL], ids=["square", "wide", "tall"])
def test_qr_svd_lu(x):
    check(lambda m, x: tuple(m.linalg.qr(x)), x, **CLOSE)
    check(lambda m, x: tuple(m.linalg.qr(x, mode="complete")), x, grad=False, **CLOSE)
    check(lambda m, x: m.linalg.svdvals(x), x, **CLOSE)

    def up_to_sign(m, x):
        U, S, Vh = m.linalg.svd(x, full_matrices=False)
        return U.abs(), S, Vh.abs(), U * S.unsqueeze(-2) @ Vh

    check(up_to_sign, x, **CLOSE)
    check(lambda m, x: tuple(m.linalg.lu(x)), x, **CLOSE)
    check(lambda m, x: tuple(m.linalg.lu_factor(x)), x, **CLOSE)


@pytest.mark.parametrize("side", ["L", "U"])
def test_eigh(side):
    check(lambda m, x: m.linalg.eigvalsh(x + x.mT, side), A, **CLOSE)

    def up_to_sign(m, x):
        values, vectors = m.linalg.eigh(x, side)
        return values, vectors.abs()

    check(up_to_sign, A, **CLOSE)
    check_error(RuntimeError, "UPLO", lambda: tg.linalg.eigh(tg.eye(2), "X"))


def test_equations():
    check(lambda m, a, b: m.linalg.solve(a, b), A, B, **CLOSE)
    check(lambda m, a, b: m.linalg.solve(a, b, left=False), A, B.swapaxes(1, 2), **CLOSE)
    check(lambda m, a, b: m.linalg.solve(a, b), A, B[..., 0], **CLOSE)
    check(lambda m, a, b: m.linalg.solve_triangular(a, b, upper=True), A, B, **CLOSE)
    for unit in (False, True):
        check(
            lambda m, a, b, u=unit: m.linalg.solve_triangular(
                a, b, upper=False, left=False, unitriangular=u
            ),
            A,
            B.swapaxes(1, 2),
            **CLOSE,
        )
    check(lambda m, a, b: m.linalg.lu_solve(*m.linalg.lu_factor(a), b), A, B, **CLOSE)
    check(lambda m, a, b: m.linalg.lstsq(a, b).solution, TALL, randn(2, 5, 2), **CLOSE)
    check_error(tg.linalg.LinAlgError, "singular", lambda: tg.linalg.inv(tg.zeros(2, 2)))
    check_error(RuntimeError, "square", lambda: tg.linalg.inv(tg.zeros(2, 3)))


def test_inverses_and_determinants():
    check(lambda m, x: m.linalg.inv(x), A, **CLOSE)
    check(lambda m, x: m.linalg.det(x), A, **CLOSE)
    check(lambda m, x: m.linalg.det(x), np.outer([1.0, 2, 3], [4.0, 5, 6]), **CLOSE)
    check(lambda m, x: tuple(m.linalg.slogdet(x)), A, **CLOSE)
    for x in (A, WIDE, TALL):
        check(lambda m, x: m.linalg.pinv(x), x, **CLOSE)
        check(lambda m, x: m.linalg.matrix_rank(x), x, grad=False)
    for power in (-2, 0, 1, 5):
        check(lambda m, x, n=power: m.linalg.matrix_power(x, n), A, **CLOSE)
    check(lambda m, x: m.linalg.matrix_exp(x), A, **CLOSE)


def test_second_derivatives():
    x = tg.from_numpy(randn(3, 3)).requires_grad_()
    for function in (tg.linalg.inv, tg.linalg.det, tg.linalg.pinv, tg.linalg.svdvals):
        assert tg.autograd.gradgradcheck(function, (x,), atol=1e-4)
    assert tg.autograd.gradgradcheck(lambda y: tg.linalg.cholesky(positive(tg, y)), (x,))


@pytest.mark.parametrize("order", ["fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_norms_of_matrices(order):
    check(lambda m, x: m.linalg.matrix_norm(x, order), TALL, **CLOSE)
    check(lambda m, x: m.linalg.norm(x, order, dim=(0, 2), keepdim=True), TALL, **CLOSE)
    # PyTorch cannot differentiate the other condition numbers: it overwrites its own inverse.
    check(lambda m, x: m.linalg.cond(x, order), A, grad=order in ("nuc", 2, -2), **CLOSE)


@pytest.mark.parametrize("order", [0, 0.5, 1, 2, 3, np.inf, -np.inf, -1])
def test_norms_of_vectors(order):
    check(lambda m, x: m.linalg.vector_norm(x, order), TALL, **CLOSE)
    check(lambda m, x: m.linalg.norm(x, order, dim=1), TALL, **CLOSE)
    check_error(IndexError, "range", lambda: tg.linalg.vector_norm(tg.ones(2), order, 3))


def test_products():
    chain = [randn(3), randn(3, 7, seed=1), randn(7, 2, seed=2), randn(2, 5, seed=3)]
    check(lambda m, *x: m.linalg.multi_dot(x), *chain)
    check(lambda m, x, y: m.linalg.vecdot(x, y), A, A[0])
    check(lambda m, x, y: m.linalg.cross(x, y), randn(4, 3), randn(4, 3, seed=1))
    check(lambda m, x: m.linalg.vander(x, N=4), randn(3))
    check(lambda m, x: m.linalg.tensorinv(x, ind=1), randn(4, 2, 2))
    check(lambda m, x, y: m.linalg.tensorsolve(x, y), randn(4, 2, 2), randn(4))


def test_older_names():
    check(lambda m, x: m.inverse(x) + x.inverse(), A, **CLOSE)
    check(lambda m, x: m.det(x) + m.logdet(positive(m, x)), A, **CLOSE)
    check(lambda m, x: m.svd(x).S, TALL, **CLOSE)
    check(lambda m, x: tuple(m.lu_unpack(*m.linalg.lu_factor(x))), A, **CLOSE)
    check(lambda m, x: m.pinverse(x), TALL, **CLOSE)
