"""Tensors on two devices that an operation cannot take together, and those that it can."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import as_array, randn

pytestmark = pytest.mark.gpu
X = np.abs(randn(2, 3)).astype(np.float32) + 0.5
MASK = X > 0.9

MIXED = {
    "index": lambda here, there: here[there.long() % 2],
    "one index of two": lambda here, there: here[0, there[0].long() % 2],
    "mask": lambda here, there: here[there > 0.9],
    "write": lambda here, there: here.__setitem__(there > 0.9, 1.0),
    "isin": lambda here, there: tg.isin(here, there),
    "isin there": lambda here, there: tg.isin(there, here),
    "meshgrid": lambda here, there: tg.meshgrid(here[0], there[0], indexing="ij"),
    "repeats": lambda here, there: tg.repeat_interleave(here, there[:, 0].long(), 0),
    "repeats here": lambda here, there: there.repeat_interleave(here[:, 0].long(), 0),
}


@pytest.mark.parametrize("name", MIXED)
def test_devices_that_do_not_mix(name):
    here = tg.from_numpy(X)
    there = here.cuda()
    with pytest.raises(RuntimeError, match=r"device.*(cpu.*cuda:0|cuda:0.*cpu)"):
        MIXED[name](here, there)


def test_indices_on_the_cpu_still_serve_a_card():
    there = tg.from_numpy(X).cuda()
    np.testing.assert_array_equal(as_array(there[tg.tensor([1])]), X[[1]])
    np.testing.assert_array_equal(as_array(there[tg.from_numpy(MASK)]), X[MASK])
    assert tg.from_numpy(X)[tg.tensor(1, device="cuda")].shape == (3,)  # a number
