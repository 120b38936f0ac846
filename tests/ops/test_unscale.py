"""The scaler's two operations against PyTorch's of the same names."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, check_error, randn, to_device
from tilegrad.ops import unscale


def library(m):
    """Where a library keeps the two; neither shows them."""
    return unscale if m is tg else torch


def ours(array):
    return to_device(tg.from_numpy(array.copy()))


@pytest.mark.parametrize("broken", [None, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unscale(broken, dtype):
    arrays = [randn(3, 4, dtype=dtype), randn(0, dtype=dtype), randn(70, dtype=dtype, seed=1)]
    if broken is not None:
        arrays[2][69] = broken
    flags = []
    results = []
    for m in (tg, torch):
        make = ours if m is tg else (lambda a: torch.from_numpy(a.copy()))
        grads = [make(a) for a in arrays]
        found, inverse = make(np.zeros(1, np.float32)), make(np.full(1, 0.25, np.float32))
        library(m)._amp_foreach_non_finite_check_and_unscale_(grads, found, inverse)
        flags.append(found.item())
        results.append([as_array(g) for g in grads])
    assert flags[0] == flags[1] == float(broken is not None)
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_layouts_and_halves():
    x = ours(randn(4, 5, dtype=np.float32))
    half, view = x.bfloat16(), x.clone().t()
    found, inverse = ours(np.zeros(1, np.float32)), ours(np.full(1, 0.5, np.float32))
    unscale._amp_foreach_non_finite_check_and_unscale_([half, view], found, inverse)
    assert found.item() == 0
    np.testing.assert_array_equal(as_array(view), as_array(x).T / 2)
    np.testing.assert_array_equal(as_array(half.float()), as_array(x.bfloat16().float()) / 2)


@pytest.mark.parametrize("interval", [1, 2, 3])
def test_update_scale(interval):
    histories = []
    for m in (tg, torch):
        make = ours if m is tg else (lambda a: torch.from_numpy(a.copy()))
        scale, tracker = make(np.full((), 8, np.float32)), make(np.zeros((), np.int32))
        history = []
        for found in (0, 0, 1, 0, 0, 0, 1, 1, 0):
            flag = make(np.full((), found, np.float32))
            library(m)._amp_update_scale_(scale, tracker, flag, 2.0, 0.5, interval)
            history.append((scale.item(), tracker.item()))
        histories.append(history)
    assert histories[0] == histories[1]


def test_complaints():
    one, whole = ours(np.ones(1, np.float32)), ours(np.ones(1, np.int32))
    multiply, update = (
        unscale._amp_foreach_non_finite_check_and_unscale_,
        unscale._amp_update_scale_,
    )
    check_error(RuntimeError, "inv_scale.*float32", lambda: multiply([one], one, whole))
    check_error(RuntimeError, "found_inf", lambda: multiply([one], ours(np.ones(2, "f")), one))
    check_error(RuntimeError, "floating", lambda: multiply([whole], one, one))
    check_error(TypeError, "list of tensors", lambda: multiply([1.0], one, one))
    check_error(RuntimeError, "growth_tracker", lambda: update(one, one, one, 2.0, 0.5, 1))
    check_error(ValueError, "growth_interval", lambda: update(one, whole, one, 2.0, 0.5, 0))
