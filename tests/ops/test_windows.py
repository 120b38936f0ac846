"""Windows against PyTorch."""

from __future__ import annotations

import pytest

import tilegrad as tg
from support import check, check_error

NAMES = ["hann_window", "hamming_window", "blackman_window", "bartlett_window", "kaiser_window"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("periodic", [True, False])
def test_windows(name, periodic):
    for length in (0, 1, 2, 7, 16):
        check(lambda m, n=length: getattr(m, name)(n, periodic, dtype=m.float64), grad=False)
    check(lambda m: getattr(m, name)(9, periodic), grad=False, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_complaints(name):
    make = getattr(tg, name)
    check_error(RuntimeError, "non-negative", lambda: make(-1))
    check_error(RuntimeError, "floating", lambda: make(4, dtype=tg.int64))
    check_error(TypeError, "must be int", lambda: make(2.5))
