"""Convolution and padding layers against PyTorch: first values, results, gradients, complaints."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, assert_same, check_error, randn

SIGNAL = randn(3, 4, 9, dtype=np.float32)
IMAGE = randn(3, 4, 8, 7, dtype=np.float32)
VOLUME = randn(2, 4, 5, 6, 7, dtype=np.float32)
MODES = ["reflect", "replicate", "circular"]

LAYERS = [
    (lambda nn: nn.Conv1d(4, 6, 3), SIGNAL),
    (lambda nn: nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2, bias=False), SIGNAL),
    (lambda nn: nn.Conv1d(4, 2, (3,), padding="same", dilation=(2,)), SIGNAL),
    (lambda nn: nn.Conv1d(4, 2, 3, padding="valid"), SIGNAL[0]),
    (lambda nn: nn.Conv3d(4, 6, 3, padding=1), VOLUME),
    (lambda nn: nn.Conv3d(4, 6, (1, 2, 3), (2, 1, 1), (1, 0, 2), (1, 2, 1), 2, False), VOLUME),
    (lambda nn: nn.Conv3d(4, 2, 3, padding="same"), VOLUME[0]),
    (lambda nn: nn.ConvTranspose1d(4, 6, 3, stride=2, output_padding=1), SIGNAL),
    (lambda nn: nn.ConvTranspose2d(4, 6, 3, bias=False), IMAGE),
    (lambda nn: nn.ConvTranspose2d(4, 6, (3, 2), 2, 1, (1, 0), 2, True, (1, 2)), IMAGE),
    (lambda nn: nn.ConvTranspose2d(4, 6, 3), IMAGE[0]),
    (lambda nn: nn.ConvTranspose3d(4, 2, 3, stride=2, padding=1), VOLUME),
    *((lambda nn, m=m: nn.Conv1d(4, 3, 3, padding=2, padding_mode=m), SIGNAL) for m in MODES),
    *((lambda nn, m=m: nn.Conv1d(4, 3, 4, padding="same", padding_mode=m), SIGNAL) for m in MODES),
    *((lambda nn, m=m: nn.Conv2d(4, 3, 3, 2, (1, 2), padding_mode=m), IMAGE) for m in MODES),
    *((lambda nn, m=m: nn.Conv3d(4, 3, 3, padding=1, padding_mode=m), VOLUME) for m in MODES),
    (lambda nn: nn.Conv2d(4, 3, 3, padding="valid", padding_mode="reflect"), IMAGE),
    (lambda nn: nn.ZeroPad1d(2), SIGNAL),
    (lambda nn: nn.ZeroPad2d((1, -2, 0, 3)), IMAGE),
    (lambda nn: nn.ZeroPad3d(1), VOLUME),
    (lambda nn: nn.ConstantPad1d((1, 2), 3.5), SIGNAL),
    (lambda nn: nn.ConstantPad2d(1, -1), IMAGE),
    (lambda nn: nn.ConstantPad3d(1, 0.5), VOLUME),
    (lambda nn: nn.ReflectionPad1d((2, 3)), SIGNAL),
    (lambda nn: nn.ReflectionPad2d(2), IMAGE),
    (lambda nn: nn.ReflectionPad3d((1, 2, 3, 0, 1, 2)), VOLUME),
    (lambda nn: nn.ReplicationPad1d(4), SIGNAL),
    (lambda nn: nn.ReplicationPad2d((2, 0, 1, 3)), IMAGE),
    (lambda nn: nn.ReplicationPad3d(1), VOLUME),
    (lambda nn: nn.CircularPad1d(3), SIGNAL),
    (lambda nn: nn.CircularPad2d((1, 2, 3, 4)), IMAGE),
    (lambda nn: nn.CircularPad3d(2), VOLUME),
]


def pair(make):
    made = []
    for m in (tg, torch):
        m.manual_seed(5)
        made.append(make(m.nn))
    return made


@pytest.mark.parametrize(("make", "array"), LAYERS)
@pytest.mark.filterwarnings("ignore:Using padding='same'")  # PyTorch, about even kernels
def test_layers(make, array):
    ours, theirs = pair(make)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    outputs, gradients = [], []
    for m, layer in ((tg, ours), (torch, theirs)):  # both drew the same first values
        x = m.from_numpy(array.copy()).requires_grad_()
        y = layer(x)
        weight = np.cos(np.arange(y.numel())).reshape(tuple(y.shape)).astype(np.float32)
        (y * m.from_numpy(weight)).sum().backward()
        outputs.append(y)
        gradients.append([x.grad, *(p.grad for p in layer.parameters())])
    assert_same(*outputs, 1e-4, 1e-5, "result")
    for i, (a, b) in enumerate(zip(*gradients, strict=True)):
        assert_same(a, b, 1e-3, 1e-4, f"gradient {i}")


@pytest.mark.parametrize("size", [(17, 15), (3, 6, 18, 16), [18, 15]])
def test_output_size(size):
    ours, theirs = pair(lambda nn: nn.ConvTranspose2d(4, 6, 3, stride=2))
    y = ours(tg.from_numpy(IMAGE), output_size=size)
    expected = theirs(torch.from_numpy(IMAGE), output_size=size)
    assert_same(y, expected, 1e-4, 1e-5, "result")


@pytest.mark.parametrize(
    "act",
    [
        lambda m: m.nn.ConvTranspose2d(4, 4, 3, padding_mode="reflect"),
        lambda m: m.nn.ConvTranspose2d(4, 3, 3, groups=2),
        lambda m: m.nn.ConvTranspose2d(4, 4, 3, stride=2)(m.zeros(1, 4, 5, 5), (30, 30)),
        lambda m: m.nn.ConvTranspose2d(4, 4, 3, stride=2)(m.zeros(1, 4, 5, 5), (30,)),
        lambda m: m.nn.Conv1d(4, 4, 3, padding="x"),
        lambda m: m.nn.Conv3d(4, 4, 3, padding="same", stride=2),
        lambda m: m.nn.Conv1d(4, 4, 3, padding_mode="x"),
        lambda m: m.nn.Conv1d(4, 4, 3, padding=2, padding_mode="reflect")(m.zeros(1, 4, 2)),
        lambda m: m.nn.Conv1d(4, 4, 3)(m.zeros(1, 3, 8)),
        lambda m: m.nn.CircularPad2d(1)(m.zeros(3, 3)),
        lambda m: m.nn.ReflectionPad2d(1)(m.zeros(3, 3)),
        lambda m: m.nn.ZeroPad2d(1)(m.zeros(3)),
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
    nn = tg.nn
    check_error(ValueError, "'kernel_size': expected an int", lambda: nn.Conv1d(1, 1, (3, 3)))
    check_error(ValueError, "an int or three", lambda: nn.Conv3d(1, 1, (3, 3)))
    check_error(ValueError, "'padding'", lambda: nn.ConvTranspose2d(1, 1, 3, padding="same"))
    check_error(ValueError, "'padding': expected an int or 4", lambda: nn.ZeroPad2d((1, 2)))


def test_state_moves_between_libraries():
    ours, theirs = pair(lambda nn: nn.ConvTranspose3d(2, 4, 3, groups=2))
    state = {k: torch.from_numpy(as_array(v).copy()) for k, v in ours.state_dict().items()}
    theirs.load_state_dict(state)


def test_one_element_lists_stand_for_all_dimensions():
    x = randn(2, 3, 9, 8, dtype=np.float32)
    outputs = []
    for m in (tg, torch):
        m.manual_seed(0)
        layer = m.nn.Conv2d(3, 4, 3, stride=[2], padding=(1,), dilation=[2])
        outputs.append(layer(m.from_numpy(x)))
    assert_same(*outputs, None, None, "Conv2d")
