"""Linear algebra of complex matrices against PyTorch; eigenvectors by what does not depend on their
phase."""

from __future__ import annotations

import pytest

import tilegrad as tg
from support import check, check_error, complex_randn, randn

A = complex_randn(2, 3, 3)
B = complex_randn(2, 3, 2, seed=1)


def definite(m, a):
    """Hermitian, with eigenvalues above 1."""
    return a @ a.mH + m.eye(a.shape[-1], dtype=a.dtype)


FUNCTIONS = {
    "inv": lambda m, a, b: m.linalg.inv(a),
    "solve": lambda m, a, b: m.linalg.solve(a, b),
    "solve right": lambda m, a, b: m.linalg.solve(a, b.mT, left=False),
    "det": lambda m, a, b: m.linalg.det(a),
    "slogdet": lambda m, a, b: tuple(m.linalg.slogdet(a)),
    "cholesky": lambda m, a, b: m.linalg.cholesky(definite(m, a)),
    "cholesky upper": lambda m, a, b: m.linalg.cholesky(definite(m, a), upper=True).resolve_conj(),
    "qr": lambda m, a, b: tuple(m.linalg.qr(a)),
    "qr wide": lambda m, a, b: tuple(m.linalg.qr(b.mT)),
    "svdvals": lambda m, a, b: m.linalg.svdvals(b),
    "svd": lambda m, a, b: (lambda s: (s[0].abs(), s[1], s[2].abs()))(m.linalg.svd(b, False)),
    "eigvalsh": lambda m, a, b: m.linalg.eigvalsh(definite(m, a)),
    "eigh": lambda m, a, b: m.linalg.eigh(definite(m, a)).eigenvectors.abs(),
    "eig": lambda m, a, b: (lambda e: (e[0], e[1].abs()))(m.linalg.eig(a)),
    "eigvals": lambda m, a, b: m.linalg.eigvals(a),
    "pinv": lambda m, a, b: m.linalg.pinv(b),
    "triangular": lambda m, a, b: m.linalg.solve_triangular(a, b, upper=True),
    "lu": lambda m, a, b: tuple(m.linalg.lu(a))[1:],
    "power": lambda m, a, b: m.linalg.matrix_power(a, 3),
    "exp": lambda m, a, b: m.linalg.matrix_exp(a),
    "norms": lambda m, a, b: [m.linalg.matrix_norm(a, p) for p in ("fro", "nuc", 2, -2, 1)],
    "cond": lambda m, a, b: m.linalg.cond(a),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_complex_matrices(name):
    check(FUNCTIONS[name], A, B, rtol=1e-8, atol=1e-8)


def test_eigenvalues_of_real_matrices():
    check(lambda m, a: m.linalg.eigvals(a), randn(3, 3), rtol=1e-9, atol=1e-9)
    check(lambda m, a: (lambda e: (e[0], e[1].abs()))(m.linalg.eig(a)), randn(4, 4, seed=3),
          rtol=1e-9, atol=1e-9)  # fmt: skip


def test_gradcheck():
    a = tg.from_numpy(A[0].copy()).requires_grad_()
    assert tg.autograd.gradcheck(lambda a: tg.linalg.eig(a).eigenvalues, a)
    assert tg.autograd.gradcheck(lambda a: tg.linalg.eig(a).eigenvectors.abs(), a)
    assert tg.autograd.gradcheck(lambda a: tg.linalg.svd(a).Vh.abs(), a)
    assert tg.autograd.gradgradcheck(lambda a: tg.linalg.inv(a), a)


def test_complaints():
    z = tg.from_numpy(A[0].copy())
    check_error(RuntimeError, "infs or NaNs", lambda: tg.linalg.eig(z / 0))
    check_error(NotImplementedError, "complex", lambda: tg.linalg.lstsq(z, z))
    check_error(RuntimeError, "same dtype", lambda: tg.linalg.solve(z, z.real))
    phase = tg.linalg.eig(z.requires_grad_()).eigenvectors.imag.sum()
    check_error(RuntimeError, "specified up to", lambda: phase.backward())
