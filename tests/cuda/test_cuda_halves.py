"""Halves on a device: what has kernels of its own for them, beside float32 on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import as_array, check_error, randn

pytestmark = pytest.mark.gpu
F = tg.nn.functional
STEP = {tg.float16: 2.0**-10, tg.bfloat16: 2.0**-7}


def both(*shape, dtype, seed=0, scale=1.0):
    """The same halves on the device, and on the CPU in float32; leaves that want gradients."""
    host = tg.from_numpy((scale * randn(*shape, seed=seed)).astype(np.float32)).to(dtype)
    return host.to("cuda").requires_grad_(), host.float().requires_grad_()


def assert_rounded(half, wide, dtype, atol):
    """Of that dtype, and the other's values but for a rounding."""
    assert half.dtype is dtype and half.is_cuda
    np.testing.assert_allclose(as_array(half.float()), as_array(wide), rtol=STEP[dtype], atol=atol)


CONVOLUTIONS = {
    "plain": ((2, 3, 9, 8), (5, 3, 3, 3), {"padding": 1}),
    "strided": ((2, 4, 11, 10), (6, 4, 3, 2), {"stride": (2, 3), "padding": 2, "dilation": 2}),
    "groups": ((1, 6, 7, 7), (9, 2, 3, 3), {"groups": 3}),
    "depthwise": ((2, 5, 8, 6), (10, 1, 3, 3), {"groups": 5, "padding": 1}),
    "many channels": ((1, 40, 5, 5), (70, 40, 1, 1), {}),
    "same": ((1, 2, 6, 7), (3, 2, 4, 3), {"padding": "same"}),
}


@pytest.mark.parametrize("dtype", STEP)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name, dtype):
    x_shape, weight_shape, options = CONVOLUTIONS[name]
    tensors = [both(*x_shape, dtype=dtype), both(*weight_shape, dtype=dtype, seed=1, scale=0.3),
               both(weight_shape[0], dtype=dtype, seed=2)]  # fmt: skip
    there, here = zip(*tensors, strict=True)
    y, expected = F.conv2d(*there, **options), F.conv2d(*here, **options)
    assert_rounded(y, expected, dtype, 1e-5)
    grad, wide_grad = both(*y.shape, dtype=dtype, seed=3)
    y.backward(grad.detach())
    expected.backward(wide_grad.detach())
    for half, wide in tensors:
        assert_rounded(half.grad, wide.grad, dtype, 1e-4)


@pytest.mark.parametrize("dtype", STEP)
def test_layers_in_evaluation(dtype):
    net = tg.nn.Sequential(tg.nn.Conv2d(3, 6, 3), tg.nn.BatchNorm2d(6), tg.nn.ReLU()).eval()
    net[1].running_var.fill_(2.0)
    net[1].running_mean.fill_(0.1)
    x, wide = both(2, 3, 7, 7, dtype=dtype)
    with tg.no_grad():
        for p in net.parameters():
            p.copy_(p.to(dtype).float())
        expected = net(wide)
        y = net.to(dtype).to("cuda")(x)
    np.testing.assert_allclose(
        as_array(y.float()), as_array(expected), rtol=4 * STEP[dtype], atol=4 * STEP[dtype]
    )


def test_autocast_convolves_halves():
    x, weight = tg.ones(1, 2, 4, 4, device="cuda"), tg.ones(3, 2, 3, 3, device="cuda")
    weight.requires_grad_()
    with tg.autocast("cuda", dtype=tg.bfloat16):
        y = F.conv2d(x, weight)
    assert y.dtype is tg.bfloat16
    y.float().sum().backward()
    assert weight.grad.dtype is tg.float32 and weight.grad[0, 0, 0, 0].item() == 4


def test_dtypes_do_not_mix():
    x = tg.ones(1, 2, 4, 4, device="cuda", dtype=tg.float16)
    weight = tg.ones(3, 2, 3, 3, device="cuda")
    check_error(RuntimeError, "expected scalar type", lambda: F.conv2d(x, weight))
    check_error(RuntimeError, "expected scalar type", lambda: F.conv2d(x, weight.bfloat16()))


ATTENTION = {
    "plain": ((2, 3, 20, 16), (2, 3, 33, 16), (2, 3, 33, 24), {}),
    "causal": ((1, 2, 70, 64), (1, 2, 70, 64), (1, 2, 70, 64), {"is_causal": True}),
    "odd features": ((1, 2, 9, 13), (1, 2, 7, 13), (1, 2, 7, 5), {"scale": 0.2}),
    "shared heads": ((1, 4, 9, 16), (1, 2, 7, 16), (1, 2, 7, 16), {"enable_gqa": True}),
    "many features": ((1, 1, 9, 136), (1, 1, 7, 136), (1, 1, 7, 16), {}),
}


@pytest.mark.parametrize("dtype", STEP)
@pytest.mark.parametrize("name", ATTENTION)
def test_attention(name, dtype):
    *shapes, options = ATTENTION[name]
    tensors = [both(*shape, dtype=dtype, seed=i) for i, shape in enumerate(shapes)]
    there, here = zip(*tensors, strict=True)
    y = F.scaled_dot_product_attention(*there, **options)
    expected = F.scaled_dot_product_attention(*here, **options)
    grad, wide_grad = both(*y.shape, dtype=dtype, seed=9)
    y.backward(grad.detach())
    expected.backward(wide_grad.detach())
    for half, wide in ((y, expected), *((x.grad, w.grad) for x, w in tensors)):
        assert half.dtype is dtype and half.is_cuda
        scale = max(1.0, float(np.abs(as_array(wide)).max()))
        np.testing.assert_allclose(
            as_array(half.float()), as_array(wide), atol=4 * STEP[dtype] * scale
        )


@pytest.mark.parametrize("boolean", [True, False])
def test_attention_with_masks_and_dropout(boolean):
    dtype = tg.float16
    q, wide = both(1, 2, 12, 16, dtype=dtype)
    mask = tg.from_numpy(randn(12, 12, seed=4).astype(np.float32)) if not boolean else None
    mask = tg.ones(12, 12).tril() > 0 if boolean else mask.to(dtype)
    y = F.scaled_dot_product_attention(q, q, q, mask.to("cuda"))
    expected = F.scaled_dot_product_attention(wide, wide, wide, mask if boolean else mask.float())
    np.testing.assert_allclose(as_array(y.float()), as_array(expected), atol=8e-3)
    tg.cuda.manual_seed(3)
    first = F.scaled_dot_product_attention(q, q, q, dropout_p=0.5)
    tg.cuda.manual_seed(3)
    again = F.scaled_dot_product_attention(q.float(), q.float(), q.float(), dropout_p=0.5)
    np.testing.assert_allclose(as_array(first.float()), as_array(again), atol=2e-2)  # same weights
