"""Activation functions against PyTorch: values, first and second derivatives, in-place forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import tilegrad as tg
from support import check, check_error, randn
from tilegrad.ops import activation


def rooms(m: Any) -> Any:
    """Where the functions of torch.nn.functional live in each library."""
    return activation if m is tg else functional


CASES: dict[str, Callable[[Any, Any], Any]] = {
    "relu": lambda f, x: f.relu(x),
    "sigmoid": lambda f, x: f.sigmoid(x),
    "tanh": lambda f, x: f.tanh(x),
    "gelu": lambda f, x: f.gelu(x),
    "gelu_tanh": lambda f, x: f.gelu(x, approximate="tanh"),
    "silu": lambda f, x: f.silu(x),
    "leaky_relu": lambda f, x: f.leaky_relu(x),
    "leaky_relu_steep": lambda f, x: f.leaky_relu(x, 0.3),
    "elu": lambda f, x: f.elu(x),
    "elu_alpha": lambda f, x: f.elu(x, 1.7),
    "selu": lambda f, x: f.selu(x),
    "celu": lambda f, x: f.celu(x, 0.5),
    "softplus": lambda f, x: f.softplus(x),
    "softplus_beta": lambda f, x: f.softplus(x, beta=3, threshold=2),
    "logsigmoid": lambda f, x: f.logsigmoid(x),
    "hardtanh": lambda f, x: f.hardtanh(x, -0.5, 0.75),
    "relu6": lambda f, x: f.relu6(x * 4),
    "mish": lambda f, x: f.mish(x),
    "hardsigmoid": lambda f, x: f.hardsigmoid(x * 2),
    "hardswish": lambda f, x: f.hardswish(x * 2),
}
IN_PLACE = [
    *("relu", "silu", "leaky_relu", "elu", "selu", "celu", "hardtanh", "relu6", "mish"),
    *("hardsigmoid", "hardswish"),
]
# PyTorch rounds 1 / 6 to float32 in the gradient.
ROUNDED_IN_PYTORCH = {"hardsigmoid": 1e-7}
EDGES = np.array([0.0, -0.0, 1e-6, 30, -30, 88, -88, 95, -95, 110, -110, 1e30, -1e30])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name: str, dtype: type) -> None:
    x = (randn(9, 11) * 2.5).astype(dtype)
    for layout in (x, x.T, x[::2, 1::3], np.broadcast_to(x[:1], (4, 11)), x[:0], x[0, 0]):
        y = np.asarray(layout)
        rtol = ROUNDED_IN_PYTORCH.get(name) if dtype == np.float64 else None
        check(lambda m, a: CASES[name](rooms(m), a), y, rtol=rtol)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", CASES)
def test_edges(name: str, dtype: type) -> None:
    x = np.repeat(EDGES, 3).astype(dtype)
    rtol = ROUNDED_IN_PYTORCH.get(name) if dtype == np.float64 else None
    check(lambda m, a: CASES[name](rooms(m), a), x, rtol=rtol, grad=not name.startswith("gelu"))
    check(lambda m, a: CASES[name](rooms(m), a), np.full(19, np.nan, dtype), grad=False)
    if name not in ("mish", "hardswish", "silu", "gelu"):  # infinity times zero there
        infinite = np.array([np.inf, -np.inf] * 9, dtype)
        check(lambda m, a: CASES[name](rooms(m), a), infinite, grad=False)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_gelu_of_infinity(dtype: type) -> None:
    """PyTorch's float32 gelu of infinity is infinity or NaN, by the machine; ours is infinity."""
    y = activation.gelu(tg.tensor(np.array([np.inf, -np.inf] * 9, dtype))).cpu().numpy()
    np.testing.assert_array_equal(y, np.array([np.inf, np.nan] * 9, dtype))


def test_large_tensors() -> None:  # several chunks
    x = randn(70_001, dtype=np.float32)
    check(lambda m, a: m.tanh(a), x)
    check(lambda m, a: rooms(m).gelu(a), x)


@pytest.mark.parametrize("name", sorted(set(CASES) - {"hardsigmoid"}))  # PyTorch has none
def test_second_derivatives(name: str) -> None:
    results = []
    for m in (tg, torch):
        leaf = m.from_numpy(randn(40) * 2).requires_grad_()
        weights = m.from_numpy(randn(40, seed=1)).requires_grad_()
        y = CASES[name](rooms(m), leaf)
        (first,) = m.autograd.grad(y, leaf, weights, create_graph=True)
        second = m.autograd.grad(first * first * leaf, (leaf, weights), m.ones_like(leaf))
        results.append([grad.cpu().numpy() for grad in second])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(
            ours, theirs, rtol=ROUNDED_IN_PYTORCH.get(name, 1e-9), atol=1e-12
        )


@pytest.mark.parametrize("name", IN_PLACE)
def test_inplace_argument(name: str) -> None:
    x = randn(5, 6)
    check(lambda m, a: getattr(rooms(m), name)(a, inplace=True), x, grad=False)
    rtol = ROUNDED_IN_PYTORCH.get(name)
    check(lambda m, a: getattr(rooms(m), name)(a * 1, inplace=True), x, rtol=rtol)
    y = tg.from_numpy(x.copy())
    assert getattr(activation, name)(y, inplace=True) is y


@pytest.mark.parametrize("name", ["relu_", "sigmoid_", "tanh_"])
def test_in_place_methods(name: str) -> None:
    x = randn(5, 6)
    check(lambda m, a: getattr(a, name)(), x, grad=False)
    check(lambda m, a: getattr(a * 1, name)() * 2, x)
    check(lambda m, a: getattr(m, name)(a * 1), x)
    check(lambda m, a: (m.selu_(a * 1), m.celu_(a * 1, 2.0)), x)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.int8])
def test_integers(dtype: type) -> None:
    x = np.array([-3, 0, 2]).astype(dtype)
    check(lambda m, a: (m.relu(a), m.sigmoid(a), m.tanh(a)), x)
    check(lambda m, a: (rooms(m).hardtanh(a, 0, 2), a.relu_()), x)


def test_where_names_live() -> None:
    for name in activation.__all__:
        assert hasattr(torch, name) and hasattr(tg, name)
    for name in ("gelu", "silu", "leaky_relu", "softplus", "elu"):
        assert not hasattr(tg, name)


def test_complaints() -> None:
    whole = tg.arange(3)
    for name in ("gelu", "silu", "leaky_relu", "elu", "selu", "softplus", "logsigmoid", "mish"):
        check_error(
            NotImplementedError, "int64", lambda name=name: getattr(activation, name)(whole)
        )
    for name in ("hardsigmoid", "hardswish"):
        check_error(
            NotImplementedError, "int64", lambda name=name: getattr(activation, name)(whole)
        )
    check_error(RuntimeError, "Boolean inputs", lambda: tg.relu(tg.tensor([True])))
    check_error(RuntimeError, "either none or tanh", lambda: activation.gelu(tg.ones(2), "x"))
    check_error(ValueError, "min_val cannot", lambda: activation.hardtanh(tg.ones(2), 2, 1))
    check_error(RuntimeError, "sigmoid_: .*can't be cast", lambda: whole.sigmoid_())
    check_error(RuntimeError, "alpha cannot be 0", lambda: tg.celu(tg.ones(2), 0))
    for bad in (None, 1.0, "a"):
        with pytest.raises(TypeError):
            tg.tanh(bad)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_edges_of_the_piecewise_functions(dtype: str) -> None:
    """At the corners, too, values and slopes are PyTorch's; long enough for every lane."""
    corners = [-7.0, -3.0, -1.0, -0.5, -0.0, 0.0, 0.75, 1.0, 3.0, 6.0, 7.0]
    x = np.tile(np.array(corners, dtype), 13)
    check(lambda m, a: rooms(m).hardtanh(a), x)
    check(lambda m, a: rooms(m).hardtanh(a, -0.5, 0.75), x)
    check(lambda m, a: rooms(m).relu6(a), x)
    check(lambda m, a: rooms(m).hardsigmoid(a), x, rtol=1e-7)  # PyTorch's slope is a float32 sixth
    check(lambda m, a: rooms(m).hardswish(a), x)
    check(lambda m, a: m.clamp(a, -1, 3), x)
    check(lambda m, a: m.clamp(a, 3, -1), x)
    check(lambda m, a: m.clamp(a, min=0.75), x)
    check(lambda m, a: m.clamp(a.reshape(11, 13).t(), max=-0.5), x)


def test_second_derivatives_of_the_piecewise_functions() -> None:
    x = tg.from_numpy(np.linspace(-4.05, 4.1, 12)).requires_grad_()
    for name in ("hardtanh", "hardsigmoid", "hardswish"):
        function = getattr(activation, name)
        assert tg.autograd.gradcheck(function, (x,)) and tg.autograd.gradgradcheck(function, (x,))
    assert tg.autograd.gradgradcheck(lambda a: a.clamp(-1, 2) * a, (x,))
