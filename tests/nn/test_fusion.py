"""Chains that one kernel computes give what the layers give one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tilegrad as tg
from support import randn
from tilegrad import nn


def chain(activation: nn.Module, bias: bool = True) -> nn.Sequential:
    tg.manual_seed(0)
    layers = nn.Sequential(nn.Linear(5, 7, bias=bias), activation, nn.Linear(7, 3), nn.Dropout(0.0))
    return layers.to(tg.float64)


def one_by_one(layers: nn.Sequential, x: tg.Tensor) -> tg.Tensor:
    for layer in layers:
        x = layer(x)
    return x


def gradients(layers: nn.Sequential, output: tg.Tensor, x: tg.Tensor) -> list[Any]:
    return list(tg.autograd.grad((output * output).sum(), [x, *layers.parameters()]))


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 5), (5,), (0, 5)])
@pytest.mark.parametrize(
    "activation", [nn.ReLU(), nn.ReLU(inplace=True), nn.GELU(), nn.GELU(approximate="tanh")]
)
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients(activation: nn.Module, shape: tuple, bias: bool) -> None:
    layers = chain(activation, bias)
    x = tg.from_numpy(randn(*shape)).requires_grad_()
    together, separate = layers(x), one_by_one(layers, x)
    np.testing.assert_allclose(
        together.detach().numpy(), separate.detach().numpy(), rtol=1e-14, atol=1e-14
    )
    for a, b in zip(gradients(layers, together, x), gradients(layers, separate, x), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-13, atol=1e-13)
    with tg.no_grad():
        np.testing.assert_allclose(
            layers(x).numpy(), one_by_one(layers, x).numpy(), rtol=1e-14, atol=1e-14
        )


def test_it_is_one_operation() -> None:
    layers = nn.Sequential(nn.Linear(5, 7), nn.ReLU())
    assert repr(layers(tg.ones(2, 5)).grad_fn) == "<LinearReluBackward0>"


def test_second_derivatives() -> None:
    layers = chain(nn.ReLU())
    x = tg.from_numpy(randn(3, 5)).requires_grad_()
    assert tg.autograd.gradgradcheck(lambda x: layers(x), (x,))


def test_modules_with_hooks_are_called() -> None:
    layers = chain(nn.ReLU())
    seen: list[str] = []
    layers[0].register_forward_hook(lambda module, args, output: seen.append("linear"))
    layers[1].register_forward_pre_hook(lambda module, args: seen.append("relu"))
    layers(tg.ones(2, 5, dtype=tg.float64))
    assert seen == ["linear", "relu"]


def test_derived_classes_and_replaced_forwards_are_called() -> None:
    class Doubled(nn.ReLU):
        def forward(self, input: Any) -> Any:
            return super().forward(input) * 2

    x = tg.from_numpy(randn(4, 5))
    plain, doubled = nn.Sequential(nn.Linear(5, 7), nn.ReLU()).to(tg.float64), Doubled()
    expected = plain(x).detach().numpy() * 2
    plain[1] = doubled
    np.testing.assert_allclose(plain(x).detach().numpy(), expected)
    plain[1] = nn.ReLU()
    plain[1].forward = lambda input: input * 0
    assert plain(x).abs().sum().item() == 0
