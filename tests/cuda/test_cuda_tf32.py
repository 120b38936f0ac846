"""Convolutions of float32 on a device: by default, and with operands of 11 bits (TF32)."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import as_array, randn

pytestmark = pytest.mark.gpu
F = tg.nn.functional

CASES = {
    "plain": ((2, 9, 9, 8), (20, 9, 3, 3), {"padding": 1}),
    "strided": ((2, 4, 11, 10), (6, 4, 3, 2), {"stride": (2, 3), "padding": 2, "dilation": 2}),
    "groups": ((1, 6, 7, 7), (9, 2, 3, 3), {"groups": 3}),
    "many channels": ((1, 40, 5, 5), (70, 40, 1, 1), {}),
}


def to_11_bits(x):
    """Numbers rounded as cvt.rna.tf32.f32 does: ten bits of fraction, halves away from 0."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


def compute(x, weight, grad, options, device, dtype):
    """The convolution and its two gradients."""
    x, weight, grad = (tg.from_numpy(a).to(device, dtype) for a in (x, weight, grad))
    x.requires_grad_(), weight.requires_grad_()
    y = F.conv2d(x, weight, **options)
    return [y, *tg.autograd.grad(y, (x, weight), grad)]


def exact(x, weight, grad, options):
    """The same in float64 on the CPU; each of the three reads two of the arrays."""
    return compute(x, weight, grad, options, "cpu", tg.float64)


def operands(name):
    x_shape, weight_shape, options = CASES[name]
    x, weight = (randn(*shape, seed=i) for i, shape in enumerate((x_shape, weight_shape)))
    x, weight = x.astype(np.float32), weight.astype(np.float32)
    shape = F.conv2d(tg.from_numpy(x).cpu(), tg.from_numpy(weight).cpu(), **options).shape
    return x, weight, randn(*shape, seed=2).astype(np.float32), options


def error(found, expected):
    """The largest one, in units of the spread of what is expected."""
    expected = as_array(expected)
    return np.abs(as_array(found) - expected).max() / expected.std()


@pytest.mark.parametrize("name", CASES)
def test_operands_are_rounded_where_tf32_is_on(name):
    x, weight, grad, options = operands(name)
    with tg.backends.cudnn.flags(enabled=True, allow_tf32=True):
        found = compute(x, weight, grad, options, "cuda", tg.float32)
    rounded = exact(*(to_11_bits(a) for a in (x, weight, grad)), options)
    plain = exact(x, weight, grad, options)
    for result, of_rounded, of_plain in zip(found, rounded, plain, strict=True):
        assert error(result, of_rounded) < 3e-6  # sums in float32
        assert error(result, of_plain) > 1e-4


@pytest.mark.parametrize("name", CASES)
def test_float32_by_default(name):
    x, weight, grad, options = operands(name)
    for matmul in (False, True):
        tg.backends.cuda.matmul.allow_tf32 = matmul  # the switch of products, not of convolutions
        try:
            found = compute(x, weight, grad, options, "cuda", tg.float32)
        finally:
            tg.backends.cuda.matmul.allow_tf32 = False
        for result, expected in zip(found, exact(x, weight, grad, options), strict=True):
            assert error(result, expected) < 3e-6


def test_depthwise_convolutions_and_float64_stay_as_they_are():
    x, weight = randn(2, 5, 8, 6).astype(np.float32), randn(10, 1, 3, 3, seed=1).astype(np.float32)
    grad = randn(2, 10, 6, 4, seed=2).astype(np.float32)
    for options, dtype in (({"groups": 5}, tg.float32), ({"groups": 1}, tg.float64)):
        channels = 5 // options["groups"]
        weight = np.repeat(weight[:, :1], channels, axis=1)
        off = compute(x, weight, grad, options, "cuda", dtype)
        with tg.backends.cudnn.flags(allow_tf32=True):
            on = compute(x, weight, grad, options, "cuda", dtype)
        for a, b in zip(off, on, strict=True):
            np.testing.assert_array_equal(as_array(a), as_array(b))


def test_a_layer_in_evaluation_rounds_its_operands_too():
    x, weight, _, _ = operands("plain")
    net = tg.nn.Sequential(tg.nn.Conv2d(9, 20, 3, padding=1, bias=False), tg.nn.BatchNorm2d(20),
                           tg.nn.ReLU()).eval().cuda()  # fmt: skip
    x = tg.from_numpy(x).cuda()
    with tg.no_grad(), tg.backends.cudnn.flags(allow_tf32=True):
        net[0].weight.copy_(tg.from_numpy(to_11_bits(weight)))
        on, on_rounded = net(x), net(tg.from_numpy(to_11_bits(as_array(x))).cuda())
    with tg.no_grad():
        off = net(x)
    np.testing.assert_array_equal(as_array(on), as_array(on_rounded))
    assert error(on, off) > 1e-4
