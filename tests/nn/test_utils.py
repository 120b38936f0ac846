"""``nn.utils``: clipping, normalized weights, parametrizations and more, beside PyTorch's."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, check_error, randn


def fill(m, net, scale=1.0):
    with m.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(m.from_numpy(scale * randn(*p.shape, dtype=as_array(p).dtype, seed=i)))
    return net


def same(ours, theirs, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(as_array(ours), as_array(theirs), rtol=rtol, atol=atol)


@pytest.mark.parametrize("norm_type", [2.0, 1.0, float("inf"), 3.0])
@pytest.mark.parametrize("max_norm", [0.5, 1e4])
def test_clip_grad_norm(norm_type, max_norm):
    def run(m):
        params = [
            m.nn.Parameter(m.zeros(3, 4)),
            m.nn.Parameter(m.zeros(5)),
            m.nn.Parameter(m.ones(2)),
        ]
        for i, p in enumerate(params[:2]):
            p.grad = m.from_numpy(randn(*p.shape, dtype=np.float32, seed=i))
        total = m.nn.utils.clip_grad_norm_((p for p in params), max_norm, norm_type)
        return [total, *(p.grad for p in params[:2])]

    for a, b in zip(run(tg), run(torch), strict=True):
        same(a, b)


def test_clip_grad_complaints_and_values():
    p = tg.nn.Parameter(tg.zeros(3))
    p.grad = tg.tensor([1.0, float("nan"), 3.0])
    clip = tg.nn.utils.clip_grad_norm_
    check_error(RuntimeError, "non-finite", lambda: clip(p, 1.0, error_if_nonfinite=True))
    check_error(TypeError, "expected a Tensor or an iterable", lambda: clip(3, 1.0))
    assert clip([], 1.0).item() == 0
    with pytest.warns(UserWarning, match="empty generator"):
        clip((x for x in ()), 1.0)
    p.grad = tg.tensor([-5.0, 0.5, 3.0])
    tg.nn.utils.clip_grad_value_([p], 1.0)
    assert p.grad.tolist() == [-1, 0.5, 1]
    with pytest.warns(FutureWarning, match="deprecated"):
        tg.nn.utils.clip_grad_norm([p], 1.5)
    assert p.grad.norm().item() == pytest.approx(1.5)


def test_parameters_as_a_vector():
    def run(m):
        net = fill(m, m.nn.Sequential(m.nn.Linear(3, 4), m.nn.Linear(4, 2)))
        vector = m.nn.utils.parameters_to_vector(net.parameters())
        m.nn.utils.vector_to_parameters(vector.detach() * 2, net.parameters())
        return [vector, *net.parameters()]

    for a, b in zip(run(tg), run(torch), strict=True):
        same(a, b)
    check_error(TypeError, "expected torch.Tensor", lambda: tg.nn.utils.vector_to_parameters(1, []))


LAYERS = {
    "linear": (lambda m: m.nn.Linear(4, 6), (5, 4)),
    "conv": (lambda m: m.nn.Conv2d(3, 4, 3), (2, 3, 5, 5)),
    "transposed": (lambda m: m.nn.ConvTranspose1d(3, 4, 2), (2, 3, 5)),
}


def train(m, layer, shape, steps=3):
    results = []
    for i in range(steps):
        y = layer(m.from_numpy(randn(*shape, dtype=np.float32, seed=50 + i)))
        y.square().sum().backward()
        results += [y.detach()] + [p.grad.clone() for p in layer.parameters()]
        with m.no_grad():
            for p in layer.parameters():
                p.sub_(p.grad, alpha=1e-3)
                p.grad = None
    return results


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("new", [False, True])
@pytest.mark.filterwarnings("ignore:.*deprecated in favor of:FutureWarning")
def test_weight_norm(name, dim, new):
    make, shape = LAYERS[name]

    def run(m):
        layer = fill(m, make(m))
        room = m.nn.utils.parametrizations if new else m.nn.utils
        assert room.weight_norm(layer, "weight", dim) is layer
        return train(m, layer, shape), layer

    (ours, layer), (theirs, other) = run(tg), run(torch)
    for a, b in zip(ours, theirs, strict=True):
        same(a, b, 1e-4, 1e-4)
    assert list(layer.state_dict()) == list(other.state_dict())
    for key, value in other.state_dict().items():
        assert tuple(layer.state_dict()[key].shape) == tuple(value.shape)
    before = layer(tg.from_numpy(randn(*shape, dtype=np.float32)))
    if new:
        tg.nn.utils.parametrize.remove_parametrizations(layer, "weight")
        assert type(layer).__name__ in ("Linear", "Conv2d", "ConvTranspose1d")
    else:
        tg.nn.utils.remove_weight_norm(layer)
        check_error(ValueError, "not found", lambda: tg.nn.utils.remove_weight_norm(layer))
    same(layer(tg.from_numpy(randn(*shape, dtype=np.float32))), before, 1e-5, 1e-5)
    assert sorted(layer.state_dict()) == ["bias", "weight"]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("new", [False, True])
def test_spectral_norm(name, new):
    make, shape = LAYERS[name]

    def run(m):
        layer = fill(m, make(m))
        m.manual_seed(3)
        room = m.nn.utils.parametrizations if new else m.nn.utils
        room.spectral_norm(layer, n_power_iterations=2)
        results = train(m, layer, shape)
        layer.eval()
        return [*results, layer(m.from_numpy(randn(*shape, dtype=np.float32)))], layer

    (ours, layer), (theirs, other) = run(tg), run(torch)
    for a, b in zip(ours, theirs, strict=True):
        same(a, b, 1e-4, 1e-4)
    assert list(layer.state_dict()) == list(other.state_dict())
    if not new:
        before = layer.weight.detach().clone()
        tg.nn.utils.remove_spectral_norm(layer)
        same(layer.weight, before)
        check_error(ValueError, "not found", lambda: tg.nn.utils.remove_spectral_norm(layer))


def test_normalization_complaints():
    layer = tg.nn.Linear(2, 2, bias=False)
    u = tg.nn.utils
    check_error(
        ValueError, "n_power_iterations", lambda: u.spectral_norm(layer, n_power_iterations=0)
    )
    u.spectral_norm(layer)
    check_error(RuntimeError, "Cannot register two", lambda: u.spectral_norm(layer))
    p = u.parametrizations
    other = tg.nn.Linear(2, 2)
    check_error(ValueError, "no parameter or buffer", lambda: p.spectral_norm(other, "missing"))
    check_error(IndexError, "out of range", lambda: p.spectral_norm(other, dim=2))
    check_error(ValueError, "does not have a parameter", lambda: p.weight_norm(other, "missing"))


def parametrizations_of(m):
    class Symmetric(m.nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).t()

        def right_inverse(self, x):
            return x.triu()

    class Doubled(m.nn.Module):
        def forward(self, x):
            return 2 * x

        def right_inverse(self, x):
            return x / 2

    return Symmetric(), Doubled()


def test_parametrizations():
    def run(m):
        layer = fill(m, m.nn.Linear(3, 3))
        first, second = parametrizations_of(m)
        u = m.nn.utils.parametrize
        u.register_parametrization(layer, "weight", first)
        u.register_parametrization(layer, "weight", second)
        results = train(m, layer, (2, 3))
        layer.weight = m.from_numpy(np.eye(3, dtype=np.float32) * 3)
        results += [layer.weight, layer.parametrizations.weight.original]
        with u.cached():
            assert layer.weight is layer.weight
        assert layer.weight is not layer.weight
        twin = copy.deepcopy(layer)
        results += list(twin.state_dict().values())
        assert u.is_parametrized(layer) and u.is_parametrized(layer, "weight")
        assert not u.is_parametrized(layer, "bias")
        assert u.type_before_parametrizations(layer) is m.nn.Linear
        u.remove_parametrizations(layer, "weight", leave_parametrized=False)
        assert type(layer) is m.nn.Linear
        return results + list(layer.parameters()), list(twin.state_dict()), repr(twin)

    (ours, keys, text), (theirs, expected_keys, expected_text) = run(tg), run(torch)
    for a, b in zip(ours, theirs, strict=True):
        same(a, b)
    assert keys == expected_keys
    assert text == expected_text


def test_parametrizations_that_are_refused():
    class Longer(tg.nn.Module):
        def forward(self, x):
            return tg.cat([x, x])

    u = tg.nn.utils.parametrize
    layer = tg.nn.Linear(3, 3)
    check_error(
        ValueError,
        "may not change the shape",
        lambda: u.register_parametrization(layer, "bias", Longer()),
    )
    layer = tg.nn.Linear(3, 3)
    u.register_parametrization(layer, "bias", Longer(), unsafe=True)
    assert layer.bias.shape == (6,)
    check_error(ValueError, "does not have", lambda: u.remove_parametrizations(layer, "weight"))

    def assign():
        layer.bias = tg.zeros(3)

    check_error(RuntimeError, "does not implement right_inverse", assign)


@pytest.mark.parametrize("transpose", [False, True])
def test_batch_normalization_folded_in(transpose):
    conv = tg.nn.ConvTranspose2d(3, 4, 3) if transpose else tg.nn.Conv2d(3, 4, 3, bias=False)
    norm = tg.nn.BatchNorm2d(4)
    fill(tg, norm)
    norm(tg.from_numpy(randn(4, 4, 3, 3, dtype=np.float32)))
    conv.eval(), norm.eval()
    x = tg.from_numpy(randn(2, 3, 6, 6, dtype=np.float32))
    fused = tg.nn.utils.fuse_conv_bn_eval(conv, norm, transpose)
    same(fused(x), norm(conv(x)), 1e-4, 1e-5)
    check_error(
        AssertionError, "only for eval", lambda: tg.nn.utils.fuse_conv_bn_eval(conv.train(), norm)
    )
    linear, norm = tg.nn.Linear(3, 4).eval(), fill(tg, tg.nn.BatchNorm1d(4)).eval()
    x = tg.from_numpy(randn(5, 3, dtype=np.float32))
    same(tg.nn.utils.fuse_linear_bn_eval(linear, norm)(x), norm(linear(x)), 1e-4, 1e-5)


def test_functional_call():
    net = tg.nn.Sequential(tg.nn.Linear(3, 2), tg.nn.BatchNorm1d(2))
    x = tg.from_numpy(randn(4, 3, dtype=np.float32))
    weight = (net[0].weight.detach() * 2).requires_grad_()
    call = tg.nn.utils.stateless.functional_call
    y = call(net, {"0.weight": weight}, (x,))
    y.square().sum().backward()
    assert weight.grad is not None and net[0].weight.grad is None
    assert dict(net.named_parameters())["0.weight"] is net[0].weight
    check_error(KeyError, "no tensors named", lambda: call(net, {"5.weight": weight}, x))
    check_error(RuntimeError, "Missing key", lambda: call(net, {}, x, strict=True))
    check_error(TypeError, "to be a dict", lambda: call(net, 3, x))


@pytest.mark.parametrize(
    "name", ["constant", "normal", "uniform", "xavier_normal", "kaiming_uniform"]
)
def test_old_names_of_initializers(name):
    p = tg.zeros(3, 3)
    with pytest.warns(FutureWarning, match=f"nn.init.{name}_"):
        result = getattr(tg.nn.init, name)(p, *([2.0] if name == "constant" else []))
    assert result is p and p.abs().sum().item() > 0


@pytest.mark.parametrize("trivial", [True, False])
@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 5)])
@pytest.mark.parametrize("name", [None, "matrix_exp", "cayley", "householder"])
def test_orthogonal(name, shape, trivial):
    layer = tg.nn.Linear(shape[1], shape[0], bias=False, dtype=tg.float64)
    tg.nn.init.orthogonal_(layer.weight)
    start = as_array(layer.weight).copy()
    orthogonal = tg.nn.utils.parametrizations.orthogonal
    orthogonal(layer, "weight", name, use_trivialization=trivial)
    keeps = trivial or name == "householder" or (name is None and shape != (4, 4))
    if keeps:
        np.testing.assert_allclose(as_array(layer.weight), start, atol=1e-9)
    optimizer = tg.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (layer(tg.from_numpy(randn(7, shape[1]))) - 1).square().mean().backward()
        optimizer.step()
    weight = as_array(layer.weight)
    assert not np.allclose(weight, start)
    small = weight if shape[0] < shape[1] else weight.T
    np.testing.assert_allclose(small @ small.T, np.eye(min(shape)), atol=1e-9)


@pytest.mark.parametrize("name", ["matrix_exp", "cayley", "householder"])
def test_orthogonal_like_pytorch(name):
    results = []
    for m in (tg, torch):
        layer = m.nn.Linear(3, 5, bias=False, dtype=m.float64)
        orthogonal = m.nn.utils.parametrizations.orthogonal
        orthogonal(layer, "weight", name, use_trivialization=False)
        x = m.from_numpy(randn(5, 3)).requires_grad_()
        y = layer.parametrizations.weight[0](x)
        (y * m.from_numpy(randn(5, 3, seed=1))).sum().backward()
        results.append((y, x.grad))
    for ours, theirs in zip(*results, strict=True):
        same(ours, theirs, 1e-9, 1e-9)
    orthogonal = tg.nn.utils.parametrizations.orthogonal
    check_error(ValueError, "Expected a matrix", lambda: orthogonal(tg.nn.Linear(2, 2), "bias"))
    check_error(ValueError, "one of", lambda: orthogonal(tg.nn.Linear(2, 2), "weight", "qr"))
    check_error(ValueError, "no parameter", lambda: orthogonal(tg.nn.Linear(2, 2), "none"))
