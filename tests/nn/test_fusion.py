"""Chains that one kernel computes give what the layers give one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import randn
from tilegrad import nn
from tilegrad.ops.conv2d import conv2d_inference


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


# (input, Conv2d's arguments, options): one for each of the ways that convolutions take
CONVOLUTIONS = {
    "transformed tiles": ((3, 18, 13, 11), (18, 21, 3), {"padding": 1}),
    "transformed tiles, stride": ((3, 16, 14, 14), (16, 32, 3), {"padding": 1, "stride": 2}),
    "few filters": ((2, 5, 9, 7), (5, 6, 3), {"padding": 1, "bias": False}),
    "pixels": ((3, 20, 8, 8), (20, 37, 1), {}),
    "pixels, small images": ((3, 20, 3, 5), (20, 37, 1), {"stride": 2}),
    "groups": ((2, 12, 9, 9), (12, 36, 4), {"groups": 2}),
    "depthwise": ((2, 9, 6, 7), (9, 9, 3), {"padding": 1, "groups": 9}),
    "depthwise, 5x5": ((2, 9, 6, 7), (9, 9, 5), {"padding": 2, "groups": 9}),
    "depthwise, wide": ((2, 3, 6, 37), (3, 6, 3), {"padding": 1, "groups": 3}),
    "depthwise, stride": ((2, 9, 14, 14), (9, 9, 3), {"padding": 1, "groups": 9, "stride": 2}),
}


def convolution(case: tuple, *behind: nn.Module, dtype: Any = None) -> nn.Sequential:
    _, arguments, options = case
    tg.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(*arguments, **options), *behind).to(dtype or tg.float64)
    for layer in behind:
        if isinstance(layer, nn.BatchNorm2d):
            if layer.track_running_stats:
                nn.init.uniform_(layer.running_mean, -1, 2)
                nn.init.uniform_(layer.running_var, 0.5, 2)
            if layer.affine:
                nn.init.uniform_(layer.weight, -1, 2)
                nn.init.uniform_(layer.bias, -1, 1)
    return layers.eval()


@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
@pytest.mark.parametrize("dtype", [tg.float64, tg.float32], ids=str)
def test_convolutions_in_inference(case: tuple, dtype: Any, monkeypatch: Any) -> None:
    calls = []
    inference = tg.nn.fusion.conv2d_inference
    monkeypatch.setattr(
        tg.nn.fusion, "conv2d_inference", lambda *args: calls.append(args) or inference(*args)
    )
    filters = case[1][1]
    x = tg.from_numpy(randn(*case[0])).to(dtype)
    for behind in (
        [nn.BatchNorm2d(filters)],
        [nn.BatchNorm2d(filters), nn.ReLU()],
        [nn.BatchNorm2d(filters, affine=False), nn.ReLU(inplace=True), nn.Identity()],
        [nn.ReLU()],
    ):
        layers = convolution(case, *behind, dtype=dtype)
        with tg.no_grad():
            separate = one_by_one(layers, x)
            calls.clear()
            together = layers(x)
        assert len(calls) == 1
        assert together.numpy().tobytes() == separate.numpy().tobytes()


@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
@pytest.mark.parametrize("dtype", [tg.float64, tg.float32, tg.bfloat16], ids=str)
@pytest.mark.parametrize("inplace", [False, True])
def test_convolution_and_relu_in_training(case: tuple, dtype: Any, inplace: bool) -> None:
    layers = convolution(case, nn.ReLU(inplace=inplace), dtype=dtype).train()
    x = tg.from_numpy(randn(*case[0])).to(dtype).requires_grad_()
    together, separate = layers(x), one_by_one(layers, x)
    assert repr(together.grad_fn) == "<Conv2dReluBackward0>"
    assert tg.equal(together, separate)
    for a, b in zip(gradients(layers, together, x), gradients(layers, separate, x), strict=True):
        assert tg.equal(a, b)


def test_convolution_and_relu_of_one_image_and_under_autocast() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    x = tg.from_numpy(randn(3, 6, 5)).float()
    assert tg.equal(layers(x), one_by_one(layers, x))
    with tg.autocast("cpu", dtype=tg.bfloat16):
        together, separate = layers(x.unsqueeze(0)), one_by_one(layers, x.unsqueeze(0))
    assert together.dtype is tg.bfloat16 and tg.equal(together, separate)


def test_second_derivatives_of_convolution_and_relu() -> None:
    layers = nn.Sequential(nn.Conv2d(2, 3, 2), nn.ReLU()).to(tg.float64)
    x = tg.from_numpy(randn(1, 2, 4, 3)).requires_grad_()
    weight = layers[0].weight
    assert tg.autograd.gradgradcheck(lambda x, weight: layers(x), (x, weight))


@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
@pytest.mark.parametrize("dtype", [tg.float64, tg.float32], ids=str)
def test_a_residual_behind_a_convolution(case: tuple, dtype: Any) -> None:
    conv, norm = convolution(case, nn.BatchNorm2d(case[1][1]), dtype=dtype)
    x = tg.from_numpy(randn(*case[0])).to(dtype)
    options = (conv.stride, conv.padding, conv.dilation, conv.groups)
    with tg.no_grad():
        plain = conv(x)
        statistics = (norm.running_mean, (norm.running_var + norm.eps) ** -0.5)
        residual = tg.from_numpy(randn(*plain.shape)).to(dtype)
        for normalized, relu in [(True, True), (True, False), (False, True), (False, False)]:
            separate = (norm(plain) if normalized else plain) + residual
            separate = separate.relu() if relu else separate
            behind = (*statistics, norm.weight, norm.bias) if normalized else None
            together = conv2d_inference(x, conv.weight, conv.bias, options, behind, residual, relu)
            assert together.numpy().tobytes() == separate.numpy().tobytes()


def test_complaints_about_what_follows_a_convolution() -> None:
    x, weight, options = tg.ones(2, 3, 5, 5), tg.ones(4, 3, 3, 3), (1, 1, 1, 1)
    with pytest.raises(RuntimeError, match=r"'residual': expected shape \(2, 4, 5, 5\)"):
        conv2d_inference(x, weight, None, options, None, tg.ones(2, 4, 5, 1))
    with pytest.raises(RuntimeError, match=r"'rstd': expected shape \(4\), got \(5,\)"):
        conv2d_inference(x, weight, None, options, (tg.ones(4), tg.ones(5), None, None))
    with pytest.raises(RuntimeError, match="both of 'mean' and 'rstd'"):
        conv2d_inference(x, weight, None, options, (tg.ones(4), None, None, None))


def test_convolutions_that_are_not_fused() -> None:
    case = CONVOLUTIONS["few filters"]
    x = tg.from_numpy(randn(*case[0]))

    def runs_apart(layers: nn.Sequential) -> None:
        np.testing.assert_allclose(
            layers(x).detach().numpy(), one_by_one(layers, x).detach().numpy(), rtol=1e-13
        )

    training = convolution(case, nn.BatchNorm2d(6, momentum=0.0), nn.ReLU()).train()
    runs_apart(convolution(case, nn.BatchNorm2d(6), nn.ReLU()))  # a gradient is recorded
    with tg.no_grad():
        runs_apart(training)
        runs_apart(convolution(case, nn.BatchNorm2d(6, track_running_stats=False), nn.ReLU()))
        runs_apart(convolution(case, nn.Tanh(), nn.BatchNorm2d(6)))
        hooked, seen = convolution(case, nn.BatchNorm2d(6), nn.ReLU()), []
        hooked[1].register_forward_hook(lambda module, args, output: seen.append(output))
        runs_apart(hooked)
    assert len(seen) == 2
    with pytest.raises(RuntimeError, match="running_mean"):  # as the layer itself says
        convolution(case, nn.BatchNorm2d(5))(x)


def test_not_a_number_passes_a_fused_convolution() -> None:
    case = CONVOLUTIONS["transformed tiles"]
    layers = convolution(case, nn.BatchNorm2d(21), nn.ReLU(), dtype=tg.float32)
    x = tg.from_numpy(randn(*case[0])).float()
    x[1, 2, 3, 4] = float("nan")
    with tg.no_grad():
        together, separate = layers(x), one_by_one(layers, x)
    assert tg.isnan(separate).any()
    np.testing.assert_allclose(together.numpy(), separate.numpy(), rtol=1e-4, atol=1e-5)


CHAINS = {
    "conv, bn, relu": lambda m: [m.Conv2d(3, 4, 3), m.BatchNorm2d(4), m.ReLU()],
    "conv, bn": lambda m: [m.Conv2d(3, 4, 3), m.BatchNorm2d(4)],
    "conv, relu": lambda m: [m.Conv2d(3, 4, 3, padding=1), m.ReLU()],
    "two convs": lambda m: [m.Conv2d(3, 4, 3), m.ReLU(), m.Conv2d(4, 3, 1), m.ReLU()],
    "bn, relu": lambda m: [m.BatchNorm2d(3), m.ReLU()],
    "linear, relu": lambda m: [m.Flatten(), m.Linear(75, 4), m.ReLU(), m.Linear(4, 4)],
    "linear, gelu": lambda m: [m.Flatten(), m.Linear(75, 4), m.GELU()],
    "linear, bn, relu": lambda m: [m.Flatten(), m.Linear(75, 4), m.BatchNorm1d(4), m.ReLU()],
}
ON_CARDS = pytest.param("cuda", tg.float16, marks=pytest.mark.gpu)


@pytest.mark.parametrize("device, dtype", [("cpu", tg.bfloat16), ON_CARDS])
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", CHAINS)
def test_mixed_precision(name: str, training: bool, grad: bool, device: str, dtype: Any) -> None:
    layers = nn.Sequential(*CHAINS[name](nn)).to(device).train(training)
    theirs = torch.nn.Sequential(*CHAINS[name](torch.nn)).train(training)
    x = randn(2, 3, 5, 5, dtype=np.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        wanted = theirs(torch.from_numpy(x)).dtype is torch.bfloat16
    for given in (tg.float32, dtype):  # what comes from a layer in small precision is small
        y = tg.from_numpy(x).to(device).to(given)
        with tg.set_grad_enabled(grad), tg.autocast(device, dtype=dtype):
            together, separate = layers(y), one_by_one(layers, y)
        assert together.dtype is separate.dtype is (dtype if wanted else given)
        # GELU behind a product sees it before it is rounded; all else is the same bit for bit.
        rtol = 2 * tg.finfo(dtype).eps if "gelu" in name else 0.0
        np.testing.assert_allclose(
            together.detach().float().cpu().numpy(),
            separate.detach().float().cpu().numpy(),
            rtol=rtol,
            atol=rtol,
        )
        assert together.requires_grad is grad


def test_a_frozen_network_keeps_to_mixed_precision() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).requires_grad_(False)
    with tg.autocast("cpu"):
        assert layers.eval()(tg.ones(1, 3, 5, 5)).dtype is tg.bfloat16
