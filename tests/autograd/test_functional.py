"""jacobian, hessian and the products with them, beside PyTorch."""

from __future__ import annotations

import importlib

import pytest
import torch

import tilegrad as tg
from support import check, randn

BOTH = pytest.mark.parametrize("m", [tg, torch], ids=["tilegrad", "torch"])


def functional(m):
    return importlib.import_module(f"{m.__name__}.autograd.functional")


def product(x, w):
    return x @ w, x * x


def energy(x, w):
    return (x @ w * (x @ w)).sum() + (x * x * x).sum()


@pytest.mark.parametrize(
    "program",
    [
        lambda f, x, w, v: f.jacobian(product, (x, w)),
        lambda f, x, w, v: f.jacobian(lambda x: x * x * x, x),
        lambda f, x, w, v: f.jacobian(lambda x: x.sum(), x),
        lambda f, x, w, v: f.hessian(energy, (x, w)),
        lambda f, x, w, v: f.hessian(lambda x: (x * x * x).sum(), x),
        lambda f, x, w, v: f.vjp(product, (x, w), (x @ w, x)),
        lambda f, x, w, v: f.jvp(product, (x, w), (v, w)),
        lambda f, x, w, v: f.jvp(lambda x: x * x, x, v),
        lambda f, x, w, v: f.vhp(energy, (x, w), (v, w)),
        lambda f, x, w, v: f.hvp(energy, (x, w), (v, w)),
        lambda f, x, w, v: f.jacobian(lambda x, w: x * 2, (x, w)),
    ],
)
def test_values(program):
    check(
        lambda m, x, w, v: program(functional(m), x, w, v),
        randn(2, 3),
        randn(3, 2, seed=1),
        randn(2, 3, seed=2),
        grad=False,
    )


def test_create_graph():
    def run(m, x):
        jacobian = functional(m).jacobian(lambda x: x * x * x, x, create_graph=True)
        _, product = functional(m).jvp(lambda x: x * x * x, x, x.detach(), create_graph=True)
        return jacobian, product

    check(run, randn(3))


@BOTH
def test_results_have_no_history(m):
    x = m.ones(2, dtype=m.float64).requires_grad_()
    assert not functional(m).jacobian(lambda x: x * x, x).requires_grad
    assert x.grad is None and x.requires_grad


@BOTH
def test_complaints(m):
    f, x = functional(m), m.ones(2, dtype=m.float64)
    with pytest.raises(RuntimeError, match="single element"):
        f.hessian(lambda x: x * x, x)
    with pytest.raises(RuntimeError):
        f.vjp(lambda x: x * x, x)
    with pytest.raises(RuntimeError):
        f.jvp(lambda x: x * x, x, m.ones(3, dtype=m.float64))
    with pytest.raises(RuntimeError):
        f.jacobian(lambda x: m.ones(2, dtype=m.float64), x, strict=True)
    with pytest.raises(TypeError):
        f.jacobian(lambda x: x, 3.0)


def test_gradients_for_several_factors():
    def run(m, x, w, factors):
        y = (x @ w).tanh()
        both = m.autograd.grad(y, (x, w), factors, create_graph=True, is_grads_batched=True)
        flat = y.sum(1)
        unit = m.eye(len(flat), dtype=flat.dtype)
        return (*both, *m.autograd.grad(flat, (x,), (unit,), True, is_grads_batched=True))

    check(run, randn(3, 2), randn(2, 4), randn(5, 3, 4, seed=2), grad=True)
    x = tg.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="one batch size"):
        tg.autograd.grad(x * 2, x, tg.tensor(1.0), is_grads_batched=True)


def test_ways_of_pytorch_that_change_nothing():
    def run(m, x):
        f, options = m.autograd.functional, {"vectorize": True}
        rows = f.jacobian(lambda x: x.sin() * x[0], x, strategy="forward-mode", **options)
        return rows, f.hessian(lambda x: (x**3).sum(), x, **options)

    check(run, randn(3), grad=False)
    f, x = tg.autograd.functional, tg.ones(2)
    with pytest.raises(RuntimeError, match="not supported together"):
        f.jacobian(lambda x: x, x, strict=True, vectorize=True)
    with pytest.raises(RuntimeError, match="forward-mode"):
        f.jacobian(lambda x: x, x, strategy="sideways")
