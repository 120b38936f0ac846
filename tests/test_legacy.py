"""Constructors and methods from PyTorch's first years, argument for argument."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check_error

TYPES = ["Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool"]


def shown(x):
    """A tensor as its type and values; of sizes alone only the shape is known."""
    return str(x.dtype).split(".")[1], tuple(x.shape), x.tolist()


@pytest.mark.parametrize(
    "make",
    [
        lambda m: m.Tensor([1, 2]),
        lambda m: m.Tensor((2, 3)),
        lambda m: m.Tensor([[1, 2], [3, 4]]),
        lambda m: m.Tensor(range(3)),
        lambda m: m.Tensor(np.arange(3)),
        lambda m: m.Tensor([True, False]),
        lambda m: m.Tensor(),
        lambda m: m.Tensor([]),
        lambda m: m.Tensor([1.5], device="cpu"),
        lambda m: m.Tensor(m.ones(2, dtype=m.int64)),
        lambda m: m.LongTensor([1.7, -1.7]),
        lambda m: m.IntTensor(np.array([1.7])),
        lambda m: m.BoolTensor([0, 1]),
        lambda m: m.ByteTensor([1, 2]),
        lambda m: m.FloatTensor(m.ones(2)),
        lambda m: m.ones(2, dtype=m.int32).new([1, 2]),
        lambda m: m.ones(2).new(),
        lambda m: m.ones(2).type("torch.LongTensor"),
        lambda m: m.ones(2).type(m.LongTensor),
        lambda m: m.ones(2).type(m.float64),
        lambda m: m.ones(2).long().type(m.BoolTensor),
        lambda m: m.autograd.Variable(m.ones(2)),
        lambda m: m.Tensor(0, 3),
        lambda m: m.LongTensor(m.empty(0, 2).shape),
    ],
)
def test_values(make):
    assert shown(make(tg)) == shown(make(torch))


@pytest.mark.parametrize(
    "make",
    [
        lambda m: m.Tensor(2, 3),
        lambda m: m.Tensor(4),
        lambda m: m.Tensor(m.ones(2, 3).shape),
        lambda m: m.LongTensor(2, 3),
        lambda m: m.HalfTensor(1, 0, 2),
        lambda m: m.ones(1, dtype=m.int8).new(2, 3),
    ],
)
def test_sizes(make):
    assert shown(make(tg))[:2] == shown(make(torch))[:2]


@pytest.mark.parametrize("kind", TYPES)
def test_types(kind):
    name = f"{kind}Tensor"
    ours, theirs = getattr(tg, name), getattr(torch, name)
    assert ours.dtype.name == str(theirs.dtype).split(".")[1]
    assert ours([1, 0]).type() == theirs([1, 0]).type() == f"torch.{name}"
    assert isinstance(ours(2), ours)
    assert [isinstance(tg.ones(1), getattr(tg, f"{k}Tensor")) for k in TYPES] == [True] + [
        False
    ] * 9
    assert str(ours) == str(theirs) and tg.ones(2).type(f"torch.{name}").dtype is ours.dtype


@pytest.mark.parametrize(
    "make",
    [
        lambda m: m.Tensor(2.5),
        lambda m: m.Tensor(True),
        lambda m: m.Tensor("x"),
        lambda m: m.Tensor(None),
        lambda m: m.Tensor([[1, 2], [3]]),
        lambda m: m.Tensor(-1),
        lambda m: m.FloatTensor(m.ones(2, dtype=m.int64)),
        lambda m: m.ones(2).type("LongTensor"),
        lambda m: m.ones(2).type(int),
        lambda m: m.autograd.Variable([1]),
        lambda m: m.set_default_tensor_type("torch.LongTensor"),
        lambda m: m.cuda.FloatTensor([1]) if not m.cuda.is_available() else m.Tensor(None),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_complaints(make):
    with pytest.raises(Exception) as theirs:
        make(torch)
    check_error(theirs.type, "", lambda: make(tg))


def test_memory_is_shared_and_derived_classes_work():
    class Mine(tg.Tensor):
        pass

    x = tg.ones(2)
    tg.Tensor(x).fill_(3)
    Mine(x)[0] = 4
    assert x.tolist() == [4, 3] and type(Mine(x)) is Mine and type(Mine([1])) is Mine
    assert isinstance(tg.nn.Parameter(x), tg.nn.Parameter)


def test_variables():
    Variable = tg.autograd.Variable
    x = tg.ones(2)
    v = Variable(x, requires_grad=True)
    assert v.requires_grad and not x.requires_grad and v.data_ptr() == x.data_ptr()
    (v * 2).sum().backward()
    assert v.grad.tolist() == [2, 2] and isinstance(x, Variable) and not isinstance(3, Variable)
    assert not Variable(v * 2).requires_grad
    with pytest.warns(UserWarning, match="volatile was removed"):
        Variable(x, volatile=True)


def test_the_default_type():
    try:
        tg.set_default_tensor_type("torch.DoubleTensor")
        assert tg.ones(1).dtype is tg.float64 and tg.Tensor([1]).dtype is tg.float64
        tg.set_default_tensor_type(tg.FloatTensor)
        assert tg.ones(1).dtype is tg.float32
    finally:
        tg.set_default_dtype(tg.float32)
    check_error(TypeError, "floating-point", lambda: tg.set_default_tensor_type(tg.LongTensor))
    check_error(ValueError, "invalid type", lambda: tg.set_default_tensor_type("Float"))


@pytest.mark.parametrize("name", ["empty", "zeros", "ones", "rand", "randn"])
def test_sizes_by_name(name):
    for m in (tg, torch):
        function = getattr(m, name)
        assert tuple(function(size=(2, 3)).shape) == tuple(function(2, 3).shape) == (2, 3)
        assert tuple(function(size=[]).shape) == () and tuple(function(size=[0]).shape) == (0,)
        with pytest.raises(TypeError):
            function(2, size=(3,))
