"""``out=``: what every function checks before it writes there, against PyTorch."""

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, check_error, randn

X = randn(3, 4, dtype=np.float32)


def test_an_empty_tensor_is_given_the_shape():
    for m in (tg, torch):
        out = m.empty(0)
        x = m.from_numpy(X)
        assert m.add(x, x, out=out) is out
        np.testing.assert_array_equal(as_array(out), 2 * X)
        whole = m.empty(0, dtype=m.int64)
        m.arange(5, out=whole)
        assert whole.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("m", [tg, torch])
def test_another_shape_is_changed_with_a_warning(m):
    out = m.ones(7)
    with pytest.warns(UserWarning, match="was resized"):
        m.mul(m.from_numpy(X), 2, out=out)
    np.testing.assert_array_equal(as_array(out), 2 * X)


def test_random_numbers_and_elements():
    for m in (tg, torch):
        out = m.empty(3, 4)
        assert m.bernoulli(m.ones(3, 4), out=out) is out
        assert out.sum().item() == 12
        places = m.empty(2, dtype=m.int64)
        assert m.multinomial(m.tensor([0.0, 1.0]), 2, True, out=places) is places
        assert places.tolist() == [1, 1]
        taken = m.empty(2)
        m.take(m.from_numpy(X), m.tensor([5, 0]), out=taken)
        assert taken.tolist() == [X.flat[5], X.flat[0]]


def complaints(m):
    x = m.ones(6)
    at = m.tensor([2, 1, 0])
    wide = m.ones(1).expand(6)
    return {
        "cast": (RuntimeError, lambda: m.add(x, 0.5, out=m.ones(6, dtype=m.int64))),
        "exact gather": (RuntimeError, lambda: m.gather(x, 0, at, out=m.ones(3).double())),
        "exact aminmax": (RuntimeError, lambda: m.aminmax(x, dim=0, out=[m.ones(()).double()] * 2)),
        "exact multinomial": (RuntimeError, lambda: m.multinomial(x, 2, out=m.ones(2))),
        "one place for many": (RuntimeError, lambda: m.add(x, x, out=wide)),
        "cat": (RuntimeError, lambda: m.cat([x, x], out=x)),
        "cat part": (RuntimeError, lambda: m.cat([x[:2], x[2:4]], out=x[1:5])),
        "take": (RuntimeError, lambda: m.take(x, at, out=x)),
        "gather index": (RuntimeError, lambda: m.gather(at + 0, 0, at[1:], out=at[:1])),
        "masked": (RuntimeError, lambda: m.masked_select(x, x > 0, out=x)),
        "gradient": (RuntimeError, lambda: m.exp(x.clone().requires_grad_(), out=m.ones(6))),
        "no tensor": (TypeError, lambda: m.exp(x, out=[1])),
        "step": (ValueError, lambda: m.arange(0, 4, 0.5, out=m.empty(0, dtype=m.int64))),
    }  # fmt: skip


@pytest.mark.parametrize("name", complaints(tg))
def test_complaints(name):
    for m in (torch, tg):
        exception, function = complaints(m)[name]
        check_error(exception, "", function)


NUMBERS = {
    "maximum": lambda m: m.maximum(m.ones(2), 1),
    "atan2": lambda m: m.atan2(m.ones(2), 1.0),
    "fmod": lambda m: m.fmod(2, m.ones(2)),
    "remainder": lambda m: m.remainder(3, 2),
    "pow": lambda m: m.pow(3, 2),
    "bitwise_and": lambda m: m.bitwise_and(3, 2),
    "rsub": lambda m: m.rsub(2, m.ones(2)),
    "ldexp": lambda m: m.ldexp(m.ones(2), 2),
    "clamp_min": lambda m: m.clamp_min(2, m.ones(2)),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_where_tensors_belong(name):
    for m in (torch, tg):
        check_error(TypeError, "", lambda: NUMBERS[name](m))
