"""Elementwise losses against PyTorch: gradients of both arguments, second derivatives, layouts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check, randn

LOSSES: dict[str, dict[str, Any]] = {
    "mse_loss": {},
    "l1_loss": {},
    "smooth_l1_loss": {"beta": 0.7},
    "huber_loss": {"delta": 0.7},
    "binary_cross_entropy": {},
    "binary_cross_entropy_with_logits": {},
}


def operands(name: str, *shape: int, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    x, target = randn(*shape, dtype=dtype), np.abs(np.sin(randn(*shape))).astype(dtype)
    x = np.abs(np.sin(x)) if name == "binary_cross_entropy" else x
    return np.asarray(x), np.asarray(target)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_both(name: str, dtype: type, reduction: str) -> None:
    for shape in [(7, 13), (1,), (), (3, 0)]:
        x, target = operands(name, *shape, dtype=dtype)
        check(
            lambda m, x, t: getattr(m.nn.functional, name)(
                x, t, reduction=reduction, **LOSSES[name]
            ),
            x,
            target,
        )


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"])
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_broadcasting_and_dtypes(name: str) -> None:
    x, target = randn(4, 3), randn(2, 1, 3, dtype=np.float32)
    check(
        lambda m, x, t: getattr(m.nn.functional, name)(x, t, **LOSSES[name]),
        x,
        target,
        grad=name != "huber_loss",  # PyTorch's fails for different dtypes
    )
    check(lambda m, x, t: getattr(m.nn.functional, name)(x.T, t[:, :4]), x, randn(3, 5))


@pytest.mark.parametrize("name", LOSSES)
def test_second_derivatives(name: str) -> None:
    x, target = operands(name, 5, 4)
    results = []
    for m in (tg, torch):
        inputs = [m.tensor(x, requires_grad=True), m.tensor(target, requires_grad=True)]
        loss = getattr(m.nn.functional, name)(*inputs, **LOSSES[name])
        first = m.autograd.grad((loss**2).sum(), inputs, create_graph=True)
        squares = sum((part * part).sum() for part in first)
        results.append([g.numpy() for g in m.autograd.grad(squares, inputs)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"l1_loss"}))  # several operations there
def test_grad_fn_has_pytorch_name(name: str) -> None:
    names = []
    for m in (tg, torch):
        x, target = (m.tensor(part) for part in operands(name, 3))
        loss = getattr(m.nn.functional, name)(x.requires_grad_(), target)
        names.append(loss.grad_fn.name())
    assert names[0] == names[1]


def test_infinity_and_nan() -> None:
    special = np.array([np.inf, -np.inf, np.nan, 0.0, 1e38] * 5)
    finite = np.zeros_like(special)
    for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"):
        for dtype in (np.float32, np.float64):
            check(
                lambda m, x, t, n=name: getattr(m.nn.functional, n)(x, t, reduction="none"),
                special.astype(dtype),
                finite.astype(dtype),
            )


@pytest.mark.parametrize("name", LOSSES)
def test_halves_are_rounded_once(name: str) -> None:
    x, target = operands(name, 50)
    small = [tg.tensor(part, dtype=tg.bfloat16) for part in (x, target)]
    y = getattr(tg.nn.functional, name)(*small)
    assert y.dtype is tg.bfloat16
    exact = getattr(tg.nn.functional, name)(*(part.double() for part in small))
    assert float(y) == pytest.approx(float(exact), rel=2**-8)


def test_integers_are_refused() -> None:
    with pytest.raises(NotImplementedError, match="loss: not implemented for dtype int64"):
        tg.nn.functional.mse_loss(tg.arange(3), tg.arange(3))
