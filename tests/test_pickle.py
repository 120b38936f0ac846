"""Tensors through pickle, copy and another process."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

import tilegrad as tg
from support import complex_randn, randn


class Parameter(tg.Tensor):
    """A subclass with an attribute and a constructor of its own."""

    def __new__(cls, data, requires_grad=True):
        return super().__new__(cls, data).requires_grad_(requires_grad)


ROUND_TRIPS = [copy.copy, copy.deepcopy] + [
    lambda x, p=protocol: pickle.loads(pickle.dumps(x, p))
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
]


@pytest.mark.parametrize("travel", ROUND_TRIPS)
@pytest.mark.parametrize(
    "array",
    [
        randn(3, 4),
        randn(3, 4, dtype=np.float32).T,
        np.arange(6).reshape(2, 3),
        np.array([True, False]),
        np.array(2.5),
        np.zeros((0, 3)),
        np.arange(4, dtype=np.uint8),
        complex_randn(2, 3),
        complex_randn(3, dtype=np.complex64),
    ],
)
def test_values_survive(travel, array):
    x = tg.from_numpy(array)
    y = travel(x)
    assert type(y) is tg.Tensor
    assert y.dtype is x.dtype
    assert y.shape == x.shape
    assert not y.requires_grad
    np.testing.assert_array_equal(y.numpy(), array)


@pytest.mark.parametrize("travel", ROUND_TRIPS)
def test_leaves_and_subclasses(travel):
    x = Parameter(tg.from_numpy(randn(3)))
    x.tag = "encoder"
    y = travel(x)
    assert type(y) is Parameter
    assert y.requires_grad
    assert y.is_leaf
    assert y.tag == "encoder"
    np.testing.assert_array_equal(y.detach().numpy(), x.detach().numpy())
    whole = travel(Parameter(tg.tensor([1, 2]), requires_grad=False))
    assert type(whole) is Parameter
    assert not whole.requires_grad


def test_a_result_loses_its_history_in_pickle():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = pickle.loads(pickle.dumps(x * 2))
    assert not y.requires_grad
    assert y.tolist() == [2.0, 4.0]
    with pytest.raises(RuntimeError):
        copy.deepcopy(x * 2)


def test_deepcopy_keeps_identity_and_memory_apart():
    x = tg.tensor([1.0, 2.0])
    first, second = copy.deepcopy([x, x])
    assert first is second
    first.fill_(0)
    assert x.tolist() == [1.0, 2.0]


def test_another_process(tmp_path):
    path = tmp_path / "tensor.pickle"
    path.write_bytes(pickle.dumps(tg.tensor([1.5, 2.5])))
    code = f"import pickle; print(pickle.load(open({str(path)!r}, 'rb')).tolist())"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[1.5, 2.5]"
