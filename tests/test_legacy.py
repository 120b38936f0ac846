"""Constructors and methods from PyTorch's first years, argument for argument."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check, check_error, randn

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


# --- numbers before the tensors that they multiply ----------------------------------------------

FACTORS_FIRST = {
    "add": lambda m, x, y: x.add(2, y),
    "torch.add": lambda m, x, y: m.add(x, -0.5, y),
    "add_": lambda m, x, y: x.clone().add_(2, y),
    "add_, recorded": lambda m, x, y: (x * 1).add_(3, y),
    "sub": lambda m, x, y: m.sub(x, 2, y),
    "sub_": lambda m, x, y: x.clone().sub_(2, y),
    "addcmul": lambda m, x, y: m.addcmul(x, 2, x, y),
    "addcmul_": lambda m, x, y: x.clone().addcmul_(2, x, y),
    "addcdiv": lambda m, x, y: x.addcdiv(2, x, y.exp()),
    "addcdiv_": lambda m, x, y: x.clone().addcdiv_(2, x, y.exp()),
    "addmm": lambda m, x, y: m.addmm(2, x, 3, x, y),
    "addmm, beta": lambda m, x, y: m.addmm(2, x, x, y),
    "addmm_": lambda m, x, y: x.clone().addmm_(2, 3, x, y),
    "baddbmm": lambda m, x, y: m.baddbmm(2, x[None], 3, x[None], y[None]),
    "addbmm": lambda m, x, y: m.addbmm(2, x, 3, x[None], y[None]),
    "addmv": lambda m, x, y: m.addmv(2, x[0], 3, x, y[1]),
    "addr": lambda m, x, y: x.addr(2, 3, x[0], y[1]),
}


@pytest.mark.parametrize("call", FACTORS_FIRST.values(), ids=FACTORS_FIRST)
@pytest.mark.filterwarnings("ignore:This overload of")
def test_factors_first(call):
    check(call, randn(3, 3), randn(3, 3))


def test_factors_first_warn_and_complain():
    x = tg.ones(2)
    for call in (lambda: x.add_(2, x), lambda: tg.addcmul(x, 2, x, x)):
        with pytest.warns(UserWarning, match="This overload of .* is deprecated"):
            call()
    for call in (
        lambda m, x: x.add_(x, x),
        lambda m, x: x.sub_(2, x, x),
        lambda m, x: m.add(x, 2, x, alpha=3),
        lambda m, x: m.addcmul(x, 2, 3, x, x),
        lambda m, x: x.addmm_(1, 2, 3, x, x),
    ):
        for m in (tg, torch):
            with pytest.raises(TypeError):
                call(m, m.ones(2))


SIZES_BY_NAME = {
    "view": lambda m, x: x.view(size=(3, 2)),
    "view, dtype": lambda m, x: x.view(dtype=m.int64).double(),
    "reshape": lambda m, x: x.reshape(shape=(3, -1)),
    "expand": lambda m, x: x.expand(size=(4, 2, 3)),
    "permute": lambda m, x: x.permute(dims=(1, 0)),
    "repeat": lambda m, x: x.repeat(repeats=(2, 1)),
    "tile": lambda m, x: x.tile(dims=(2, 1)),
    "new_zeros": lambda m, x: x.new_zeros(size=(2, 3)),
    "new_ones": lambda m, x: x.new_ones(size=(2, 3), dtype=m.float32),
    "new_empty": lambda m, x: x.new_empty(size=(2, 3)).fill_(1),
}


@pytest.mark.parametrize("call", SIZES_BY_NAME.values(), ids=SIZES_BY_NAME)
def test_methods_take_sizes_by_name(call):
    values = randn(2, 3)
    ours, theirs = call(tg, tg.from_numpy(values)), call(torch, torch.from_numpy(values))
    assert shown(ours) == shown(theirs)


def test_sizes_by_name_and_by_position():
    for call in (lambda x: x.view(6, size=(6,)), lambda x: x.repeat(2, 2, repeats=(2, 2))):
        for m in (tg, torch):
            with pytest.raises(TypeError):
                call(m.ones(2, 3))
