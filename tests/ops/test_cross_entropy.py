"""cross_entropy and nll_loss against PyTorch; the composed losses of tilegrad.nn.loss_functions."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional

import tilegrad as tg
from support import check, check_error, randn
from tilegrad.nn import loss_functions as losses


def functional(m):
    return torch.nn.functional if m is torch else losses


def labels(*shape: int, classes: int, ignored: int | None = None) -> np.ndarray:
    values = np.random.default_rng(3).integers(0, classes, shape)
    if ignored is not None:
        values.reshape(-1)[::3] = ignored
    return values


SHAPES = [(4, 3), (3, 10), (7, 100), (2, 5, 3), (2, 3, 4, 5), (2, 4, 5, 17)]


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_class_indices(name: str, reduction: str) -> None:
    for shape, weighted, ignored in itertools.product(SHAPES, [False, True], [None, -100, 1]):
        classes = shape[1]
        target = labels(shape[0], *shape[2:], classes=classes, ignored=ignored)
        weight = np.linspace(0.5, 2, classes)

        def loss(m, x, target, weight=weight, ignored=ignored, weighted=weighted):
            return getattr(functional(m), name)(
                x,
                target,
                weight=m.from_numpy(weight) if weighted else None,
                ignore_index=-100 if ignored is None else ignored,
                reduction=reduction,
            )

        check(loss, randn(*shape), target)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.1, 1.0])
def test_label_smoothing(smoothing: float, reduction: str) -> None:
    weight = np.linspace(0.5, 2, 40)
    for weighted, ignored in itertools.product([False, True], [None, -100]):

        def loss(m, x, target, weighted=weighted):
            return functional(m).cross_entropy(
                x,
                target,
                m.from_numpy(weight) if weighted else None,
                reduction=reduction,
                label_smoothing=smoothing,
            )

        check(loss, randn(6, 40), labels(6, classes=40, ignored=ignored))
        check(loss, randn(6, 40), np.random.default_rng(0).random((6, 40)))


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_class_probabilities(reduction: str) -> None:
    for shape in [(5,), (4, 3), (2, 5, 3), (0, 3)]:
        target = np.abs(randn(*shape, seed=1))
        check(
            lambda m, x, t: functional(m).cross_entropy(x, t, reduction=reduction),
            randn(*shape),
            target,
        )


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_constant_class_probabilities(reduction: str, smoothing: float, weighted: bool) -> None:
    for shape in [(5,), (4, 3), (7, 1), (3, 70), (2, 5, 3), (2, 17, 2, 3), (0, 3), (3, 0)]:
        for dtype in (np.float64, np.float32):
            target = np.abs(randn(*shape, dtype=dtype, seed=1))
            classes = shape[0] if len(shape) == 1 else shape[1]
            weight = np.abs(randn(classes, dtype=dtype, seed=2)) if weighted else None

            def loss(m: Any, x: Any, target: Any = target, weight: Any = weight) -> Any:
                return functional(m).cross_entropy(
                    x,
                    m.from_numpy(target),
                    None if weight is None else m.from_numpy(weight),
                    reduction=reduction,
                    label_smoothing=smoothing,
                )

            check(loss, randn(*shape, dtype=dtype) * 5)
    target = np.asfortranarray(np.abs(randn(9, 40, seed=1)))
    check(lambda m, x: functional(m).cross_entropy(x.t(), m.from_numpy(target)), randn(40, 9))


def test_class_probabilities_of_extreme_scores() -> None:
    target = np.array([[0.25, 0.75, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    for worst in (np.inf, -np.inf, np.nan, 1e300):
        x = np.array([[1.0, 2.0, worst], [1.0, 2.0, 3.0], [1e4, -1e4, 0.0]])
        check(lambda m, x: functional(m).cross_entropy(x, m.from_numpy(target)), x, grad=False)
        check(
            lambda m, x: functional(m).cross_entropy(x, m.from_numpy(target), reduction="none"), x
        )


def test_class_probabilities_twice_and_differentiated_twice() -> None:
    target = tg.from_numpy(np.abs(randn(4, 5, seed=1)))
    x = tg.from_numpy(randn(4, 5)).requires_grad_()
    for reduction in ("none", "mean", "sum"):
        assert tg.autograd.gradgradcheck(
            lambda x, r=reduction: functional(tg).cross_entropy(
                x, target, reduction=r, label_smoothing=0.1
            ),
            (x,),
        )
    loss = functional(tg).cross_entropy(x, target)
    loss.backward(retain_graph=True)
    first = x.grad.clone()
    x.grad = None
    loss.backward()
    np.testing.assert_allclose(x.grad.cpu().numpy(), first.cpu().numpy(), rtol=1e-12)


def test_float32_and_layouts() -> None:
    x, target = randn(50, 33, dtype=np.float32), labels(50, classes=33)
    check(lambda m, x, t: functional(m).cross_entropy(x, t), x, target)
    check(lambda m, x, t: functional(m).cross_entropy(x.t(), t), np.asfortranarray(x).T, target)
    check(lambda m, x, t: functional(m).cross_entropy(x[::2], t[::2]), x, target)
    check(lambda m, x, t: functional(m).cross_entropy(x * 1e4, t), x, target, rtol=1e-4)


def test_images_in_both_memory_formats() -> None:
    x, target = randn(2, 21, 9, 15, dtype=np.float32), labels(2, 9, 15, classes=21)
    for channels_last in (False, True):

        def loss(m, x, t, channels_last=channels_last):
            if channels_last:
                x = x.contiguous(memory_format=m.channels_last)
            return functional(m).cross_entropy(x, t, label_smoothing=0.1)

        check(loss, x, target)
    x[0, 3, 2, 1] = np.nan
    x[1, 4, 5, 6] = np.inf
    check(lambda m, x, t: functional(m).cross_entropy(x, t, reduction="none"), x, target)


def test_one_row_and_no_rows() -> None:
    check(lambda m, x, t: functional(m).cross_entropy(x, t), randn(5), np.array(3))
    check(
        lambda m, x, t: functional(m).cross_entropy(x, t, reduction="none"), randn(5), np.array(3)
    )
    none = np.zeros(0, np.int64)
    for reduction in ("none", "mean", "sum"):
        check(
            lambda m, x, t: functional(m).cross_entropy(x, t, reduction=reduction),
            randn(0, 5),
            none,
        )
        check(
            lambda m, x, t: functional(m).cross_entropy(x, t, reduction=reduction),
            randn(2, 5, 0, 3),
            np.zeros((2, 0, 3), np.int64),
        )


def test_everything_ignored() -> None:
    target = np.full(4, -100)
    check(lambda m, x, t: functional(m).cross_entropy(x, t), randn(4, 3), target, grad=False)
    check(lambda m, x, t: functional(m).cross_entropy(x, t, reduction="sum"), randn(4, 3), target)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_second_derivative(reduction: str) -> None:
    def slope(m, x, t):
        loss = functional(m).cross_entropy(
            x, t, m.linspace(0.5, 1, 5, dtype=m.float64), label_smoothing=0.2, reduction=reduction
        )
        return m.autograd.grad((loss**2).sum(), x, create_graph=True)[0]

    check(slope, randn(4, 5), labels(4, classes=5, ignored=-100))
    check(slope, randn(2, 5, 3, 2), labels(2, 3, 2, classes=5, ignored=-100))


@pytest.mark.host("threads are the CPU's")
def test_same_bits_for_every_thread_count() -> None:
    x = tg.from_numpy(randn(5000, 50, dtype=np.float32)).requires_grad_()
    target = tg.from_numpy(labels(5000, classes=50))
    before, seen = tg.get_num_threads(), set()
    try:
        for threads in (1, 2, 3, 8):
            tg.set_num_threads(threads)
            loss = losses.cross_entropy(x, target)
            (grad,) = tg.autograd.grad(loss, x)
            seen.add(loss.detach().cpu().numpy().tobytes() + grad.cpu().numpy().tobytes())
    finally:
        tg.set_num_threads(before)
    assert len(seen) == 1


def test_complaints() -> None:
    x, t = tg.zeros(4, 3), tg.tensor([0, 1, 2, 1])
    call = losses.cross_entropy
    outside = r"cross_entropy: Target 3 is out of bounds: expected 0 <= target < 3"
    check_error(IndexError, outside, lambda: call(x, tg.tensor([0, 3, 1, 0])))
    check_error(IndexError, "nll_loss: Target -1", lambda: losses.nll_loss(x, t - 1))
    check_error(ValueError, r"batch_size \(4\).*batch_size \(3\)", lambda: call(x, t[:3]))
    check_error(RuntimeError, "target.*int64, got int32", lambda: call(x, t.to(tg.int32)))
    check_error(RuntimeError, "all 3 classes", lambda: call(x, t, tg.ones(2)))
    check_error(RuntimeError, "weight.*float32.*float64", lambda: call(x, t, tg.ones(3).double()))
    check_error(RuntimeError, "label_smoothing.*Got: 2", lambda: call(x, t, label_smoothing=2.0))
    check_error(ValueError, "most is not a valid value", lambda: call(x, t, reduction="most"))
    check_error(NotImplementedError, "int64", lambda: call(x.long(), t))
    check_error(
        RuntimeError, r"target size \[4, 2\], got \[4\]", lambda: call(tg.zeros(4, 3, 2), t)
    )
    check_error(RuntimeError, "ignore_index", lambda: call(x, x, ignore_index=1))
    check_error(ValueError, "scalar", lambda: call(tg.tensor(1.0), tg.tensor(0)))


def test_legacy_reduction() -> None:
    x, t = tg.from_numpy(randn(4, 3)), tg.tensor([0, 1, 2, 1])
    with pytest.warns(UserWarning, match="reduction='sum'"):
        old = losses.cross_entropy(x, t, size_average=False)
    assert old.item() == losses.cross_entropy(x, t, reduction="sum").item()
    with pytest.warns(UserWarning, match="reduction='none'"):
        assert losses.mse_loss(x, x, reduce=False).shape == (4, 3)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize(
    "name, options",
    [
        ("mse_loss", {}),
        ("l1_loss", {}),
        ("smooth_l1_loss", {}),
        ("smooth_l1_loss", {"beta": 0.3}),
        ("smooth_l1_loss", {"beta": 0}),
        ("huber_loss", {}),
        ("huber_loss", {"delta": 0.7}),
        ("binary_cross_entropy_with_logits", {}),
    ],
)
def test_composed_losses(name: str, options: dict, reduction: str) -> None:
    check(
        lambda m, x, t: getattr(functional(m), name)(x, t, reduction=reduction, **options),
        randn(4, 5),
        randn(4, 5, seed=1),
    )


def test_losses_of_probabilities() -> None:
    p, t = np.random.default_rng(0).random((2, 4, 5))
    p[0, 0], p[0, 1], t[0, 2] = 0.0, 1.0, 0.0
    weight = np.linspace(0.5, 2, 5)

    def bce(m, p):
        return functional(m).binary_cross_entropy(p, m.from_numpy(t), m.from_numpy(weight))

    def bce_logits(m, x):
        return functional(m).binary_cross_entropy_with_logits(
            x, m.from_numpy(t), m.from_numpy(weight), pos_weight=m.from_numpy(weight)
        )

    check(bce, p, grad=False)
    check(bce, np.clip(p, 0.01, 0.99))
    check(bce_logits, 50 * randn(4, 5))
    check(
        lambda m, x, t: functional(m).kl_div(x, t, reduction="batchmean"),
        randn(4, 5),
        t,
        grad=False,
    )
    check(lambda m, x, t: functional(m).kl_div(x, t, reduction="sum"), randn(4, 5), t + 0.1)


def test_kl_div_of_log_probabilities() -> None:
    def loss(reduction):
        return lambda m, x, t: functional(m).kl_div(x, t, reduction=reduction, log_target=True)

    for reduction in ("none", "sum", "batchmean"):
        check(loss(reduction), randn(4, 5), randn(4, 5, seed=1))
    with pytest.warns(UserWarning, match="batchmean"):
        check(loss("mean"), randn(4, 5), randn(4, 5, seed=1))


def test_weighted_means() -> None:
    weight = np.linspace(0.5, 2, 20).reshape(4, 5)
    for name in ("mse_loss", "l1_loss", "huber_loss"):
        for reduction in ("none", "mean", "sum"):
            check(
                lambda m, x, t: getattr(functional(m), name)(
                    x, t, reduction=reduction, weight=m.from_numpy(weight)
                ),
                randn(4, 5),
                randn(4, 5, seed=1),
            )


def test_complaints_of_composed_losses() -> None:
    x = tg.ones(3)
    with pytest.warns(UserWarning, match="different to the input size"):
        losses.mse_loss(x, tg.ones(1))
    check_error(ValueError, "shape|size", lambda: losses.binary_cross_entropy(x, tg.ones(2)))
    check_error(RuntimeError, "between 0 and 1", lambda: losses.binary_cross_entropy(x * 2, x))
    check_error(
        ValueError, "same as", lambda: losses.binary_cross_entropy_with_logits(x, tg.ones(2))
    )
    check_error(RuntimeError, "beta", lambda: losses.smooth_l1_loss(x, x, beta=-1))
    check_error(
        ValueError, "huber_loss: argument 'weight'", lambda: losses.huber_loss(x, x, weight=x[:2])
    )
    check_error(RuntimeError, "delta", lambda: losses.huber_loss(x, x, delta=0))
    check_error(ValueError, "q is not a valid", lambda: losses.l1_loss(x, x, reduction="q"))


def test_rows_that_are_written_past_the_caches() -> None:
    """The gradient is larger than 16 MiB, and rows are not aligned to vectors."""
    rows, classes = 70, 70001
    x, target = randn(rows, classes, dtype=np.float32), labels(rows, classes=classes, ignored=-100)
    for smoothing in (0.0, 0.1):
        check(
            lambda m, x, y, s=smoothing: functional(m).cross_entropy(x, y, label_smoothing=s),
            x,
            target,
            atol=1e-8,
        )
    check(lambda m, x: m.softmax(x, 1), x, atol=1e-9)
    check(lambda m, x: m.log_softmax(x, 1), x, rtol=1e-4)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    "factor",
    [
        1.0,
        -0.37,
        0.0,
        pytest.param(
            np.inf, marks=pytest.mark.host("on a card the gradient is scaled without a look at it")
        ),
        np.nan,
    ],
    ids=str,
)
def test_gradient_of_a_scaled_loss_taken_twice(reduction: str, factor: float) -> None:
    def twice(m, x, target, weight):
        x = x.detach().requires_grad_()
        loss = functional(m).cross_entropy(x, target, weight.detach(), reduction=reduction) * factor
        loss.backward(retain_graph=True)
        first = x.grad.clone()
        loss.backward()
        return first, x.grad

    check(twice, randn(5, 7), labels(5, classes=7), np.abs(randn(7, seed=1)), grad=False)


def test_batches_of_a_linear_cross_entropy_must_match():
    def run(m):
        loss = m.nn.LinearCrossEntropyLoss(3, 2)
        return loss(m.ones(4, 3), m.zeros(5, 2))

    for m in (tg, torch):
        with pytest.raises(ValueError, match=r"input batch_size \(4\) to match target batch_size"):
            run(m)
