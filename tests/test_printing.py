"""repr() of tensors, string for string against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check_error, complex_randn, randn


def same(array, **options):
    ours, theirs = repr(tg.from_numpy(array)), repr(torch.from_numpy(array))
    assert ours == theirs.replace("dtype=torch.", "dtype=tilegrad."), f"\n{ours}\n{theirs}"


ARRAYS = [
    np.array([[1.0, 2.0], [3.0, 4.0]]),
    np.array([[1.5, -2.25], [3.0, 400.0]], dtype=np.float32),
    np.array([1.0, 2.0, 1001.0], dtype=np.float32),
    np.array([1.0, 100000.0, 5e8], dtype=np.float32),
    np.array([1e-5, 1.0], dtype=np.float32),
    np.array([1e-5, 2e-5], dtype=np.float32),
    np.array([1e20, -3.5], dtype=np.float64),
    np.array([0.0, -0.0, 1.0], dtype=np.float32),
    np.array([np.nan, np.inf, -np.inf], dtype=np.float32),
    np.array([np.nan, 1.0, -np.inf], dtype=np.float32),
    np.array([np.nan, 1.5, -np.inf], dtype=np.float32),
    np.array([np.inf, 1e-9], dtype=np.float32),
    np.array(3.0, dtype=np.float32),
    np.array(3.14159265, dtype=np.float64),
    np.array(7),
    np.array(True),
    np.array([True, False]),
    np.array([1, -20, 300]),
    np.array([1, -20, 300], dtype=np.int32),
    np.array([[1, 2], [3, 200]], dtype=np.uint8),
    np.zeros((0,), dtype=np.float32),
    np.zeros((0, 3), dtype=np.float32),
    np.zeros((2, 0, 3), dtype=np.int64),
    np.zeros((0,), dtype=np.int64),
    np.zeros((2, 2), dtype=np.float32),
    randn(3, 4),
    randn(3, 4, dtype=np.float32),
    randn(2, 3, 4, dtype=np.float32),
    randn(2, 1, 3, 2, dtype=np.float32) * 1000,
    randn(40, dtype=np.float32),
    randn(2, 40) * 1e-3,
    np.arange(1000),
    np.arange(1001),
    np.arange(2000.0).reshape(40, 50),
    randn(50, 50, dtype=np.float32),
    randn(4, 400, 3, dtype=np.float32),
    randn(5000, 1),
    randn(2, 3, 20, 20) > 0,
]

COMPLEX = [
    complex_randn(3),
    complex_randn(2, 3, dtype=np.complex64),
    np.array([1 + 2j, -3, 0]),
    np.array([1e-5 + 1000j, 3], dtype=np.complex64),
    np.array([complex(np.nan, 1), complex(np.inf, -np.inf), -0.0]),
    np.array(1 - 1j, dtype=np.complex64),
    np.zeros((0, 2), np.complex64),
    complex_randn(4, 400, dtype=np.complex64),
    complex_randn(30, dtype=np.complex64) * 100,
]


@pytest.mark.parametrize("array", ARRAYS)
def test_values(array):
    same(array)


@pytest.mark.parametrize("array", COMPLEX)
def test_complex_values(array):
    same(array)


@pytest.mark.parametrize(
    "options",
    [
        {"precision": 2},
        {"precision": 8, "linewidth": 60},
        {"threshold": 5, "edgeitems": 1},
        {"sci_mode": True},
        {"sci_mode": False},
        {"profile": "short"},
        {"profile": "full", "linewidth": 100},
    ],
)
def test_options(options):
    tg.set_printoptions(**options)
    torch.set_printoptions(**options)
    try:
        for array in [
            *ARRAYS[:-8],
            COMPLEX[1],
            COMPLEX[3],
            COMPLEX[-1],
            randn(5, 9, dtype=np.float32),
            np.arange(20),
        ]:
            same(array)
    finally:
        tg.set_printoptions(profile="default")
        torch.set_printoptions(profile="default")


def test_gradient_suffixes():
    for shape in [(2,), (3, 4), (2, 30)]:
        array = randn(*shape, dtype=np.float32)
        ours, theirs = tg.from_numpy(array), torch.from_numpy(array)
        ours.requires_grad_()
        theirs.requires_grad_()
        assert repr(ours) == repr(theirs)
        assert repr(ours + 1) == repr(theirs + 1)
        double = repr(theirs.double() + 1).replace("torch.", "tilegrad.")
        assert repr(ours.double() + 1) == double


def test_str_and_format():
    x = tg.tensor([1.0, 2.0])
    assert str(x) == f"{x}" == repr(x) == "tensor([1., 2.])"
    assert f"{tg.tensor(2.5):.2f}" == "2.50"
    check_error(ValueError, "profile", lambda: tg.set_printoptions(profile="long"))
