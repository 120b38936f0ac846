"""In-place writes, views, and what gradients make of them. Programs run on both libraries."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check, randn

BOTH = pytest.mark.parametrize("m", [tg, torch], ids=["tilegrad", "torch"])


def leaf(m, *values):
    return m.tensor(list(values), dtype=m.float64, requires_grad=True)


def on_copy(write):
    """A differentiable function that writes to a copy of its first argument."""

    def run(m, x, *others):
        y = x * 1
        z = write(m, y, *others)
        return (y, y * y) if z is None else (y, y * y, z * z)

    return run


def set_row(m, y, v):
    y[1] = v


def set_masked(m, y, v):
    y[y > 0] = 2.0


@pytest.mark.parametrize(
    "write",
    [
        lambda m, y, v: y.add_(v),
        lambda m, y, v: y.mul_(v),
        lambda m, y, v: y.div_(v),
        lambda m, y, v: y.sub_(v, alpha=2),
        lambda m, y, v: y.pow_(2),
        lambda m, y, v: y.mul_(y * 1),
        lambda m, y, v: y.copy_(v),
        lambda m, y, v: y.mul_(v).add_(v).mul_(3),
        lambda m, y, v: y.t().mul_(2),
        lambda m, y, v: y.select(0, 1).mul_(v),
        lambda m, y, v: y.narrow(1, 1, 2).t().select(0, 1).add_(5).mul_(2),
        lambda m, y, v: y.view(-1).narrow(0, 2, 5).mul_(3),
        lambda m, y, v: y.diagonal().copy_(v.narrow(0, 0, 3)),
        lambda m, y, v: y.detach() * 2,
    ],
)
def test_writes(write):
    check(on_copy(write), randn(3, 4), randn(4, seed=1))


@pytest.mark.parametrize("write", [set_row, set_masked])
def test_setitem(write):
    check(on_copy(write), randn(3, 4), randn(4, seed=1))


def test_write_to_transposed_base():
    def run(m, x, v):
        y = (x * 1).t()
        y.select(0, 0).mul_(v)
        return y * y

    check(run, randn(3, 4), randn(3, seed=1))


def test_base_without_gradient_receives_one():
    def run(m, x):
        y = m.zeros(2, 3, dtype=m.float64)
        y.select(0, 1).copy_(x)
        return y * y

    check(run, randn(3))


def test_views_follow_their_base():
    def run(m, x):
        y = x * 1
        first, second = y.select(0, 0), y.view(-1)
        y.mul_(2)
        first.mul_(3)
        return y * first, second * second, first * first

    check(run, randn(2, 2))


def test_views_of_a_write_through_a_sibling():
    def run(m, x, v):
        y = x * 1
        a, b = y.narrow(0, 0, 2), y.narrow(0, 1, 2)
        a.mul_(v)
        b.mul_(v)
        return a * a, b * b

    check(run, randn(3), randn(2, seed=3))


@pytest.mark.parametrize("write", [lambda y, x: y.pow_(3), lambda y, x: y.mul_(2).mul_(x)])
def test_second_derivative_through_a_write(write):
    def run(m, x):
        y = x * x
        write(y, x)
        (g,) = m.autograd.grad(y.sum(), x, create_graph=True)
        (h,) = m.autograd.grad((g * g).sum(), x, create_graph=True)
        return g, h

    check(run, randn(4) + 3)


def test_second_derivative_through_a_view():
    def run(m, x):
        y = x * x
        y.narrow(0, 1, 2).pow_(2)
        (g,) = m.autograd.grad((y * y).sum(), x, create_graph=True)
        return g, m.autograd.grad((g * g).sum(), x, create_graph=True)[0]

    check(run, randn(4))


def test_operand_that_the_write_overwrites():
    """PyTorch refuses these; here the write keeps a copy of what its gradient needs."""

    def sibling(x):
        y = x * 1
        y.unsqueeze(0).select(2, 0).mul_(y.select(1, 1))
        y.select(0, 0).mul_(y.select(0, 0))
        y.mul_(y)
        return y

    x = tg.from_numpy(randn(3, 4)).requires_grad_()
    assert tg.autograd.gradcheck(sibling, x) and tg.autograd.gradgradcheck(sibling, x)


@BOTH
def test_leaves_cannot_be_written(m):
    x = leaf(m, 1.0, 2.0)
    for write in (
        lambda: x.add_(1),
        lambda: x.narrow(0, 0, 1).add_(1),
        lambda: x.copy_(m.ones(2)),
        lambda: x.view(2, 1).select(0, 0).mul_(2),
        lambda: x.zero_(),
        lambda: x.__setitem__(0, 1.0),
    ):
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
            write()
    with m.no_grad():
        x.add_(1)
        x.narrow(0, 0, 1).mul_(5)
    assert x.tolist() == [10.0, 3.0] and x.is_leaf and x._version == 2
    x.detach().add_(1)
    assert x._version == 3


@BOTH
def test_versions_of_views_are_shared(m):
    x = leaf(m, 1.0, 2.0) * 1
    view = x.narrow(0, 0, 1)
    assert (x._version, view._version) == (0, 0)
    view.add_(1)
    x.add_(1)
    assert (x._version, view._version) == (2, 2)


@BOTH
@pytest.mark.parametrize(
    ("consume", "stale"),
    [
        (lambda y, w: y * w, True),
        (lambda y, w: y + w, False),
        (lambda y, w: y.narrow(0, 0, 1) * w, True),
    ],
)
def test_stale_values(m, consume, stale):
    y, w = leaf(m, 1.0, 2.0) * 1, leaf(m, 3.0)
    z = consume(y, w).sum()
    y.narrow(0, 1, 1).mul_(2)
    if stale:
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            z.backward()
    else:
        z.backward()


@BOTH
def test_write_through_a_view_made_without_recording(m):
    y = leaf(m, 1.0, 2.0) * 1
    with m.no_grad():
        view = y.narrow(0, 0, 1)
        view.add_(1)
    with pytest.raises(RuntimeError, match="created in no_grad mode"):
        view.add_(1)
    assert y.tolist() == [2.0, 2.0]


def test_unrecorded_view_stays_a_constant():
    w = leaf(tg, 1.0, 2.0)
    with tg.no_grad():
        view = w.narrow(0, 0, 1)
        w.add_(1)
    assert not view.requires_grad and view.tolist() == [2.0]


@BOTH
def test_inference_tensors(m):
    w = leaf(m, 1.0, 2.0)
    with m.inference_mode():
        x = w * 2
        x.add_(1)
        normal = w.narrow(0, 0, 1)
    assert not x.requires_grad
    with pytest.raises(RuntimeError, match=r"[Ii]nference"):
        x.add_(1)
    with pytest.raises(RuntimeError, match=r"[Ii]nference tensors cannot be saved"):
        _ = x * w
    with pytest.raises(RuntimeError, match="inference tensor"):
        x.requires_grad_()
    (normal * leaf(m, 1.0)).sum().backward()  # a view of a normal tensor is normal


@BOTH
def test_broadcast_into_a_smaller_tensor(m):
    y = leaf(m, 1.0, 2.0) * 1
    with pytest.raises(RuntimeError, match="doesn't match the broadcast shape"):
        y.add_(m.ones(3, 2, dtype=m.float64))
    with pytest.raises(RuntimeError, match="can't be cast"):
        m.ones(2, dtype=m.int64).add_(y)
    assert y.tolist() == [1.0, 2.0]


def test_in_place_sum_into_expanded_memory_is_refused():
    x = leaf(tg, 1.0)
    with pytest.raises(RuntimeError, match="share one memory location"):
        (x * 1).expand((3,)).add_(1)
    np.testing.assert_array_equal(x.detach().numpy(), [1.0])
