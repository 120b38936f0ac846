"""Depthwise convolution (groups of one channel): values and gradients against PyTorch."""

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, check, randn

# (batch, channels, height, width, filters per channel, kernel, options)
CASES = {
    "3x3": (2, 5, 9, 11, 1, (3, 3), {"padding": 1}),
    "3x3 without padding": (2, 5, 9, 11, 1, (3, 3), {}),
    "3x3 with all padding": (2, 3, 9, 11, 1, (3, 3), {"padding": 2}),
    "5x5": (2, 3, 12, 19, 1, (5, 5), {"padding": 2}),
    "7x7": (2, 3, 12, 19, 1, (7, 7), {"padding": 3}),
    "7x7 on a smaller plane": (2, 3, 3, 4, 1, (7, 7), {"padding": 3}),
    "planes of 4x4": (3, 37, 4, 4, 1, (3, 3), {"padding": 1}),
    "planes of 7x7": (3, 33, 7, 7, 1, (3, 3), {"padding": 1}),
    "planes of 14x14": (2, 9, 14, 14, 1, (5, 5), {"padding": 2}),
    "planes of 9x15": (3, 5, 9, 15, 1, (3, 3), {"padding": 1}),
    "planes of 2 columns": (3, 5, 9, 2, 1, (3, 3), {"padding": 1}),
    "5x5 on planes of 8x7, several blocks": (11, 19, 8, 7, 1, (5, 5), {"padding": 2}),
    "7x7 on planes of 5x8": (5, 17, 5, 8, 1, (7, 7), {"padding": 3}),
    "4x3 on planes of 6x6": (2, 3, 6, 6, 1, (4, 3), {"padding": (2, 1)}),
    "stride 2, planes of 14x14, several blocks": (
        11, 19, 14, 14, 1, (3, 3), {"padding": 1, "stride": 2}),
    "stride 2, planes of 13x28": (5, 3, 13, 28, 1, (5, 5), {"padding": 2, "stride": 2}),
    "stride 2 across": (3, 5, 9, 12, 1, (3, 3), {"padding": 1, "stride": (1, 2)}),
    "stride 2 down": (3, 5, 9, 12, 1, (3, 3), {"padding": 1, "stride": (2, 1)}),
    "planes of one element": (3, 19, 1, 1, 1, (3, 3), {"padding": 1}),
    "planes of one row": (2, 7, 1, 23, 1, (1, 5), {"padding": (0, 2)}),
    "planes of one column": (2, 7, 23, 1, 1, (5, 1), {"padding": (2, 0)}),
    "wide": (1, 2, 3, 517, 1, (3, 3), {"padding": 1}),
    "several bands": (2, 2, 113, 112, 1, (3, 3), {"padding": 1}),
    "several bands, stride": (1, 2, 113, 211, 1, (3, 3), {"padding": 1, "stride": 2}),
    "stride": (2, 5, 14, 15, 1, (3, 3), {"padding": 1, "stride": 2}),
    "stride, small planes": (3, 33, 7, 7, 1, (3, 3), {"padding": 1, "stride": 2}),
    "strides differ": (2, 5, 14, 15, 1, (3, 4), {"padding": 1, "stride": (1, 3)}),
    "stride beyond the filter": (2, 5, 14, 15, 1, (2, 2), {"stride": 4}),
    "stride leaves a rest": (2, 5, 12, 16, 1, (1, 1), {"stride": (3, 4)}),
    "dilation": (2, 5, 14, 15, 1, (3, 3), {"padding": 2, "dilation": 2}),
    "dilation across": (2, 5, 14, 15, 1, (3, 3), {"padding": (1, 3), "dilation": (1, 3)}),
    "dilation and stride": (
        2, 5, 19, 17, 1, (3, 3), {"padding": 3, "dilation": (2, 3), "stride": 2}),
    "same": (2, 5, 8, 9, 1, (4, 2), {"padding": "same"}),
    "two filters": (2, 5, 9, 11, 2, (3, 3), {"padding": 1}),
    "three filters, small planes": (2, 5, 4, 5, 3, (3, 3), {"padding": 1}),
    "three filters, stride": (2, 5, 9, 11, 3, (3, 3), {"padding": 1, "stride": 2}),
    "two channels": (3, 2, 5, 5, 1, (3, 3), {"padding": 1}),
    "many channels": (2, 131, 6, 6, 1, (3, 3), {"padding": 1}),
    "filters beyond the kernels' limits": (1, 2, 40, 70, 1, (3, 17), {"dilation": (1, 4)}),
}  # fmt: skip


def arrays(case, dtype):
    batch, channels, height, width, filters, kernel, _ = case
    weight = randn(channels * filters, 1, *kernel, dtype=dtype, seed=1)
    bias = randn(channels * filters, dtype=dtype, seed=2)
    return randn(batch, channels, height, width, dtype=dtype), weight, bias


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # PyTorch, about even kernels
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_values_and_gradients(case, dtype):
    x, weight, bias = arrays(case, dtype)
    options = {**case[-1], "groups": x.shape[1]}
    # A float32 gradient sums up to tens of thousands of products of both signs.
    tolerance = {"rtol": 1e-4, "atol": 1e-3} if dtype is np.float32 else {"atol": 1e-11}
    check(lambda m, x, w, b: m.conv2d(x, w, b, **options), x, weight, bias, **tolerance)


def test_infinity_and_nan_stay_in_the_windows_that_see_them():
    for shape in ((2, 5, 6, 6), (1, 3, 5, 40), (3, 18, 4, 4)):
        x = randn(*shape)
        x[0, 0, 0, -1], x[-1, 1, -1, 0], x[0, 2, 2, 2] = np.inf, np.nan, -np.inf
        weight = randn(shape[1], 1, 3, 3, seed=1)
        for padding in (0, 1):
            check(
                lambda m, x, w, p=padding: m.conv2d(x, w, padding=p, groups=x.shape[1]),
                x, weight, atol=1e-11,
            )  # fmt: skip


def test_second_derivatives():
    case = CASES["three filters, stride"]
    results = []
    for m in (tg, torch):
        leaves = [m.from_numpy(a).requires_grad_() for a in arrays(case, np.float64)]
        y = m.conv2d(*leaves, **case[-1], groups=case[1])
        first = m.autograd.grad((y * y).sum(), leaves, create_graph=True)
        results.append(m.autograd.grad(sum((g * g).sum() for g in first), leaves))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(as_array(ours), as_array(theirs), rtol=1e-9)


@pytest.mark.host("threads are the CPU's")
@pytest.mark.parametrize("case", ["several bands", "many channels", "two filters"])
def test_same_bits_for_every_number_of_threads(case):
    case = CASES[case]
    threads = tg.get_num_threads()
    seen = set()
    try:
        for count in (1, 2, 3, 8):
            tg.set_num_threads(count)
            leaves = [tg.from_numpy(a).requires_grad_() for a in arrays(case, np.float32)]
            y = tg.conv2d(*leaves, **case[-1], groups=case[1])
            y.backward(y.detach())
            seen.add(b"".join(as_array(t).tobytes() for t in (y, *(x.grad for x in leaves))))
    finally:
        tg.set_num_threads(threads)
    assert len(seen) == 1
