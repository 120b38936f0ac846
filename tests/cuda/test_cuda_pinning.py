"""Page-locked memory: the argument ``pin_memory`` of functions that make tensors."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import as_array, check_error, randn

pytestmark = pytest.mark.gpu

FACTORIES = {
    "empty": lambda **o: tg.empty(3, 2, **o),
    "zeros": lambda **o: tg.zeros(3, **o),
    "ones": lambda **o: tg.ones(3, **o),
    "full": lambda **o: tg.full((2,), 7, **o),
    "tensor": lambda **o: tg.tensor([1.0, 2.0], **o),
    "scalar_tensor": lambda **o: tg.scalar_tensor(3, **o),
    "arange": lambda **o: tg.arange(3, **o),
    "linspace": lambda **o: tg.linspace(0, 1, 3, **o),
    "logspace": lambda **o: tg.logspace(0, 1, 3, **o),
    "eye": lambda **o: tg.eye(2, **o),
    "empty_strided": lambda **o: tg.empty_strided((2, 3), (1, 2), **o),
    "empty_permuted": lambda **o: tg.empty_permuted((2, 3), (1, 0), **o),
    "rand": lambda **o: tg.rand(3, **o),
    "randn": lambda **o: tg.randn(3, **o),
    "randint": lambda **o: tg.randint(5, (3,), **o),
    "randperm": lambda **o: tg.randperm(5, **o),
    "normal": lambda **o: tg.normal(0.0, 1.0, (3,), **o),
    "empty_like": lambda **o: tg.empty_like(tg.ones(2), **o),
    "zeros_like": lambda **o: tg.zeros_like(tg.ones(2), **o),
    "ones_like": lambda **o: tg.ones_like(tg.ones(2), **o),
    "full_like": lambda **o: tg.full_like(tg.ones(2), 3, **o),
    "rand_like": lambda **o: tg.rand_like(tg.ones(2), **o),
    "randn_like": lambda **o: tg.randn_like(tg.ones(2), **o),
    "randint_like": lambda **o: tg.randint_like(tg.ones(2), 5, **o),
    "new_empty": lambda **o: tg.ones(2).new_empty(3, **o),
    "new_zeros": lambda **o: tg.ones(2).new_zeros(3, **o),
    "new_ones": lambda **o: tg.ones(2).new_ones(3, **o),
    "new_full": lambda **o: tg.ones(2).new_full((3,), 4, **o),
    "new_empty_strided": lambda **o: tg.ones(2).new_empty_strided((3,), (2,), **o),
    "tril_indices": lambda **o: tg.tril_indices(3, 3, **o),
    "triu_indices": lambda **o: tg.triu_indices(3, 3, **o),
    "hann_window": lambda **o: tg.hann_window(5, **o),
    "kaiser_window": lambda **o: tg.kaiser_window(5, **o),
    "fftfreq": lambda **o: tg.fft.fftfreq(5, **o),
    "rfftfreq": lambda **o: tg.fft.rfftfreq(5, **o),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_factories_pin(name):
    make = FACTORIES[name]
    tg.manual_seed(3)
    plain = make()
    tg.manual_seed(3)
    pinned = make(pin_memory=True)
    assert pinned.is_pinned() and not plain.is_pinned() and not make(pin_memory=False).is_pinned()
    assert pinned.dtype is plain.dtype and pinned.shape == plain.shape
    assert pinned.stride() == plain.stride() and pinned.device == plain.device
    if "empty" not in name:
        np.testing.assert_array_equal(as_array(pinned), as_array(plain))
    check_error(RuntimeError, "pin_memory.*cuda:0", lambda: make(pin_memory=True, device="cuda"))
    check_error(TypeError, "pin_memory.*bool, got int", lambda: make(pin_memory=1))


def test_pinned_leaves_and_out():
    x = tg.randn(3, pin_memory=True, requires_grad=True)
    assert x.is_leaf and x.requires_grad and x.is_pinned()
    out = tg.empty(3)
    assert tg.zeros(3, out=out, pin_memory=True) is out and not out.is_pinned()
    x = tg.from_numpy(randn(3, 4)).t().pin_memory()
    assert x.is_pinned() and x.stride() == (1, 4)
    np.testing.assert_array_equal(as_array(x), randn(3, 4).T)
