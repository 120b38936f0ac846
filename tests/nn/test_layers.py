"""Layers beside PyTorch's: first values, repr, results, gradients, complaints."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, assert_same, check_error, randn

IMAGE = randn(3, 4, 8, 7, dtype=np.float32)
VOLUME = randn(2, 4, 3, 5, 4, dtype=np.float32)
TABLE = randn(5, 6, dtype=np.float32)
SEQUENCE = randn(3, 4, 9, dtype=np.float32)

# (constructor, input)
LAYERS = [
    (lambda nn: nn.Linear(6, 3), TABLE),
    (lambda nn: nn.Linear(6, 3, bias=False), TABLE),
    (lambda nn: nn.Linear(7, 2), IMAGE),
    (lambda nn: nn.Identity(3, a=4), TABLE),
    (lambda nn: nn.Flatten(), IMAGE),
    (lambda nn: nn.Flatten(0, 2), IMAGE),
    (lambda nn: nn.Unflatten(1, (2, -1)), TABLE),
    (lambda nn: nn.Conv2d(4, 6, 3), IMAGE),
    (lambda nn: nn.Conv2d(4, 6, (3, 2), stride=2, padding=(1, 0), bias=False), IMAGE),
    (lambda nn: nn.Conv2d(4, 6, 3, padding=1, dilation=2, groups=2), IMAGE),
    (lambda nn: nn.Conv2d(4, 2, 3, padding="same"), IMAGE),
    (lambda nn: nn.Conv2d(4, 2, 3, padding="valid"), IMAGE),
    (lambda nn: nn.MaxPool2d(2), IMAGE),
    (lambda nn: nn.MaxPool2d((3, 2), stride=1, padding=1, ceil_mode=True), IMAGE),
    (lambda nn: nn.AvgPool2d(2), IMAGE),
    (lambda nn: nn.AvgPool2d(3, 2, 1, count_include_pad=False), IMAGE),
    (lambda nn: nn.AdaptiveAvgPool2d(1), IMAGE),
    (lambda nn: nn.AdaptiveAvgPool2d((3, None)), IMAGE),
    (lambda nn: nn.AdaptiveMaxPool2d((2, 3)), IMAGE),
    (lambda nn: nn.BatchNorm1d(6), TABLE),
    (lambda nn: nn.BatchNorm1d(4, eps=0.1, momentum=0.5), SEQUENCE),
    (lambda nn: nn.BatchNorm2d(4), IMAGE),
    (lambda nn: nn.BatchNorm2d(4, momentum=None, affine=False), IMAGE),
    (lambda nn: nn.BatchNorm2d(4, track_running_stats=False), IMAGE),
    (lambda nn: nn.BatchNorm1d(6, bias=False), TABLE),
    (lambda nn: nn.BatchNorm3d(4), VOLUME),
    (lambda nn: nn.LayerNorm(6), TABLE),
    (lambda nn: nn.LayerNorm(IMAGE.shape[2:], eps=0.1, bias=False), IMAGE),
    (lambda nn: nn.LayerNorm([6], elementwise_affine=False), TABLE),
    (lambda nn: nn.RMSNorm(6), TABLE),
    (lambda nn: nn.RMSNorm((6,), eps=0.1, elementwise_affine=False), TABLE),
    (lambda nn: nn.GroupNorm(2, 4), IMAGE),
    (lambda nn: nn.GroupNorm(4, 4, affine=False), SEQUENCE),
    (lambda nn: nn.GroupNorm(1, 4, eps=0.1, bias=False), VOLUME),
    (lambda nn: nn.InstanceNorm1d(4), SEQUENCE),
    (lambda nn: nn.InstanceNorm2d(4, affine=True, track_running_stats=True), IMAGE),
    (lambda nn: nn.InstanceNorm2d(3, momentum=0.5, track_running_stats=True), IMAGE[0, :3]),
    (lambda nn: nn.InstanceNorm3d(4, affine=True, bias=False), VOLUME),
    (lambda nn: nn.LocalResponseNorm(2), IMAGE),
    (lambda nn: nn.LocalResponseNorm(3, alpha=0.5, beta=0.3, k=2.0), SEQUENCE),
    (lambda nn: nn.MaxPool1d(2), SEQUENCE),
    (lambda nn: nn.MaxPool3d(2, padding=1), VOLUME),
    (lambda nn: nn.AvgPool1d(2, padding=1), SEQUENCE),
    (lambda nn: nn.AvgPool3d((1, 2, 2), divisor_override=3), VOLUME),
    (lambda nn: nn.AdaptiveAvgPool1d(2), SEQUENCE),
    (lambda nn: nn.AdaptiveAvgPool3d((2, None, 1)), VOLUME),
    (lambda nn: nn.AdaptiveMaxPool1d(2), SEQUENCE),
    (lambda nn: nn.AdaptiveMaxPool3d(2), VOLUME),
    (lambda nn: nn.LPPool1d(2, 3, ceil_mode=True), SEQUENCE),
    (lambda nn: nn.LPPool2d(2, (2, 3), stride=1), IMAGE),
    (lambda nn: nn.LPPool3d(4, 2), VOLUME),
    (lambda nn: nn.ReLU(), TABLE),
    (lambda nn: nn.ReLU6(), 4 * TABLE),
    (lambda nn: nn.Sigmoid(), TABLE),
    (lambda nn: nn.Tanh(), TABLE),
    (lambda nn: nn.GELU(), TABLE),
    (lambda nn: nn.GELU(approximate="tanh"), TABLE),
    (lambda nn: nn.LeakyReLU(0.2), TABLE),
    (lambda nn: nn.ELU(0.7), TABLE),
    (lambda nn: nn.CELU(0.7), TABLE),
    (lambda nn: nn.SELU(), TABLE),
    (lambda nn: nn.SiLU(), TABLE),
    (lambda nn: nn.Mish(), TABLE),
    (lambda nn: nn.Softplus(2, 1.5), TABLE),
    (lambda nn: nn.Softsign(), TABLE),
    (lambda nn: nn.Tanhshrink(), TABLE),
    (lambda nn: nn.LogSigmoid(), TABLE),
    (lambda nn: nn.Hardsigmoid(), 3 * TABLE),
    (lambda nn: nn.Hardswish(), 3 * TABLE),
    (lambda nn: nn.Hardtanh(-0.5, 0.7), TABLE),
    (lambda nn: nn.Threshold(0.1, 20.0), TABLE),
    (lambda nn: nn.PReLU(), TABLE),
    (lambda nn: nn.PReLU(4, init=0.1), IMAGE),
    (lambda nn: nn.GLU(), TABLE),
    (lambda nn: nn.GLU(1), IMAGE),
    (lambda nn: nn.Softmax(1), TABLE),
    (lambda nn: nn.Softmin(0), TABLE),
    (lambda nn: nn.LogSoftmax(dim=-1), TABLE),
    (lambda nn: nn.Dropout(0.0), TABLE),
    (lambda nn: nn.ReLU(inplace=True), None),
    (lambda nn: nn.LeakyReLU(0.2, inplace=True), None),
    (lambda nn: nn.Dropout(0.2), None),
    (lambda nn: nn.Dropout2d(0.2), None),
    (
        lambda nn: nn.Sequential(
            nn.Conv2d(4, 3, 3),
            nn.BatchNorm2d(3),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(90, 2),
        ),
        IMAGE,
    ),
]


def pairs(make):
    """The layer of both libraries, made after the same seed."""
    made = []
    for m in (tg, torch):
        m.manual_seed(7)
        made.append(make(m.nn))
    return made


@pytest.mark.parametrize(("make", "array"), LAYERS)
def test_first_values_and_repr(make, array):
    ours, theirs = pairs(make)
    assert repr(ours) == repr(theirs)
    state, expected = ours.state_dict(), theirs.state_dict()
    assert list(state) == list(expected)
    for name, value in expected.items():
        assert_same(state[name], value, 1e-6, 1e-7, name)
    # The same count of random numbers was drawn: the streams go on alike.
    assert_same(tg.rand(3), torch.rand(3), 0, 0, "next numbers")


@pytest.mark.parametrize(("make", "array"), [case for case in LAYERS if case[1] is not None])
@pytest.mark.parametrize("training", [True, False])
def test_results_and_gradients(make, array, training):
    ours, theirs = pairs(make)
    ours.load_state_dict(
        {k: tg.from_numpy(as_array(v).copy()) for k, v in theirs.state_dict().items()}
    )
    gradients, outputs = [], []
    for m, layer in ((tg, ours), (torch, theirs)):
        layer.train(training)
        x = m.from_numpy(array.copy()).requires_grad_()
        layer(x)  # batch statistics move twice
        y = layer(x)
        weight = np.cos(np.arange(y.numel())).reshape(tuple(y.shape)).astype(np.float32)
        (y * m.from_numpy(weight)).sum().backward()
        outputs.append(y)
        gradients.append([x.grad, *(p.grad for p in layer.parameters())])
    assert_same(outputs[0], outputs[1], 1e-4, 1e-5, "result")
    for i, (a, b) in enumerate(zip(*gradients, strict=True)):
        assert_same(a, b, 1e-3, 1e-4, f"gradient {i}")
    for name, value in theirs.state_dict().items():
        assert_same(ours.state_dict()[name], value, 1e-5, 1e-5, name)


def test_bilinear():
    ours, theirs = pairs(lambda nn: nn.Bilinear(6, 6, 3))
    assert repr(ours) == repr(theirs)
    other = randn(5, 6, dtype=np.float32, seed=3)
    a = ours(tg.from_numpy(TABLE), tg.from_numpy(other))
    b = theirs(torch.from_numpy(TABLE), torch.from_numpy(other))
    assert_same(a, b, 1e-5, 1e-5, "bilinear")


def test_dtype_of_parameters():
    assert tg.nn.Linear(2, 3, dtype=tg.float64).weight.dtype is tg.float64
    assert tg.nn.BatchNorm1d(2, dtype=tg.float64).running_mean.dtype is tg.float64


def test_max_pool_with_indices():
    ours = tg.nn.MaxPool2d(2, return_indices=True)(tg.from_numpy(IMAGE))
    theirs = torch.nn.MaxPool2d(2, return_indices=True)(torch.from_numpy(IMAGE))
    for a, b in zip(ours, theirs, strict=True):
        assert_same(a, b, 0, 0, "pool")


def test_dropout_scales_and_stops_in_evaluation():
    layer = tg.nn.Dropout(0.25)
    x = tg.ones(10_000)
    tg.manual_seed(0)
    y = as_array(layer(x))
    np.testing.assert_array_equal(np.unique(y), np.float32([0, 1 / 0.75]))
    assert 0.2 < (y == 0).mean() < 0.3
    assert layer.eval()(x) is x


@pytest.mark.parametrize("name", ["Dropout1d", "Dropout2d", "Dropout3d"])
def test_channel_dropout(name):
    x = tg.ones(16, 8, *[5] * int(name[-2]))
    y = as_array(getattr(tg.nn, name)(0.5)(x)).reshape(128, -1)
    assert (y == y[:, :1]).all() and set(np.unique(y)) == {0.0, 2.0}


LOSSES = [
    (lambda nn: nn.MSELoss(), "real"),
    (lambda nn: nn.MSELoss(reduction="sum"), "real"),
    (lambda nn: nn.L1Loss(reduction="none"), "real"),
    (lambda nn: nn.SmoothL1Loss(beta=0.5), "real"),
    (lambda nn: nn.HuberLoss(delta=0.5), "real"),
    (lambda nn: nn.BCEWithLogitsLoss(), "probability"),
    (lambda nn: nn.KLDivLoss(reduction="batchmean"), "probability"),
    (lambda nn: nn.KLDivLoss(reduction="sum", log_target=True), "real"),
    (lambda nn: nn.CrossEntropyLoss(), "class"),
    (lambda nn: nn.CrossEntropyLoss(ignore_index=2, label_smoothing=0.1), "class"),
    (lambda nn: nn.CrossEntropyLoss(reduction="none"), "class"),
    (lambda nn: nn.NLLLoss(), "class"),
    (lambda nn: nn.NLLLoss(ignore_index=1, reduction="sum"), "class"),
]


@pytest.mark.parametrize(("make", "kind"), LOSSES)
def test_losses(make, kind):
    target = {
        "real": randn(5, 6, dtype=np.float32, seed=4),
        "probability": 1 / (1 + np.exp(-randn(5, 6, dtype=np.float32, seed=4))),
        "class": np.array([0, 5, 2, 1, 2]),
    }[kind]
    results = []
    for m in (tg, torch):
        loss = make(m.nn)
        x = m.from_numpy(TABLE.copy()).requires_grad_()
        y = loss(x, m.from_numpy(target))
        y.sum().backward()
        results.append((repr(loss), y, x.grad))
    assert results[0][0] == results[1][0]
    assert_same(results[0][1], results[1][1], 1e-5, 1e-6, "loss")
    assert_same(results[0][2], results[1][2], 1e-5, 1e-6, "gradient")


def test_loss_weights_are_buffers():
    ours = tg.nn.CrossEntropyLoss(weight=tg.arange(6.0))
    theirs = torch.nn.CrossEntropyLoss(weight=torch.arange(6.0))
    assert list(ours.state_dict()) == list(theirs.state_dict()) == ["weight"]
    target = np.array([0, 5, 2, 1, 2])
    a = ours(tg.from_numpy(TABLE), tg.from_numpy(target))
    b = theirs(torch.from_numpy(TABLE), torch.from_numpy(target))
    assert_same(a, b, 1e-5, 1e-6, "weighted")
    probabilities = 1 / (1 + np.exp(-TABLE))
    results = []
    for m in (tg, torch):
        x, weight = m.from_numpy(probabilities), m.arange(6.0)
        results.append(m.nn.BCELoss(weight=weight)(x, m.ones(5, 6)))
    assert_same(*results, 1e-5, 1e-6, "binary cross entropy")


@pytest.mark.parametrize(
    "act",
    [
        lambda m: m.nn.Conv2d(3, 4, 3, groups=2),
        lambda m: m.nn.Conv2d(4, 3, 3, groups=2),
        lambda m: m.nn.Conv2d(4, 4, 3, groups=0),
        lambda m: m.nn.Conv2d(4, 4, 3, padding="x"),
        lambda m: m.nn.Conv2d(4, 4, 3, padding="same", stride=2),
        lambda m: m.nn.Conv2d(4, 4, 3, padding_mode="x"),
        lambda m: m.nn.Dropout(1.5),
        lambda m: m.nn.Dropout(-0.1),
        lambda m: m.nn.BatchNorm1d(3)(m.zeros(3)),
        lambda m: m.nn.BatchNorm2d(3)(m.zeros(3, 3)),
        lambda m: m.nn.MSELoss(reduction="x")(m.zeros(2), m.zeros(2)),
        lambda m: m.nn.Bilinear(0, 2, 3),
        lambda m: m.nn.Unflatten(1, 3),
        lambda m: m.nn.Unflatten(1, (3, "x")),
        lambda m: m.nn.GLU()(m.zeros(2, 3)),
        lambda m: m.nn.PReLU(3)(m.zeros(2, 4)),
        lambda m: m.nn.Linear(3, 2)(m.zeros(2, 4)),
    ],
)
def test_refused(act):
    errors = []
    for m in (tg, torch):
        with pytest.raises(Exception) as caught:
            act(m)
        errors.append(caught.value)
    assert type(errors[0]) is type(errors[1]), errors


def test_own_complaints():
    conv = tg.nn.Conv2d
    check_error(ValueError, "'kernel_size': expected an int or two", lambda: conv(1, 1, (3, 3, 3)))
    check_error(ValueError, "'stride': expected positive", lambda: conv(1, 1, 3, stride=0))
    check_error(ValueError, "'padding': expected no negative", lambda: conv(1, 1, 3, padding=-1))


def test_softmax_without_dim_warns():
    with pytest.warns(UserWarning, match="Implicit dimension choice for softmax"):
        y = tg.nn.Softmax()(tg.ones(2, 4))
    assert y.tolist() == [[0.25] * 4] * 2


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_unpooling_puts_the_maxima_back(ndim):
    shape = (2, 3, 9, 8, 8)[: 2 + ndim]
    results = []
    for m in (tg, torch):
        x = m.from_numpy(randn(*shape)).requires_grad_()
        pool = getattr(m.nn, f"MaxPool{ndim}d")(2, stride=2, return_indices=True)
        back = getattr(m.nn, f"MaxUnpool{ndim}d")(2)
        y, indices = pool(x)
        small = back(y, indices)
        same = back(y, indices, output_size=x.shape)
        last = back(y, indices, output_size=list(x.shape[2:]))
        (same * same).sum().backward()
        results.append([small, same, last, x.grad, back(y[0], indices[0])])
    for i, (a, b) in enumerate(zip(*results, strict=True)):
        assert_same(a, b, 0, 0, f"result {i}")


def test_unpooling_refuses_what_does_not_fit():
    y, places = tg.zeros(1, 1, 2, 2), tg.zeros(1, 1, 2, 2, dtype=tg.int64)
    back = tg.nn.MaxUnpool2d(2)
    for exception, pattern, call in (
        (ValueError, "invalid output_size", lambda: back(y, places, output_size=(8, 4))),
        (ValueError, "output_size should be", lambda: back(y, places, output_size=(8,))),
        (RuntimeError, "shape of indices", lambda: back(y, places[:, :, :1])),
        (RuntimeError, "3D or 4D", lambda: back(y[0, 0], places[0, 0])),
        (RuntimeError, "out of bounds|out of range", lambda: back(y, places + 16)),
    ):
        with pytest.raises(exception, match=pattern):
            call()


def test_a_power_mean_needs_a_power():
    with pytest.raises(ValueError, match="norm_type"):
        tg.nn.LPPool1d(0, 2)(tg.ones(1, 1, 4))
