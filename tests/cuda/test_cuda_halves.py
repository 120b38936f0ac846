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


# --- computed in float32 element by element or row by row, and rounded once -----------------------

ACTIVATIONS = {
    "relu": F.relu,
    "sigmoid": tg.sigmoid,
    "tanh": tg.tanh,
    "gelu": F.gelu,
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.1),
    "elu": lambda x: F.elu(x, 0.7),
    "softplus": F.softplus,
    "logsigmoid": F.logsigmoid,
    "clamp": lambda x: x.clamp(-0.3, 0.4),
    "hardtanh": F.hardtanh,
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "softmax": lambda x: F.softmax(x, 1),
    "softmax of columns": lambda x: F.softmax(x, 0),
    "log_softmax": lambda x: F.log_softmax(x, -1),
}
PAIRS = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "with alpha": lambda x, y: tg.add(x, y, alpha=0.3),
    "maximum": tg.maximum,
    "atan2": tg.atan2,
    "floor_divide": lambda x, y: x // y,
    "remainder": lambda x, y: x % y,
    "pow": lambda x, y: x.abs() ** y,
    "broadcast": lambda x, y: x * y[:1],
    "transposed": lambda x, y: x[:4, :4].t() + y[:4, :4],
    "in place": lambda x, y: x.clone().mul_(y),
}


def gradients(function, *tensors, dtype):
    """The result and the gradients of new leaves; that of the result is rounded to ``dtype``."""
    leaves = [x.detach().clone().requires_grad_() for x in tensors]
    y = function(*leaves)
    y.backward(tg.from_numpy(randn(*y.shape, seed=8)).to(dtype).to("cuda", y.dtype))
    return [y.detach(), *[x.grad for x in leaves]]


# Beside the same kernel of float32 on the card: no bit may differ.
@pytest.mark.parametrize("dtype", STEP)
@pytest.mark.parametrize("name", [*ACTIVATIONS, *PAIRS])
def test_results_are_those_of_float32_rounded_once(name, dtype):
    function = ACTIVATIONS.get(name) or PAIRS[name]
    x, y = both(7, 45, dtype=dtype, scale=3.0)[0], both(7, 45, dtype=dtype, seed=1, scale=2.0)[0]
    halves = [x.detach()] if name in ACTIVATIONS else [x.detach(), y.detach()]
    result = function(*halves)
    wide = function(*[h.float() for h in halves])
    assert result.dtype is dtype
    np.testing.assert_array_equal(as_array(result.float()), as_array(wide.to(dtype).float()))


@pytest.mark.parametrize("dtype", STEP)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gradients_of_halves(name, dtype):
    x, wide = both(6, 300, dtype=dtype, scale=2.0)
    halves = gradients(ACTIVATIONS[name], x, dtype=dtype)
    floats = gradients(ACTIVATIONS[name], wide.to("cuda"), dtype=dtype)
    for half, exact in zip(halves, floats, strict=True):
        assert half.dtype is dtype
        scale = max(1.0, exact.abs().max().item())
        np.testing.assert_allclose(
            as_array(half.float()), as_array(exact), atol=3 * STEP[dtype] * scale
        )


def test_infinite_and_missing_halves_stay():
    special = tg.tensor([float("inf"), -float("inf"), float("nan"), 65504.0, -0.0], device="cuda")
    for dtype in STEP:
        x = special.to(dtype)
        for function in (F.relu, F.gelu, lambda x: x + x, lambda x: x * x):
            expected = function(x.float()).to(dtype)
            np.testing.assert_array_equal(as_array(function(x).float()), as_array(expected.float()))


@pytest.mark.parametrize("dtype", STEP)
def test_dropout_drops_what_it_drops_of_floats(dtype):
    x, _ = both(1000, dtype=dtype)
    tg.cuda.manual_seed(5)
    half = F.dropout(x, 0.3)
    tg.cuda.manual_seed(5)
    wide = F.dropout(x.float(), 0.3).to(dtype)
    np.testing.assert_array_equal(as_array(half.float()), as_array(wide.float()))
    half.backward(tg.ones_like(half))
    assert x.grad.dtype is dtype and set(x.grad.unique().tolist()) == {
        0,
        (10 / 7 * tg.ones(1)).to(dtype).item(),
    }


NORMALIZED = {
    "training": {},
    "relu": {"relu": True},
    "residual": {"relu": True, "residual": True},
    "evaluation": {"training": False},
    "channels last": {"channels_last": True},
    "half weights": {"half": True},
    "plain": {"plain": True},
}


@pytest.mark.parametrize("dtype", STEP)
@pytest.mark.parametrize("name", NORMALIZED)
def test_batch_norm_of_halves(name, dtype):
    options = NORMALIZED[name]
    training = options.get("training", True)
    x, wide = both(4, 5, 6, 7, dtype=dtype, scale=2.0)
    residual, wide_residual = both(4, 5, 6, 7, dtype=dtype, seed=2)
    weight, wide_weight = both(5, dtype=dtype, seed=3)
    bias, wide_bias = both(5, dtype=dtype, seed=4)
    if not options.get("half"):
        weight, bias = (p.detach().float().requires_grad_() for p in (weight, bias))
    results = []
    for inputs in ((x, residual, weight, bias), (wide, wide_residual, wide_weight, wide_bias)):
        image, added, *parameters = inputs
        mean, var = tg.full((5,), 0.1, device=image.device), tg.full((5,), 1.3, device=image.device)
        if options.get("plain"):
            parameters = [None, None]
        if options.get("channels_last"):
            image = image.to(memory_format=tg.channels_last)
        args = (image, mean, var, *parameters, training, 0.2, 1e-5)
        if options.get("relu"):
            rest = added if options.get("residual") else None
            y = tg.ops.batchnorm.batch_norm_relu(*args, residual=rest)
        else:
            y = F.batch_norm(*args)
        y.backward(both(*y.shape, dtype=dtype, seed=5)[0 if y.is_cuda else 1].detach())
        grads = [p.grad for p in inputs if p.grad is not None]
        results.append([y, mean, var, *grads])
    for p in (x, weight, bias):
        assert p.grad is None or p.grad.dtype is p.dtype
    for half, exact in zip(*results, strict=True):
        assert half.is_cuda
        scale = max(1.0, exact.abs().max().item())
        np.testing.assert_allclose(
            as_array(half.detach().float()), as_array(exact), atol=3 * STEP[dtype] * scale
        )
    # Statistics are never rounded to halves.
    np.testing.assert_allclose(as_array(results[0][1]), as_array(results[1][1]), rtol=1e-4)
    np.testing.assert_allclose(as_array(results[0][2]), as_array(results[1][2]), rtol=1e-4)


POOLS = {
    "max": lambda x: F.max_pool2d(x, 3, 2, 1),
    "overlapping": lambda x: F.max_pool2d(x, 3, 1),
    "dilated": lambda x: F.max_pool2d(x, 2, dilation=3),
    "with indices": lambda x: F.max_pool2d(x, 2, return_indices=True)[0],
    "adaptive max": lambda x: F.adaptive_max_pool2d(x, (3, 5)),
    "average": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "average of planes": lambda x: F.avg_pool2d(x, (9, 11)),
    "adaptive average": lambda x: F.adaptive_avg_pool2d(x, (4, 3)),
    "channels last": lambda x: F.max_pool2d(x.to(memory_format=tg.channels_last), 2),
}


@pytest.mark.parametrize("dtype", STEP)
@pytest.mark.parametrize("name", POOLS)
def test_pools_of_halves(name, dtype):
    x = both(2, 3, 9, 11, dtype=dtype, scale=2.0)[0].detach()
    (y, grad), (wide, wide_grad) = (gradients(POOLS[name], h, dtype=dtype) for h in (x, x.float()))
    for half, exact in ((y, wide), (grad, wide_grad)):
        assert half.dtype is dtype
        np.testing.assert_array_equal(as_array(half.float()), as_array(exact.to(dtype).float()))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_rows_of_a_table_of_halves(device):
    table = both(9, 5, dtype=tg.bfloat16)[0].detach().to(device).requires_grad_()
    rows = F.embedding(tg.tensor([3, 3, 0], device=device), table)
    assert rows.dtype is tg.bfloat16 and rows[1].tolist() == table[3].tolist()
    rows.backward(tg.ones_like(rows))
    assert table.grad.dtype is tg.bfloat16 and table.grad[:, 0].tolist() == [1, 0, 0, 2] + [0] * 5


# What is computed in float32 elsewhere takes copies of twice the size; these must not.
IN_PLACE_OF_COPIES = {
    "times a number": lambda x: x * 0.5,
    "layer_norm": lambda x: F.layer_norm(x, (512,)),
    "group_norm": lambda x: F.group_norm(x, 2),
    "sum": lambda x: x.sum(0),
    "var": lambda x: x.var(-1),
    "amax": lambda x: x.amax(),
    "norm": lambda x: tg.linalg.vector_norm(x),
    "cross_entropy": lambda x: F.cross_entropy(
        x.view(-1, 512), tg.zeros(128, dtype=tg.int64, device="cuda")
    ),
    "gelu": F.gelu,
    "add": lambda x: x + x,
    "softmax": lambda x: F.softmax(x, -1),
    "dropout": lambda x: F.dropout(x, 0.5),
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
    "max_pool": lambda x: F.max_pool2d(x, (1, 2)),
    "embedding": lambda x: F.embedding(tg.arange(8, device="cuda"), x.view(-1, 64)),
}


@pytest.mark.parametrize("name", IN_PLACE_OF_COPIES)
def test_no_copies_in_float32_are_made(name):
    x = tg.ones(16, 8, 512, device="cuda", dtype=tg.bfloat16)
    before = tg.cuda.memory_allocated()
    tg.cuda.reset_peak_memory_stats()
    y = IN_PLACE_OF_COPIES[name](x)
    assert y.dtype is tg.bfloat16
    assert tg.cuda.max_memory_allocated() - before < 1.5 * x.numel() * 2


@pytest.mark.parametrize("name", ["times a number", "layer_norm", "group_norm", "cross_entropy"])
def test_nor_are_they_for_gradients(name):
    x = tg.ones(16, 8, 512, device="cuda", dtype=tg.bfloat16).requires_grad_()
    grad = IN_PLACE_OF_COPIES[name](x).detach()
    before = tg.cuda.memory_allocated()
    tg.cuda.reset_peak_memory_stats()
    IN_PLACE_OF_COPIES[name](x).backward(grad)  # the result and the gradient
    assert tg.cuda.max_memory_allocated() - before < 2.5 * x.numel() * 2


def test_autocast_keeps_full_precision_where_pytorch_does():
    x = both(4, 8, dtype=tg.bfloat16)[0].detach()
    with tg.autocast("cuda", dtype=tg.bfloat16):
        assert F.softmax(x, -1).dtype is tg.float32 and F.softplus(x).dtype is tg.float32
        assert F.gelu(x).dtype is tg.bfloat16 and (x + x).dtype is tg.bfloat16
        assert F.batch_norm(x, None, None, training=True).dtype is tg.bfloat16


@pytest.mark.parametrize("weights", [tg.float32, tg.bfloat16])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("norm", [lambda x, w: F.layer_norm(x, (64,), w),
                                  lambda x, w: F.group_norm(x, 4, w)])  # fmt: skip
def test_statistics_and_gradients_of_weights_are_not_rounded(norm, device, weights):
    x = (tg.from_numpy(randn(3, 64, seed=1)) + 30).to(tg.bfloat16).to(device)
    results = []
    for each, dtype in ((x, weights), (x.float(), tg.float32)):
        each.requires_grad_()
        weight = tg.ones(64, dtype=dtype, device=device, requires_grad=True)
        y = norm(each * 1, weight)
        assert y.dtype is each.dtype
        y.backward(tg.ones_like(y).cumsum(1))
        assert weight.grad.dtype is dtype
        results.append([as_array(grad.float()) for grad in (each.grad, weight.grad)])
    (half, of_weight), (wide, exact) = results
    np.testing.assert_allclose(half, wide, rtol=8e-3, atol=2e-2)
    rtol = 1e-5 if weights is tg.float32 else STEP[weights]
    np.testing.assert_allclose(of_weight, exact, rtol=rtol, atol=1e-4)
