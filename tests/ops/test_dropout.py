"""Dropout: rates, scales, gradients and complaints; its masks are our own, not PyTorch's."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import tilegrad as tg
from support import check_error

dropouts = importlib.import_module("tilegrad.ops.dropout")  # its name is also its function's


@pytest.mark.parametrize("dtype", [tg.float32, tg.float64])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_rate_and_scale(p: float, dtype: Any) -> None:
    tg.manual_seed(0)
    x = tg.ones(300, 400, dtype=dtype)
    y = tg.dropout(x, p, True).numpy()
    kept = y[y != 0]
    assert abs(kept.size / y.size - (1 - p)) < 0.01
    np.testing.assert_allclose(kept, 1 / (1 - p), rtol=1e-6)
    again = tg.dropout(x, p, True).numpy()
    assert (again != y).any()
    tg.manual_seed(0)
    np.testing.assert_array_equal(tg.dropout(x, p, True).numpy(), y)


def test_extremes_and_evaluation() -> None:
    x = tg.randn(3, 4)
    assert tg.dropout(x, 0.7, False) is x
    assert tg.equal(tg.dropout(x, 0.0, True), x)
    assert tg.equal(tg.dropout(x, 1.0, True), x * 0)
    assert tuple(tg.dropout(tg.ones(0, 3), 0.5, True).shape) == (0, 3)


def test_gradient_is_the_mask() -> None:
    x = tg.ones(40, requires_grad=True)
    y = tg.dropout(x, 0.5, True)
    y.backward(tg.ones(40))
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())


def test_second_derivative_and_strides() -> None:
    x = tg.randn(6, 70).t().requires_grad_()
    tg.manual_seed(3)
    y = tg.dropout(x, 0.5, True)
    tg.manual_seed(3)
    mask = tg.dropout(tg.ones(70, 6), 0.5, True)
    np.testing.assert_array_equal(y.detach().numpy(), (x * mask).detach().numpy())
    (slope,) = tg.autograd.grad((y * y).sum(), x, create_graph=True)
    (curvature,) = tg.autograd.grad(slope.sum(), x)
    np.testing.assert_array_equal(curvature.numpy(), 2 * (mask * mask).numpy())


@pytest.mark.host("threads are the CPU's")
def test_same_mask_for_every_number_of_threads() -> None:
    x, before = tg.ones(300_001), tg.get_num_threads()
    masks = []
    for threads in (1, 2, 5):
        tg.set_num_threads(threads)
        tg.manual_seed(7)
        masks.append(tg.dropout(x, 0.3, True).numpy())
    tg.set_num_threads(before)
    assert (masks[0] == masks[1]).all() and (masks[0] == masks[2]).all()


def test_in_place_of_strided_memory() -> None:
    x = tg.ones(8, 90).t()
    assert tg.dropout_(x, 0.5, True) is x
    assert set(np.unique(x.numpy())) == {0.0, 2.0}


def test_in_place() -> None:
    x = tg.ones(50)
    assert tg.dropout_(x, 0.5, True) is x
    assert set(x.tolist()) == {0.0, 2.0}
    leaf = tg.ones(50, requires_grad=True)
    y = leaf * 1
    assert dropouts.dropout(y, 0.5, inplace=True) is y
    y.backward(tg.ones(50))
    np.testing.assert_array_equal(leaf.grad.numpy(), y.detach().numpy())


@pytest.mark.parametrize(
    "name, shape, channels",
    [
        ("dropout1d", (20, 30, 7), 2),
        ("dropout1d", (200, 7), 1),
        ("dropout2d", (20, 30, 4, 5), 2),
        ("dropout3d", (20, 30, 2, 3, 2), 2),
        ("dropout3d", (200, 2, 3, 2), 1),
        ("feature_dropout", (20, 30, 7), 2),
        ("feature_dropout", (20, 30), 2),
    ],
)
def test_whole_channels(name: str, shape: tuple, channels: int) -> None:
    tg.manual_seed(1)
    y = getattr(dropouts, name)(tg.ones(*shape), 0.5).numpy().reshape(*shape[:channels], -1)
    assert (y == y[..., :1]).all() and set(np.unique(y)) == {0.0, 2.0}
    x = tg.ones(*shape)
    assert getattr(dropouts, name)(x, 0.5, True, True) is x and set(np.unique(x.numpy())) == {0, 2}


def test_complaints() -> None:
    x = tg.ones(2, 3)
    for p in (1.5, -0.1, float("nan")):
        check_error(
            ValueError, "has to be between 0 and 1, but got", lambda p=p: tg.dropout(x, p, True)
        )
        check_error(ValueError, "between 0 and 1", lambda p=p: dropouts.dropout2d(x, p))
    check_error(RuntimeError, "floating", lambda: tg.dropout(tg.arange(3), 0.5, True))
    check_error(
        RuntimeError, "at least 2 dimensions", lambda: tg.feature_dropout(tg.ones(2), 0.5, True)
    )
    check_error(RuntimeError, "dropout3d: Expected 4D or 5D", lambda: dropouts.dropout3d(x))
    with pytest.raises(TypeError):
        tg.dropout(2.0, 0.5, True)
