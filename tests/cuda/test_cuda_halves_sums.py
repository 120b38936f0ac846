"""Halves on a device: sums, norms and losses, whose float32 sums are rounded once, and numbers."""

from __future__ import annotations

import numpy as np
import pytest
from test_cuda_halves import STEP, both, gradients

import tilegrad as tg
from support import as_array, check_error, randn
from tilegrad.keras.losses.probabilities import sparse_log_loss

pytestmark = pytest.mark.gpu
F = tg.nn.functional

REDUCED = {
    "sum": lambda x: x.sum(),
    "sum of rows": lambda x: x.sum(1),
    "sum of columns": lambda x: x.sum(0, keepdim=True),
    "sum of a view": lambda x: x.t()[::2].sum(0),
    "mean": lambda x: x.mean(-1),
    "prod": lambda x: x[:4].prod(0),
    "var": lambda x: x.var(1),
    "var of columns": lambda x: x.var(0),
    "amax": lambda x: x.amax(0),
    "amin": lambda x: x.amin(1),
    "max": lambda x: x.max(),
    "norm of rows": lambda x: tg.linalg.vector_norm(x, 1, dim=1),
    "any": lambda x: (x * 0).any(1),
    "all": lambda x: x.all(0),
}


# A mean that were rounded before deviations are taken from it would show: it is far from zero.
@pytest.mark.parametrize("dtype", STEP)
@pytest.mark.parametrize("name", REDUCED)
def test_reductions_of_halves_are_those_of_float32_rounded_once(name, dtype):
    x = (both(37, 300, dtype=dtype)[0].detach().float() + 5).to(dtype)
    y, wide = REDUCED[name](x), REDUCED[name](x.float())
    if y.dtype is not tg.bool:
        assert y.dtype is dtype
        y, wide = y.float(), wide.to(dtype).float()
    np.testing.assert_array_equal(as_array(y), as_array(wide))


@pytest.mark.parametrize("dtype", STEP)
def test_sums_in_another_dtype(dtype):
    x = (both(40, 70, dtype=dtype)[0].detach().float() * 30).to(dtype)
    for asked in (tg.float32, tg.float64, tg.float16, tg.bfloat16):
        for function in (tg.sum, tg.mean):
            y = function(x, dim=1, dtype=asked)
            wide = tg.float64 if asked is tg.float64 else tg.float32
            assert y.dtype is asked
            exact = function(x.to(wide), dim=1).to(asked)
            np.testing.assert_array_equal(as_array(y.to(wide)), as_array(exact.to(wide)))


def test_large_sums_of_halves_are_made_in_float32():
    x = tg.full((300, 300), 30.0, dtype=tg.float16, device="cuda")
    assert x.mean().item() == 30 and x.sum(dtype=tg.float32).item() == 2.7e6
    assert x.sum().item() == float("inf") and x.amax().item() == 30


SPECIAL = [[1.0, float("nan"), 2.0], [float("inf"), 1.0, 2.0], [float("inf"), -float("inf"), 0.0],
           [-float("inf"), 3.0, 4.0], [0.0, -0.0, 0.0]]  # fmt: skip


@pytest.mark.parametrize("dtype", STEP)
@pytest.mark.parametrize("name", ["sum", "mean", "prod", "amax", "amin", "var", "any", "all"])
def test_reductions_of_infinite_and_missing_halves(name, dtype):
    x = tg.tensor(SPECIAL, device="cuda").to(dtype)
    for dim in (0, 1):
        y, wide = getattr(x, name)(dim), getattr(x.float(), name)(dim)
        np.testing.assert_array_equal(as_array(y.float()), as_array(wide.to(y.dtype).float()))


@pytest.mark.parametrize("dtype", STEP)
def test_reductions_of_no_halves(dtype):
    x = tg.zeros(0, 3, dtype=dtype, device="cuda")
    assert x.sum(0).tolist() == [0, 0, 0] and x.prod().item() == 1 and x.sum(1).shape == (0,)
    assert np.isnan(as_array(x.mean(0).float())).all() and x.all().item() and not x.any().item()
    check_error(IndexError, "amax.*non-zero size", lambda: x.amax(0))
    assert (x * 2).shape == (0, 3) and (2 / x).dtype is dtype


@pytest.mark.parametrize("dtype", STEP)
def test_norms_of_vectors_of_halves_are_rounded_once(dtype):
    x = tg.full((2, 300), 300.0, dtype=dtype, device="cuda")  # squares too large for float16
    for order in (1, 2, 3, float("inf")):
        y, wide = (tg.linalg.vector_norm(h, order, dim=1) for h in (x, x.float()))
        assert y.dtype is dtype
        np.testing.assert_array_equal(as_array(y.float()), as_array(wide.to(dtype).float()))


BY_ROWS = {
    "layer_norm": lambda x, w, b: F.layer_norm(x, x.shape[1:], w, b),
    "layer_norm of images": lambda x, w, b: F.layer_norm(x.view(3, -1, 2, 3), (2, 3)),
    "short layer_norm": lambda x, w, b: F.layer_norm(x.view(-1, 40), (40,), w[:40], b[:40]),
    "long layer_norm": lambda x, w, b: F.layer_norm(x.reshape(1, -1), (x.numel(),)),
    "rms_norm": lambda x, w, b: F.rms_norm(x, x.shape[1:], w),
    "group_norm": lambda x, w, b: F.group_norm(x.view(3, 6, -1), 2, w[:6], b[:6]),
    "group_norm without weights": lambda x, w, b: F.group_norm(x.view(3, 6, -1), 6),
}


# Beside the same kernels of float32, which sum in the same order: no bit may differ.
@pytest.mark.parametrize("weights", ["halves", "floats"])
@pytest.mark.parametrize("dtype", STEP)
@pytest.mark.parametrize("name", BY_ROWS)
def test_norms_of_halves_are_those_of_float32_rounded_once(name, dtype, weights):
    tensors = [both(3, 1320, dtype=dtype, scale=2.0)[0].detach() + 4]
    tensors += [both(1320, dtype=dtype, seed=s)[0].detach() for s in (1, 2)]
    if weights == "floats":
        tensors[1:] = [p.float() for p in tensors[1:]]
    halves = gradients(lambda x, w, b: BY_ROWS[name](x, w, b) + 0 * (w.sum() + b.sum()).to(dtype),
                       *tensors, dtype=dtype)  # fmt: skip
    floats = gradients(lambda x, w, b: BY_ROWS[name](x, w, b) + 0 * (w.sum() + b.sum()),
                       *[p.float() for p in tensors], dtype=dtype)  # fmt: skip
    for half, exact, leaf in zip(halves, floats, [tensors[0], *tensors], strict=True):
        assert half.dtype is leaf.dtype
        np.testing.assert_array_equal(
            as_array(half.float()), as_array(exact.to(leaf.dtype).float())
        )


@pytest.mark.parametrize("dtype", STEP)
@pytest.mark.parametrize("name", BY_ROWS)
def test_autocast_trains_norms_of_halves(name, dtype):
    x, w, b = (both(*shape, dtype=dtype)[0] for shape in ((3, 1320), (1320,), (1320,)))
    with tg.autocast("cuda", dtype=dtype):
        y = BY_ROWS[name](x, w, b)
    assert y.dtype is tg.float32
    grad = tg.from_numpy(randn(*y.shape, seed=1).astype(np.float32)).cuda()
    y.backward(grad)
    wide = [p.detach().float().requires_grad_() for p in (x, w, b)]
    BY_ROWS[name](*wide).backward(grad)
    for half, exact in zip((x, w, b), wide, strict=True):
        assert (half.grad is None) == (exact.grad is None)
        if half.grad is not None:
            exact_grad = exact.grad.to(dtype).float()
            np.testing.assert_array_equal(as_array(half.grad.float()), as_array(exact_grad))


@pytest.mark.parametrize("dtype", STEP)
def test_norms_of_no_rows_and_of_infinite_halves(dtype):
    x = tg.zeros(0, 4, dtype=dtype, device="cuda", requires_grad=True)
    w = tg.ones(4, dtype=dtype, device="cuda", requires_grad=True)
    (F.layer_norm(x, (4,), w) + F.rms_norm(x, (4,), w) + F.group_norm(x, 2, w)).sum().backward()
    assert x.grad.shape == (0, 4) and w.grad.tolist() == [0] * 4
    x = tg.tensor(SPECIAL, device="cuda").to(dtype)
    for norm in (F.layer_norm, F.rms_norm):
        expected = norm(x.float(), (3,)).to(dtype)
        np.testing.assert_array_equal(as_array(norm(x, (3,)).float()), as_array(expected.float()))


def test_halves_on_two_devices_do_not_mix():
    x, w = tg.ones(2, 4, dtype=tg.float16, device="cuda"), tg.ones(4, dtype=tg.float16)
    check_error(RuntimeError, "one device", lambda: F.layer_norm(x, (4,), w))
    check_error(RuntimeError, "one device", lambda: F.group_norm(x, 2, w))
    labels = tg.zeros(2, dtype=tg.int64, device="cuda")
    check_error(RuntimeError, "weight", lambda: F.cross_entropy(x, labels, w))


LOSSES = {
    "mean": lambda x, y, q: F.cross_entropy(x, y),
    "sum": lambda x, y, q: F.cross_entropy(x, y, reduction="sum"),
    "none": lambda x, y, q: F.cross_entropy(x, y, reduction="none"),
    "smooth": lambda x, y, q: F.cross_entropy(x, y, label_smoothing=0.2, ignore_index=3),
    "weighted": lambda x, y, q: F.cross_entropy(x, y, q[0]),
    "all of it": lambda x, y, q: F.cross_entropy(x, y, q[0], ignore_index=7, label_smoothing=0.1),
    "images": lambda x, y, q: F.cross_entropy(
        x.view(2, 3, 5, -1).transpose(1, 3), y.view(2, 5, 3), q[0]
    ),
    "planes": lambda x, y, q: F.cross_entropy(x.view(1, 30, -1), y.repeat(x.shape[1] // 30)[None]),
    "nll_loss": lambda x, y, q: F.nll_loss(x, y, q[0]),
    "probabilities": lambda x, y, q: F.cross_entropy(x, q, q[1], label_smoothing=0.1),
    "shares": lambda x, y, q: sparse_log_loss(y, x.abs(), 1e-3, "mean"),
}


# A warp takes rows of up to 1024 classes, a block longer ones. Losses are those of float32, rounded
# once; gradients, of which there are two kernels, but for the last bits of float32.
@pytest.mark.parametrize("classes", [60, 1050])
@pytest.mark.parametrize("dtype", STEP)
@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_halves(name, dtype, classes):
    x = both(30, classes, dtype=dtype, scale=2.0)[0].detach()
    q = F.softmax(both(30, classes, dtype=dtype, seed=1)[0].detach(), 1)
    y = tg.arange(30, device="cuda") * 7 % 30
    halves = gradients(lambda x: LOSSES[name](x, y, q), x, dtype=dtype)
    floats = gradients(lambda x: LOSSES[name](x, y, q.float()), x.float(), dtype=dtype)
    assert [half.dtype for half in halves] == [dtype, dtype]
    np.testing.assert_array_equal(
        as_array(halves[0].float()), as_array(floats[0].to(dtype).float())
    )
    largest = floats[1].abs().max().item()
    np.testing.assert_allclose(
        as_array(halves[1].float()), as_array(floats[1]), rtol=STEP[dtype] / 2 * 1.001,
        atol=1e-6 * largest + 2.0**-25,
    )  # fmt: skip


# A gradient that were rounded before the loss's factor reaches it would be zero.
@pytest.mark.parametrize("probabilities", [False, True])
def test_small_gradients_of_losses_survive_in_float16(probabilities):
    x = tg.zeros(20000, 64, dtype=tg.float16, device="cuda", requires_grad=True)
    labels = tg.zeros(20000, dtype=tg.int64, device="cuda")
    loss = F.cross_entropy(x, F.one_hot(labels, 64).half() if probabilities else labels)
    loss.backward(tg.tensor(16384.0, dtype=tg.float16, device="cuda"))
    np.testing.assert_allclose(as_array(x.grad.float())[:, 1:], 16384 / 20000 / 64, rtol=1e-3)


def test_losses_of_halves_can_be_differentiated_twice():
    x = both(4, 6, dtype=tg.bfloat16)[0]
    labels = tg.tensor([0, 5, 2, 2], device="cuda")
    loss = F.cross_entropy(x, labels)
    first, second = (tg.autograd.grad(loss, x, retain_graph=True)[0] for _ in range(2))
    assert first.tolist() == second.tolist()
    (slope,) = tg.autograd.grad(loss, x, create_graph=True)
    np.testing.assert_allclose(as_array(slope.float()), as_array(first.float()), atol=4e-3)
    (curvature,) = tg.autograd.grad(slope.float().square().sum(), x)
    wide = x.detach().float().requires_grad_()
    (slope,) = tg.autograd.grad(F.cross_entropy(wide, labels), wide, create_graph=True)
    (exact,) = tg.autograd.grad(slope.square().sum(), wide)
    np.testing.assert_allclose(as_array(curvature.float()), as_array(exact), atol=2e-3)


def test_losses_of_no_and_of_infinite_halves():
    for dtype in STEP:
        nothing = tg.zeros(0, 4, dtype=dtype, device="cuda", requires_grad=True)
        none = tg.zeros(0, dtype=tg.int64, device="cuda")
        loss = F.cross_entropy(nothing, none)
        loss.backward()
        assert np.isnan(loss.item()) and nothing.grad.shape == (0, 4)
        assert F.cross_entropy(nothing, none, reduction="sum").item() == 0
        x = tg.tensor(SPECIAL, device="cuda").to(dtype)
        labels = tg.full((5,), 2, device="cuda")
        y = F.cross_entropy(x, labels, reduction="none")
        wide = F.cross_entropy(x.float(), labels, reduction="none").to(dtype)
        np.testing.assert_array_equal(as_array(y.float()), as_array(wide.float()))


# On a card this would be a race; the emulated device puts work off until something waits for it.
def test_the_gradient_of_a_loss_does_not_wait_for_the_card():
    if "emulated" not in tg.cuda.get_device_name():
        pytest.skip("only the emulated device tells for sure whether something has waited")
    with tg.cuda.stream(tg.cuda.Stream()):
        x = both(4, 6, dtype=tg.float16)[0]
        loss = F.cross_entropy(x, tg.zeros(4, dtype=tg.int64, device="cuda"))
        event = tg.cuda.Event()
        event.record()
        loss.backward()
        assert not event.query()
        tg.cuda.synchronize()


WITH_NUMBERS = {
    "mul": lambda x: x * 0.1,
    "add": lambda x: 0.1 + x,
    "sub": lambda x: 0.1 - x,
    "div": lambda x: x / 3,
    "over": lambda x: 0.1 / x,
    "pow": lambda x: x.abs() ** 1.7,
    "base": lambda x: 1.7**x,
    "floor_divide": lambda x: x // 0.3,
    "remainder": lambda x: x % 0.3,
    "scaled": lambda x: tg.add(x, 0.1, alpha=3),
    "strided": lambda x: x.t()[1:, ::2] * 0.1,
    "scaled the other way": lambda x: tg.add(0.1, x, alpha=3),
    "whole": lambda x: x * 257,
    "bool": lambda x: x + True,
    "large": lambda x: x * 1e30,
    "missing": lambda x: x * float("nan"),
    "in place": lambda x: x.clone().mul_(0.1),
    "difference in place": lambda x: x.clone().sub_(0.1),
    "power in place": lambda x: x.abs().clone().pow_(1.7),
}


@pytest.mark.parametrize("dtype", STEP)
@pytest.mark.parametrize("name", WITH_NUMBERS)
def test_numbers_beside_halves_are_not_rounded(name, dtype):
    x = both(7, 45, dtype=dtype, scale=2.0)[0].detach()
    y, wide = WITH_NUMBERS[name](x), WITH_NUMBERS[name](x.float())
    assert y.dtype is dtype
    np.testing.assert_array_equal(as_array(y.float()), as_array(wide.to(dtype).float()))
