"""Tensor hooks. Programs run on both libraries."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

import tilegrad as tg
from support import check_error

BOTH = pytest.mark.parametrize("m", [tg, torch], ids=["tilegrad", "torch"])


def leaf(m, *values):
    return m.tensor(list(values), dtype=m.float64, requires_grad=True)


@BOTH
@pytest.mark.parametrize("result", [False, True])
def test_hooks_replace_in_order(m, result):
    x, seen = leaf(m, 1.0), []
    y = x * 3 if result else x

    def first(grad):
        seen.append(grad.item())
        return grad * 2

    y.register_hook(first)
    y.register_hook(lambda grad: seen.append(grad.item()))
    y.register_hook(lambda grad: grad + 1)
    (y * 5).backward()
    assert seen == [5.0, 10.0] and x.grad.item() == (33.0 if result else 11.0)


@BOTH
def test_hook_sees_the_sum(m):
    x, seen = leaf(m, 2.0), []
    y = x * 1
    y.register_hook(lambda grad: seen.append(grad.item()))
    x.register_hook(lambda grad: seen.append(grad.item()))
    (y * y + y * x).backward()
    assert seen == [6.0, 8.0]


@BOTH
def test_removed_hook(m):
    x = leaf(m, 1.0)
    handle = x.register_hook(lambda grad: grad * 100)
    with x.register_hook(lambda grad: grad * 10):
        (x * 1).backward()
    handle.remove()
    handle.remove()
    (x * 1).backward()
    assert x.grad.item() == 1001.0


@BOTH
def test_hook_with_captured_gradient(m):
    x = leaf(m, 1.0)
    x.register_hook(lambda grad: grad * 7)
    y = x * 2
    y.register_hook(lambda grad: grad * 5)
    (gx,), (gy,) = (m.autograd.grad(y * 3, [t], retain_graph=True) for t in (x, y))
    assert (gx.item(), gy.item()) == (210.0, 15.0)


@BOTH
def test_complaints(m):
    with pytest.raises(RuntimeError, match="doesn't require grad"):
        m.ones(1).register_hook(print)
    x = leaf(m, 1.0)
    x.register_hook(lambda grad: 1)
    with pytest.raises(TypeError):
        (x * 1).backward()
    x = leaf(m, 1.0)
    x.register_hook(lambda grad: m.ones(2, dtype=m.float64))
    with pytest.raises(RuntimeError, match="has changed the"):
        (x * 1).backward()
    with pytest.raises(RuntimeError, match="retain_grad"):
        m.ones(1).retain_grad()
    with pytest.raises(RuntimeError, match="leaf"):
        (x * 1).register_post_accumulate_grad_hook(print)
    with pytest.raises(RuntimeError, match="require grad"):
        m.ones(1).register_post_accumulate_grad_hook(print)


def test_hook_must_be_callable():
    x = leaf(tg, 1.0)
    check_error(TypeError, "argument 'hook'", lambda: x.register_hook(3))
    check_error(TypeError, "hook", lambda: x.register_post_accumulate_grad_hook(3))


@BOTH
def test_retain_grad(m):
    x = leaf(m, 1.0)
    y = x * 2
    assert not y.retains_grad
    y.retain_grad()
    y.register_hook(lambda grad: grad * 10)  # registered later, still before keeping
    for expected in (30.0, 60.0):
        (y * 3).backward(retain_graph=True)
        assert y.grad.item() == expected
    assert y.retains_grad and not x.retains_grad
    x.retain_grad()
    assert not x.retains_grad


@BOTH
def test_retain_grad_follows_in_place(m):
    x = leaf(m, 1.0)
    y = x * 1
    y.retain_grad()
    y.mul_(3)
    (y * 2).backward()
    assert y.grad.item() == 2.0 and x.grad.item() == 6.0


@BOTH
def test_hook_stays_with_the_value_before_the_write(m):
    seen = []
    y = leaf(m, 1.0) * 1
    y.register_hook(lambda grad: seen.append(("before", grad.item())))
    y.mul_(3)
    y.register_hook(lambda grad: seen.append(("after", grad.item())))
    (y * 2).backward()
    assert seen == [("after", 2.0), ("before", 6.0)]


@BOTH
def test_post_accumulate(m):
    x, seen = leaf(m, 1.0), []

    def apply_and_forget(leaf):
        seen.append((leaf is x, leaf.grad.item()))
        leaf.grad = None

    handle = x.register_post_accumulate_grad_hook(apply_and_forget)
    (x * 2).backward()
    (x * 3).backward()
    handle.remove()
    (x * 4).backward()
    assert seen == [(True, 2.0), (True, 3.0)] and x.grad.item() == 4.0


def test_retained_tensor_is_freed():
    gc.collect()
    gc.disable()
    try:
        x = leaf(tg, 1.0)
        y = x * 2
        y.retain_grad()
        z = y * 3
        watch = weakref.ref(y)
        del y
        z.backward()
        assert watch() is None
    finally:
        gc.enable()
