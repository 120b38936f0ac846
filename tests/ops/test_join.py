"""Joining, splitting, repeating and reordering against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check, randn

A, B = randn(2, 3), randn(2, 3, seed=1)


@pytest.mark.parametrize(
    "function",
    [
        lambda m, a, b: m.cat((a, b)),
        lambda m, a, b: m.cat([a, b.t().t(), a], dim=-1),
        lambda m, a, b: m.concat((a, b), 1),
        lambda m, a, b: m.concatenate((a[:, :2], b), dim=1),
        lambda m, a, b: m.cat((a, m.zeros(0, dtype=m.float64), b), 1),
        lambda m, a, b: m.cat((a, b[:0])),
        lambda m, a, b: m.cat((a.float(), b)),
        lambda m, a, b: m.cat((a, m.ones(1, 3, dtype=m.int64))),
        lambda m, a, b: m.stack((a, b)),
        lambda m, a, b: m.stack((a, b), dim=-1),
        lambda m, a, b: m.stack((a.t(), b.t()), 1),
        lambda m, a, b: m.stack((a[0, 0], b[0, 0])),
        lambda m, a, b: (m.hstack((a, b)), m.hstack((a[0], b[1])), m.hstack((a[0, 0], b[0]))),
        lambda m, a, b: (m.vstack((a, b)), m.vstack((a[0], b[1]))),
        lambda m, a, b: (m.dstack((a, b)), m.dstack((a[0], b[1]))),
        lambda m, a, b: (m.column_stack((a, b)), m.column_stack((a[:, 0], b))),
        lambda m, a, b: m.block_diag(a, b[0], b[0, 0]),
        lambda m, a, b: m.broadcast_tensors(a[:1], b, b[:, :1]),
    ],
)
def test_joining(function):
    check(function, A, B)
    check(function, A.astype(np.float32), B.astype(np.float32))


def test_join_integers_and_out():
    i = np.arange(4).reshape(2, 2)
    check(lambda m, x, y: m.cat((x, y)), i, i.astype(np.uint8))
    check(lambda m, x, y: m.stack((x, y)), i > 1, i.astype(np.int8))
    check(lambda m, x: m.cat((x, x), out=m.empty(4, 2, dtype=m.int64)), i)


X = randn(5, 4, 6)


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: m.split(x, 2),
        lambda m, x: x.split([1, 3, 1]),
        lambda m, x: x.split(4, dim=-1),
        lambda m, x: m.chunk(x, 2),
        lambda m, x: x.chunk(4, 2),
        lambda m, x: x.chunk(9),
        lambda m, x: m.tensor_split(x, 3),
        lambda m, x: m.tensor_split(x, (1, 4), dim=2),
        lambda m, x: x.tensor_split([3, 2, 9]),
        lambda m, x: m.unbind(x),
        lambda m, x: x.unbind(-1)[2:4],
        lambda m, x: x.split(2)[1],
        lambda m, x: [row * 2 for row in x],
        lambda m, x: x.repeat(2, 1, 3),
        lambda m, x: x[0].repeat(2, 1, 1, 2),
        lambda m, x: x.repeat(0, 1, 1),
        lambda m, x: (m.tile(x, (2,)), x.tile(2, 1, 1, 2)),
        lambda m, x: m.repeat_interleave(x, 2),
        lambda m, x: x.repeat_interleave(3, dim=1),
        lambda m, x: m.repeat_interleave(x, m.tensor([0, 2, 1, 3]), dim=1),
        lambda m, x: m.flip(x, (0, 2)),
        lambda m, x: x.flip(1),
        lambda m, x: x.transpose(0, 2).flip(0, 1),
        lambda m, x: (m.fliplr(x), m.flipud(x)),
        lambda m, x: m.roll(x, 2, 0),
        lambda m, x: m.roll(x, (-1, 7), (1, 2)),
        lambda m, x: x.roll(5),
        lambda m, x: [m.rot90(x, k, (0, 1)) for k in range(-1, 5)],
        lambda m, x: m.rot90(x, 1, (2, 0)),
        lambda m, x: x.unfold(2, 3, 1),
        lambda m, x: x.unfold(0, 2, 3),
        lambda m, x: x.transpose(0, 1).unfold(-1, 4, 2),
        lambda m, x: m.broadcast_to(x, (2, 5, 4, 6)),
        lambda m, x: m.atleast_3d(x[0, 0, 0], x[0, 0], x[0]),
        lambda m, x: m.meshgrid(x[0, 0], x[0, :, 0], indexing="ij"),
        lambda m, x: m.meshgrid(x[0, 0], x[0, :, 0], x[:, 0, 0], indexing="xy"),
    ],
)
def test_one_input(function):
    check(function, X)
    check(function, X.astype(np.float32).transpose(2, 1, 0).copy().transpose(2, 1, 0))


def test_zero_size():
    x = np.zeros((0, 3))
    check(lambda m, x: m.cat((x, x)), x)
    check(lambda m, x: x.split(2), x)
    check(lambda m, x: x.chunk(2), x)
    check(lambda m, x: m.flip(x, (0, 1)), x)
    check(lambda m, x: m.roll(x, 1, 0), x)
    check(lambda m, x: m.stack((x, x), 1), x)


def test_views_share_memory():
    x = tg.zeros(4, 6)
    x.split(2)[1].fill_(1)
    x.unbind(1)[0].fill_(2)
    x.unfold(1, 2, 2)[0, 2].fill_(3)
    assert x.tolist() == [[2, 0, 0, 0, 3, 3], [2, 0, 0, 0, 0, 0]] + [[2, 1, 1, 1, 1, 1]] * 2


def test_broadcast_shapes():
    assert tg.broadcast_shapes((2, 1), (3,), ()) == (2, 3)
    with pytest.raises(RuntimeError):
        tg.broadcast_shapes((2,), (3,))


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: m.cat(()),
        lambda m, x: m.cat((x, x[0])),
        lambda m, x: m.cat((x, x[:, :2])),
        lambda m, x: m.cat((x, x), 3),
        lambda m, x: m.cat((x[0, 0, 0], x)),
        lambda m, x: m.cat((x, 1)),
        lambda m, x: m.cat(x),
        lambda m, x: m.hstack(x),
        lambda m, x: m.vstack(iter([x])),
        lambda m, x: m.stack(x),
        lambda m, x: m.stack((x, x[:1])),
        lambda m, x: m.stack(()),
        lambda m, x: m.stack((x, x), 5),
        lambda m, x: x.split([1, 1]),
        lambda m, x: x.split([6, -1]),
        lambda m, x: x.split(0),
        lambda m, x: x.chunk(0),
        lambda m, x: x[0, 0, 0].unbind(),
        lambda m, x: x.repeat(2),
        lambda m, x: m.flip(x, (0, 0)),
        lambda m, x: m.flip(x, (3,)),
        lambda m, x: m.roll(x, (1, 2), 0),
        lambda m, x: x.unfold(0, 6, 1),
        lambda m, x: x.unfold(0, 2, 0),
        lambda m, x: m.broadcast_tensors(x, m.zeros(5)),
        lambda m, x: m.meshgrid(x[0, 0], indexing="ab"),
        lambda m, x: m.meshgrid(x, indexing="ij"),
        lambda m, x: m.meshgrid(x[0, 0], x[0, 0].float(), indexing="ij"),
        lambda m, x: m.atleast_1d(3),
        lambda m, x: m.rot90(x, 1, (0, 0)),
    ],
)
def test_complaints_have_pytorch_types(function):
    raised = []
    for m in (tg, torch):
        with pytest.raises((RuntimeError, IndexError, ValueError, TypeError)) as caught:
            function(m, m.from_numpy(X.copy()))
        raised.append(caught.type)
    assert raised[0] is raised[1], raised


def test_gradients_that_lie_side_by_side_are_not_copied():
    x = tg.arange(24.0).reshape(2, 3, 4)
    rejoin = tg._C.rejoin
    for dim in (0, 1, 2, -1):
        for parts, unbound in ((x.unbind(dim), True), (x.split(1, dim), False)):
            whole = rejoin(parts, dim, unbound)
            assert whole.data_ptr() == x.data_ptr()
            assert whole.tolist() == x.tolist()
            assert rejoin(parts[::-1], dim, unbound) is None
            assert rejoin([part.clone() for part in parts], dim, unbound) is None
            assert rejoin([*parts[:-1], parts[0]], dim, unbound) is None
    assert rejoin(x.split([1, 2, 1], 2), 2, False).tolist() == x.tolist()
    assert rejoin([x[:, :2], x[:, :2]], 1, False) is None
    assert rejoin([x[0], x[0]], 0, True) is None


def test_split_method_names_its_size():
    check(lambda m, x: x.split(split_size=2, dim=1)[1], randn(3, 5))
    check(lambda m, x: x.split(split_size=[1, 4], dim=-1)[1], randn(3, 5))
