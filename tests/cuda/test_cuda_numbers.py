"""Tensors without dimensions on the CPU beside tensors on a device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, check_error, randn

pytestmark = pytest.mark.gpu
NUMBER = 0.75
X = np.abs(randn(2, 3)).astype(np.float32) + 0.5
INDEX = np.arange(1, 7).reshape(2, 3)
MASK = X > 0.9

FLOATS = ["add", "sub", "mul", "div", "pow", "maximum", "minimum", "fmax", "fmin", "atan2", "fmod",
          "remainder", "floor_divide", "logaddexp", "logaddexp2", "hypot", "copysign", "nextafter",
          "heaviside", "xlogy", "float_power", "eq", "lt", "isclose", "special.xlog1py",
          "special.zeta"]  # fmt: skip
INTEGERS = ["bitwise_and", "bitwise_xor", "gcd", "lcm", "bitwise_left_shift", "floor_divide"]


def named(m, name):
    for part in name.split("."):
        m = getattr(m, part)
    return m


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("number_first", [False, True])
def test_numbers_on_the_cpu(name, number_first):
    pairs = [(tg.from_numpy(X).cuda(), tg.tensor(NUMBER)),
             (torch.from_numpy(X), torch.tensor(NUMBER))]  # fmt: skip
    found, expected = (
        named(m, name)(*(reversed(pair) if number_first else pair))
        for m, pair in zip((tg, torch), pairs, strict=True)
    )
    assert found.device.type == "cuda"
    np.testing.assert_allclose(as_array(found), expected.numpy(), rtol=2e-5)


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_on_the_cpu(name):
    there, number = tg.from_numpy(INDEX).cuda(), tg.tensor(3)
    for m_pair, torch_pair in (
        ((there, number), (torch.from_numpy(INDEX), torch.tensor(3))),
        ((number, there), (torch.tensor(3), torch.from_numpy(INDEX))),
    ):
        found = getattr(tg, name)(*m_pair)
        assert found.device.type == "cuda"
        np.testing.assert_array_equal(as_array(found), getattr(torch, name)(*torch_pair).numpy())


WRITES = {
    "mask": lambda m, x, mask, index, v: x.__setitem__(mask, v),
    "index": lambda m, x, mask, index, v: x.__setitem__(index[0] % 2, v),
    "two indices": lambda m, x, mask, index, v: x.__setitem__((index[0] % 2, index[1] % 3), v),
    "integer": lambda m, x, mask, index, v: x.__setitem__(0, v),
    "index_put_": lambda m, x, mask, index, v: x.index_put_((index[0] % 2,), v),
    "accumulated": lambda m, x, mask, index, v: x.index_put_((index[0] % 2,), v, accumulate=True),
}


def written(m, write, device, number_device):
    x = m.from_numpy(X.copy()).to(device)
    number = m.tensor(NUMBER, device=number_device, requires_grad=True)
    y = x.clone()
    write(m, y, m.from_numpy(MASK).to(device), m.from_numpy(INDEX).to(device), number)
    (y * y).sum().backward()
    assert number.grad.device == number.device
    x = x.clone()
    write(m, x, m.from_numpy(MASK).to(device), m.from_numpy(INDEX).to(device), number.detach())
    return as_array(y), as_array(x), as_array(number.grad)


@pytest.mark.parametrize("name", WRITES)
def test_numbers_are_written(name):
    expected = written(torch, WRITES[name], "cpu", "cpu")
    for places in (("cuda", "cpu"), ("cpu", "cuda")):
        for a, b in zip(written(tg, WRITES[name], *places), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


def test_index_put_out_of_place():
    x, index = tg.from_numpy(X).cuda(), tg.tensor([1], device="cuda")
    y = x.index_put((index,), tg.tensor(NUMBER))
    np.testing.assert_array_equal(as_array(y)[1], NUMBER)
    vector = tg.tensor([NUMBER])
    check_error(RuntimeError, "one device", lambda: x.index_put((index,), vector))


@pytest.mark.parametrize("weight", [0.3, 0.75])
def test_lerp_takes_a_number_from_the_cpu(weight):
    def run(m, device):
        x, end = (m.from_numpy(a).to(device).requires_grad_() for a in (X, X[::-1].copy()))
        number = m.tensor(weight, requires_grad=True)
        y = m.lerp(x, end, number)
        (y * y).sum().backward()
        assert number.grad.device == number.device
        return [as_array(t) for t in (y, x.grad, end.grad, number.grad)]

    for a, b in zip(run(tg, "cuda"), run(torch, "cpu"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["mul", "add", "div", "hypot", "logaddexp"])
@pytest.mark.parametrize("shape", [(2, 3), ()])
def test_gradients_of_numbers_go_back_to_the_cpu(name, shape):
    number = tg.tensor(NUMBER, requires_grad=True)
    there = tg.ones(shape, device="cuda", requires_grad=True)
    getattr(tg, name)(there, number).sum().backward()
    assert number.grad.device.type == "cpu" and number.grad.shape == ()
    assert there.grad.device.type == "cuda"
    ours, theirs = torch.tensor(NUMBER, requires_grad=True), torch.ones(shape, requires_grad=True)
    getattr(torch, name)(theirs, ours).sum().backward()
    np.testing.assert_allclose(as_array(number.grad), ours.grad.numpy(), rtol=1e-6)
