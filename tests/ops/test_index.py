"""Keys, gathers and scatters against PyTorch: values, gradients, in-place writes, complaints."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import assert_same, check, check_error, randn


def ints(m, *values, dtype="int64"):
    return m.tensor(values[0] if len(values) == 1 else list(values), dtype=getattr(m, dtype))


X = randn(4, 5, 6)
MASK = X > 0.3
ROW_MASK = np.array([True, False, True, True])

BASIC = [
    lambda m: 1,
    lambda m: -1,
    lambda m: slice(1, 3),
    lambda m: slice(None, None, 2),
    lambda m: slice(-3, None),
    lambda m: slice(3, 1),
    lambda m: slice(-100, 100, 3),
    lambda m: (slice(None), 0),
    lambda m: (0, 1, 2),
    lambda m: (..., 2),
    lambda m: (1, ..., slice(1, 5, 2)),
    lambda m: None,
    lambda m: (None, 1, None, slice(2)),
    lambda m: ...,
    lambda m: (),
    lambda m: (slice(None), None, ..., None),
    lambda m: np.int64(2),
    lambda m: (np.int32(1), slice(np.int64(1), np.int64(3))),
    lambda m: ints(m, 2),
    lambda m: (slice(ints(m, 1), ints(m, 3)), ints(m, -1)),
]

ADVANCED = [
    lambda m: True,
    lambda m: False,
    lambda m: (True, slice(1), None),
    lambda m: (slice(None), True, 0),
    lambda m: m.tensor(True),
    lambda m: ints(m, 0, 2, 2, -1),
    lambda m: ints(m, [[0, 1], [3, 3]]),
    lambda m: ints(m, 0, 2, dtype="int32"),
    lambda m: [0, 3, 0],
    lambda m: [],
    lambda m: [True, False, True, False],
    lambda m: np.array([1, -2]),
    lambda m: (ints(m, 0, 2), ints(m, 1, 3)),
    lambda m: (ints(m, [[0], [2]]), ints(m, 1, 3, 4)),
    lambda m: (ints(m, 0, 2), slice(1, 3), ints(m, 1, 3)),
    lambda m: (ints(m, 0, 2), slice(1, 3)),
    lambda m: (slice(None), ints(m, 0, 2), ints(m, 1, 3)),
    lambda m: (slice(None), slice(None), ints(m, 0, 2)),
    lambda m: (..., ints(m, [[0, 2], [5, -6]])),
    lambda m: (0, slice(None), ints(m, 0, 2)),
    lambda m: (ints(m, 0, 2), None, 1),
    lambda m: (ints(m, 1), ints(m, 0, 2)),
    lambda m: ([0, 1], np.array([2, 2]), slice(None, None, 2)),
    lambda m: (slice(None), [1, 2], None, [0, 3]),
    lambda m: m.from_numpy(MASK),
    lambda m: m.from_numpy(ROW_MASK),
    lambda m: ROW_MASK,
    lambda m: (m.from_numpy(ROW_MASK), 1),
    lambda m: (m.from_numpy(ROW_MASK), ints(m, 0, 1, 2)),
    lambda m: (slice(None), m.from_numpy(MASK[0])),
    lambda m: m.from_numpy(np.zeros((4, 5), dtype=bool)),
    lambda m: (m.from_numpy(MASK[:, :, 0]), slice(0, 2)),
    lambda m: m.zeros(0, 3, dtype=m.int64),
]


@pytest.mark.parametrize("key", BASIC + ADVANCED)
def test_getitem(key):
    check(lambda m, x: x[key(m)], X)
    check(lambda m, x: x.transpose(0, 2).transpose(0, 2)[key(m)], X)
    check(lambda m, x: x[key(m)], X.astype(np.float32).transpose(2, 1, 0).copy().transpose(2, 1, 0))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "float32"])
def test_getitem_dtypes(dtype):
    x = (X * 10).astype(dtype)
    check(lambda m, x: (x[1:, 2], x[[2, 0]], x[:, [1, 2], 3]), x)


@pytest.mark.parametrize("key", BASIC)
def test_basic_getitem_is_a_view(key):
    x = tg.zeros(4, 5, 6)
    y = x[key(tg)]
    y.fill_(1)
    assert float(x.sum()) == y.numel()


@pytest.mark.parametrize("key", BASIC + ADVANCED)
def test_setitem(key):
    def fill(m, x):
        y = x.clone()
        y[key(m)] = 2.5
        return y

    def write(m, x, values):
        y = x * 1
        y[key(m)] = y[key(m)].detach().clone() * values
        return y

    def write_plain(m, x):
        y = m.zeros(4, 5, 6, dtype=m.float64)
        part = y[key(m)]
        y[key(m)] = m.ones(tuple(part.shape), dtype=m.float64)
        return y

    check(fill, X)
    check(write, X, randn(1, seed=3))
    check(write_plain, X)


def test_zero_size_and_scalars():
    empty = np.zeros((0, 3))
    check(lambda m, x: (x[:, 1], x[:0], x[m.zeros(0, dtype=m.int64)], x[x > 0]), empty)
    check(lambda m, x: (x[...], x[None], x[True], x[()], x[x > -1e9]), np.array(2.0))


def test_nested_lists_are_one_index_tensor():
    x = tg.from_numpy(X.copy())
    np.testing.assert_array_equal(x[[[0, 3], [1, 1]]].numpy(), X[np.array([[0, 3], [1, 1]])])


def test_double_backward():
    for key in [(slice(1, None), 0), (slice(None), [0, 0, 2])]:
        x = tg.from_numpy(X.copy()).requires_grad_()
        theirs = torch.from_numpy(X.copy()).requires_grad_()
        for m, leaf in ((tg, x), (torch, theirs)):
            y = (leaf * leaf * leaf)[key].sum()
            (first,) = m.autograd.grad(y, leaf, create_graph=True)
            (first * first).sum().backward()
        assert_same(x.grad, theirs.grad, None, None, str(key))


@pytest.mark.parametrize(
    ("key", "exception"),
    [
        (lambda m: 4, IndexError),
        (lambda m: -5, IndexError),
        (lambda m: (0, 0, 6), IndexError),
        (lambda m: (0, 0, 0, 0), IndexError),
        (lambda m: (slice(None),) * 4, IndexError),
        (lambda m: slice(None, None, -1), ValueError),
        (lambda m: slice(None, None, 0), ValueError),
        (lambda m: slice(1.5, 2), TypeError),
        (lambda m: 1.5, IndexError),
        (lambda m: "a", TypeError),
        (lambda m: [4], IndexError),
        (lambda m: ints(m, 0, -5), IndexError),
        (lambda m: (ints(m, 0, 1), ints(m, 0, 1, 2)), IndexError),
        (lambda m: m.zeros(2), IndexError),
        (lambda m: ints(m, 0, 1, dtype="int16"), IndexError),
        (lambda m: m.zeros(3, dtype=m.bool), IndexError),
        (lambda m: m.zeros(4, 6, dtype=m.bool), IndexError),
        (lambda m: m.zeros(4, 5, 6, 1, dtype=m.bool), IndexError),
        (lambda m: (0, 0, 0, ints(m, 0, 1)), IndexError),
    ],
)
def test_bad_keys(key, exception):
    for m in (tg, torch):
        x = m.from_numpy(X.copy())
        with pytest.raises(exception):
            x[key(m)]
        with pytest.raises(exception):
            x[key(m)] = 1.0
        if m is tg:  # PyTorch may have written before it found the bad index
            np.testing.assert_array_equal(x.numpy(), X)


def test_messages():
    x = tg.zeros(3, 2)
    check_error(IndexError, "index 5 is out of bounds for dimension 0 with size 3", lambda: x[5])
    check_error(IndexError, "too many indices for tensor of dimension 2", lambda: x[0, 0, 0])
    check_error(
        IndexError, "index 7 is out of bounds for dimension 1 with size 2", lambda: x[:, [7]]
    )
    check_error(IndexError, "shape of the mask", lambda: x[tg.zeros(2, dtype=tg.bool)])
    check_error(IndexError, "invalid index of a 0-dim tensor", lambda: tg.tensor(1.0)[0])
    check_error(TypeError, "can't assign a list", lambda: x.__setitem__(0, [1, 2]))
    check_error(RuntimeError, "broadcast", lambda: x.__setitem__(0, tg.zeros(3)))
    check_error(RuntimeError, "shape mismatch", lambda: x.__setitem__([0, 1], tg.zeros(3)))
    leaf = tg.zeros(3, requires_grad=True)
    check_error(RuntimeError, "leaf", lambda: leaf.__setitem__(0, 1.0))


INDEX = np.array([[0, 3, 1], [2, 2, 0]])


def test_gather_family():
    x = randn(4, 3)
    check(lambda m, x, i: m.gather(x, 0, i), x, INDEX)
    check(lambda m, x, i: x.t().gather(1, i.t()), x, INDEX)
    check(lambda m, x, i: x.gather(-1, i % 3), x, INDEX)
    check(lambda m, x, i: m.index_select(x, 0, i[0]), x, INDEX)
    check(lambda m, x, i: x.t().index_select(-1, i[1]), x, INDEX)
    check(lambda m, x, i: m.take(x, i - 3), x, INDEX)
    check(lambda m, x, i: m.take_along_dim(x, i, 0), x, INDEX)
    check(lambda m, x, i: m.take_along_dim(x, i[:, :1], dim=0), x, INDEX)
    check(lambda m, x, i: m.take_along_dim(x, i), x, INDEX)
    check(lambda m, x: m.masked_select(x, x > 0), x)
    check(lambda m, x: x.masked_select(x[:1] > 0), x)
    check(lambda m, x: m.gather(x, 0, m.tensor(0)), np.array(3.0))


def test_nonzero():
    for array in (MASK, X, np.array(2.0), np.zeros((0, 2)), np.array([np.nan, 0.0, -0.0])):
        check(lambda m, x: m.nonzero(x), array, grad=False)
        check(lambda m, x: m.nonzero(x, as_tuple=True), array, grad=False)
        check(lambda m, x: m.argwhere(x), array, grad=False)


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: m.gather(x, 0, m.tensor([[4, 0, 0]])),
        lambda m, x: m.gather(x, 0, m.tensor([[-1, 0, 0]])),
        lambda m, x: m.gather(x, 0, m.tensor([0])),
        lambda m, x: m.gather(x, 0, m.tensor([[0, 0, 0, 0]])),
        lambda m, x: m.gather(x, 0, m.tensor([[0.0]])),
        lambda m, x: m.gather(x, 2, m.tensor([[0]])),
        lambda m, x: m.index_select(x, 0, m.tensor([4])),
        lambda m, x: m.index_select(x, 0, m.tensor([[0]])),
        lambda m, x: m.take(x, m.tensor([12])),
        lambda m, x: m.masked_select(x, m.tensor([1])),
    ],
)
def test_complaints_have_pytorch_types(function):
    raised = []
    for m in (tg, torch):
        with pytest.raises((RuntimeError, IndexError, ValueError, TypeError)) as caught:
            function(m, m.from_numpy(randn(4, 3)))
        raised.append(caught.type)
    assert raised[0] is raised[1]
