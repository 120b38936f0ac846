"""Functions of functions beside PyTorch's: derivatives, nested ones, and batches of examples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, check, check_error, randn

# PyTorch's own, when it imports its forward mode and traces.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated"),
    pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node"),
]

X, Y = randn(4, 3), randn(4, 3, seed=1)


def test_gradients():
    def run(m, x, y):
        f = m.func
        first = f.grad(lambda x, y: (x.sin() * y).sum())(x, y)
        both = f.grad(lambda x, y: (x.sin() * y).sum(), argnums=(1, 0))(x, y)
        of_dict, value = f.grad_and_value(lambda p, y: (p["a"] * p["b"][0] * y).sum())(
            {"a": x, "b": [y]}, y
        )
        with_aux, aux = f.grad(lambda x: ((x * x).sum(), x + 1), has_aux=True)(x)
        again, (number, more) = f.grad_and_value(
            lambda x, k: ((x * k).sum(), {"x": x}), has_aux=True
        )(x, k=3.0)
        results = [first, *both, of_dict["a"], of_dict["b"][0], value, with_aux, aux, again]
        return [*results, number, more["x"]]

    check(run, X, Y)
    check(run, X, Y, grad=False)


def test_nested_derivatives():
    def run(m, x, w):
        grad = m.func.grad

        def cubic(x):
            return (w * x**3).sum()  # w is found outside

        def inner(x):
            return grad(cubic)(x).square().sum() + x.sum()

        third = grad(lambda x: grad(lambda x: grad(lambda x: (x**4).sum())(x).sum())(x).sum())(x)
        return grad(cubic)(x), grad(inner)(x), grad(grad(lambda s: s.sin()))(x[0, 0]), third

    check(run, X, Y)


@pytest.mark.parametrize("wanted", [False, True])
def test_results_want_a_gradient_only_if_something_outside_does(wanted):
    def run(m, x):
        w = m.ones(3, dtype=m.float64, requires_grad=wanted)
        gradient, value = m.func.grad_and_value(lambda x: (w * x * x).sum())(x)
        output, pull = m.func.vjp(lambda x: w * x, x)
        (jacobian,) = [m.func.jacrev(lambda x: w * x * x)(x)]
        with m.no_grad():
            quiet = m.func.grad(lambda x: (w * x * x).sum())(x)
        tensors = gradient, value, output, pull(m.ones_like(output))[0], jacobian, quiet
        return [t.requires_grad for t in tensors]

    check(run, X, grad=False)
    assert not any(t.requires_grad for t in [tg.func.grad(lambda x: (x**3).sum())(tg.ones(2))])


def test_vector_products():
    def run(m, x, y):
        f = m.func
        output, pull = f.vjp(lambda a, b: (a * b, {"s": a.sin()}), x, y)
        of_both = pull((y, {"s": x}))
        single, pull_one, aux = f.vjp(lambda a: (a.exp(), a.cos()), x, has_aux=True)
        value, product = f.jvp(lambda a, b: (a * b).sin(), (x, y), (y, x))
        return [output[0], output[1]["s"], *of_both, single, pull_one(y)[0], aux, value, product]

    def linear(m, x, y):
        value, push = m.func.linearize(lambda a: a * a * y, x)
        return value, push(y), push(x)

    check(run, X, Y)
    check(linear, X, Y, grad=False)


@pytest.mark.parametrize("name", ["jacrev", "jacfwd"])
def test_jacobians(name):
    def run(m, x, w):
        jac = getattr(m.func, name)
        plain = jac(lambda x: (x @ w.mT).tanh())(x[0])
        nested = jac(lambda p, s: {"y": p["w"] * s, "z": (p["w"] * p["v"]).sum(0)}, argnums=(0, 1))(
            {"w": x, "v": w}, x[0]
        )
        with_aux, aux = jac(lambda x: (x.sin(), x * 2), has_aux=True)(x[0])
        scalar = jac(lambda x: x.sum())(x)
        found = [plain, with_aux, aux, scalar]
        for key in ("y", "z"):
            by_p, by_s = nested[key]
            found += [by_p["w"], by_p["v"], by_s]
        return found

    check(run, X, Y)


def test_hessians():
    def run(m, x, w):
        def f(x):
            return (x.sin() @ w).sum()

        per_row = m.func.vmap(m.func.hessian(f))(x)
        return m.func.hessian(f)(x[0]), per_row, m.func.jacfwd(m.func.jacrev(f))(x[1])

    check(run, X, randn(3, 2))


def test_functions_of_a_batch():
    def run(m, x, y, w):
        v = m.func.vmap
        dot = v(lambda a, b: (a * b).sum())
        results = [
            dot(x, y),
            m.vmap(lambda a: a * 2, in_dims=1, out_dims=1)(x),
            v(lambda a, b: a @ b, in_dims=(0, None))(x, w),
            v(lambda a, b: a.sum() - b, in_dims=(1, 0), out_dims=-1)(x, w),
            v(v(lambda a: a * a))(x),
            v(lambda p: p["a"] * p["b"], in_dims=({"a": 0, "b": None},))({"a": x, "b": w[:, 0]}),
            v(lambda a, *, k: a + k)(x, k=y),
            v(lambda pair: pair[0] + pair[1])((x, y)),
            v(m.func.grad(lambda a: (a**3).sum()))(x),
            m.func.grad(lambda x: v(lambda a: (a * a).sum())(x).sum())(x),
        ]
        first, second = v(lambda a: (a.sin(), {"s": a.sum()}))(x)
        several = v(lambda a: (a, a.sum(), w), out_dims=(1, 0, None))(x)
        return [*results, first, second["s"], *several]

    check(run, X, Y, randn(3, 3, seed=4))


def test_gradients_of_each_example():
    """The recipe for differential privacy: vmap of grad of a module's loss."""

    def run(m, x, y, weight, bias):
        model = m.nn.Linear(3, 2).double()
        params = {"weight": weight, "bias": bias}

        def loss(params, x, y):
            output = m.func.functional_call(model, params, (x.unsqueeze(0),))
            return m.nn.functional.mse_loss(output, y.unsqueeze(0))

        each = m.func.vmap(m.func.grad(loss), in_dims=(None, 0, 0))(params, x, y)
        return each["weight"], each["bias"]

    check(run, X, randn(4, 2, seed=2), randn(2, 3, seed=5), randn(2, seed=6), grad=False)


def test_ensembles():
    tg.manual_seed(0)
    models = [tg.nn.Sequential(tg.nn.Linear(3, 2), tg.nn.BatchNorm1d(2)).eval() for _ in range(3)]
    params, buffers = tg.func.stack_module_state(models)
    x = tg.from_numpy(X).float()

    def call(params, buffers, x):
        return tg.func.functional_call(models[0], (params, buffers), (x,))

    found = tg.vmap(call, in_dims=(0, 0, None))(params, buffers, x)
    assert found.tolist() == tg.stack([model(x) for model in models]).tolist()
    found.sum().backward()
    assert params["0.weight"].is_leaf and params["0.weight"].grad.shape == (3, 2, 3)
    mixed = [models[0], tg.nn.Sequential(tg.nn.Linear(3, 2)).train()]
    check_error(RuntimeError, "training/eval", lambda: tg.func.stack_module_state(mixed))
    check_error(RuntimeError, "at least one", lambda: tg.func.stack_module_state([]))


def test_random_numbers_of_a_batch():
    x = tg.zeros(3, 2)
    noisy = lambda a: a + tg.rand(2)  # noqa: E731
    tg.manual_seed(1)
    different = tg.vmap(noisy, randomness="different")(x)
    tg.manual_seed(1)
    same = tg.vmap(noisy, randomness="same")(x)
    tg.manual_seed(1)
    assert different.tolist() == tg.rand(3, 2).tolist()
    assert same.tolist() == [different[0].tolist()] * 3
    check_error(RuntimeError, "randomness error mode", lambda: tg.vmap(noisy)(x))


def test_writes_in_place_inside():
    def run(m, x):
        def f(x):
            y = x * 1
            y.mul_(x)
            y[0] = 0
            return y.sum()

        return m.func.grad(f)(x[0]), m.func.jacrev(lambda x: (x * 1).exp_())(x[0])

    check(run, X)


def test_complaints():
    f, x = tg.func, tg.ones(3)
    for kind, pattern, call in [
        (RuntimeError, "scalar tensor", lambda: f.grad(lambda x: x)(x)),
        (RuntimeError, "returns a tensor", lambda: f.grad(lambda x: 1.0)(x)),
        (RuntimeError, "only 1 positional", lambda: f.grad(lambda x: x.sum(), argnums=1)(x)),
        (RuntimeError, "int or a tuple of ints", lambda: f.grad(lambda x: x.sum(), argnums=[0])(x)),
        (RuntimeError, "has_aux=True", lambda: f.grad(lambda x: x.sum(), has_aux=True)(x)),
        (RuntimeError, "floating point", lambda: f.grad(lambda x: x.sum())(tg.arange(3))),
        (TypeError, "tensors only", lambda: f.grad(lambda x: x)(3.0)),
        (RuntimeError, "structure", lambda: f.vjp(lambda x: x, x)[1]((x, x))),
        (RuntimeError, "tuple", lambda: f.jvp(lambda x: x, x, x)),
        (RuntimeError, "shapes", lambda: f.jvp(lambda x: x, (x,), (tg.ones(2),))),
        (ValueError, "chunk_size", lambda: f.jacrev(lambda x: x, chunk_size=0)),
        (ValueError, "no inputs", lambda: f.vmap(lambda: x)()),
        (ValueError, "same size", lambda: f.vmap(lambda a, b: a)(x, tg.ones(2))),
        (ValueError, "not compatible", lambda: f.vmap(lambda a: a, in_dims=(0, 0))(x)),
        (ValueError, "dimensionality 1", lambda: f.vmap(lambda a: a, in_dims=1)(x)),
        (ValueError, "at least one", lambda: f.vmap(lambda a: a, in_dims=(None,))(x)),
        (ValueError, "non-Tensor", lambda: f.vmap(lambda a, b: a)(x, 3)),
        (ValueError, "only return Tensors", lambda: f.vmap(lambda a: 1)(x)),
        (ValueError, "out_dims", lambda: f.vmap(lambda a: (a, a), out_dims=(0, 0, 0))(x)),
        (RuntimeError, "randomness", lambda: f.vmap(lambda a: a, randomness="some")(x)),
    ]:  # fmt: skip
        check_error(kind, pattern, call)


def test_it_agrees_with_autograd():
    x = torch.from_numpy(X)
    expected = torch.autograd.functional.jacobian(lambda x: (x * x).sum(0), x)
    found = tg.func.jacrev(lambda x: (x * x).sum(0))(tg.from_numpy(X))
    np.testing.assert_allclose(as_array(found), as_array(expected), rtol=1e-12)
