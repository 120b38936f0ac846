"""conv2d: values and derivatives of first and second order against PyTorch, and complaints."""

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, check, check_error, randn

# (input shape, weight shape, options)
CASES = {
    "plain": ((2, 3, 7, 5), (4, 3, 3, 3), {}),
    "one pixel": ((1, 1, 1, 1), (1, 1, 1, 1), {}),
    "pointwise": ((3, 5, 4, 4), (7, 5, 1, 1), {}),
    "odd sizes": ((3, 2, 11, 13), (5, 2, 2, 4), {"padding": (1, 2)}),
    "stride": ((2, 3, 11, 9), (4, 3, 3, 3), {"stride": 2, "padding": 1}),
    "stride skips pixels": ((2, 2, 12, 13), (3, 2, 2, 2), {"stride": (5, 3)}),
    "stride beyond the image": ((2, 2, 5, 5), (3, 2, 2, 2), {"stride": 1 << 50}),
    "dilation": ((2, 3, 13, 11), (4, 3, 3, 2), {"dilation": (2, 3), "padding": 2}),
    "everything": (
        (2, 4, 17, 11),
        (6, 2, 3, 2),
        {"stride": (2, 3), "padding": 3, "dilation": 2, "groups": 2},
    ),
    "groups": ((2, 6, 7, 7), (9, 2, 3, 3), {"groups": 3, "padding": 1}),
    "depthwise": ((3, 5, 8, 6), (10, 1, 3, 3), {"groups": 5, "padding": 1}),
    "padding wider than the image": ((1, 2, 3, 3), (2, 2, 3, 3), {"padding": 9, "stride": 2}),
    "same": ((2, 2, 6, 7), (3, 2, 4, 3), {"padding": "same"}),
    "same, dilated": ((2, 2, 6, 7), (3, 2, 4, 3), {"padding": "same", "dilation": (1, 2)}),
    "valid": ((2, 2, 6, 7), (3, 2, 4, 3), {"padding": "valid"}),
    "one-element tuples": ((2, 2, 6, 7), (3, 2, 3, 3), {"stride": (2,), "padding": (1,)}),
    "unbatched": ((3, 7, 5), (4, 3, 3, 3), {"padding": 1}),
    "empty batch": ((0, 3, 7, 5), (4, 3, 3, 3), {}),
    "stride and dilation share a factor": (
        (2, 3, 19, 17), (5, 3, 3, 4), {"stride": (4, 6), "dilation": (6, 4), "padding": (4, 3)}),
    "one column": ((2, 5, 5, 1), (6, 5, 3, 3), {"stride": (1, 2), "padding": 1}),
    "one row": ((2, 5, 1, 5), (6, 5, 3, 3), {"stride": (2, 1), "padding": 1}),
    "taps far apart": ((2, 3, 40, 41), (5, 3, 2, 2), {"dilation": (37, 39)}),
    "far outside": (
        (1, 2, 5, 5), (6, 2, 3, 3), {"padding": 5000, "stride": 4003, "dilation": 2001}),
    "several bands": ((5, 2, 19, 23), (3, 2, 3, 3), {"padding": 1}),
    "several bands of whole images": ((70, 6, 4, 4), (7, 6, 3, 3), {"padding": 1}),
    "several blocks of taps": ((2, 131, 5, 5), (3, 131, 3, 3), {"padding": 1}),
    "several blocks of filters": ((1, 2, 3, 4), (487, 2, 2, 2), {}),
    "several tiles of filters": ((2, 33, 5, 5), (35, 33, 2, 2), {}),
    "wide image": ((1, 1, 2, 701), (2, 1, 2, 5), {"padding": 2}),
    "wide image, many filters": ((2, 5, 2, 701), (9, 5, 2, 5), {"padding": 2, "stride": (1, 2)}),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # PyTorch, about even kernels
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_values_and_gradients(case, dtype):
    shape, weight_shape, options = case
    x, weight = randn(*shape, dtype=dtype), randn(*weight_shape, dtype=dtype, seed=1)
    bias = randn(weight_shape[0], dtype=dtype, seed=2)
    # A float32 gradient sums up to a few thousand products of both signs.
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype is np.float32 else {"atol": 1e-11}
    check(lambda m, x, w, b: m.conv2d(x, w, b, **options), x, weight, bias, **tolerance)
    check(lambda m, x, w: m.conv2d(x, w, **options), x, weight, **tolerance)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize(
    "name",
    ["plain", "stride", "dilation", "everything", "groups", "depthwise", "same", "unbatched"],
)
def test_second_derivatives(name):
    shape, weight_shape, options = CASES[name]
    arrays = randn(*shape), randn(*weight_shape, seed=1), randn(weight_shape[0], seed=2)
    results = []
    for m in (tg, torch):
        leaves = [m.from_numpy(a.copy()).requires_grad_() for a in arrays]
        y = m.conv2d(*leaves, **options)
        weights = m.from_numpy(randn(*y.shape, seed=3)).requires_grad_()
        first = m.autograd.grad(y, leaves, weights, create_graph=True)
        seeds = [m.from_numpy(randn(*g.shape, seed=4 + i)) for i, g in enumerate(first)]
        second = m.autograd.grad(first, [*leaves[:2], weights], seeds)
        results.append([*first, *second])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(as_array(ours), as_array(theirs), rtol=1e-10, atol=1e-10)


LAYOUTS = {
    "channels last": lambda m, x: x.permute(0, 3, 1, 2),
    "transposed images": lambda m, x: x.transpose(2, 3),
    "expanded channels": lambda m, x: x.narrow(1, 0, 1).expand(2, 3, 7, 7),
    "every other column": lambda m, x: x.narrow(3, 0, 6).unflatten(3, (3, 2)).select(4, 0),
    "inner window": lambda m, x: x.narrow(2, 2, 4).narrow(3, 1, 4),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_any_strides(layout):
    x, weight = randn(2, 7, 7, 7), randn(4, 7, 3, 3, seed=1)

    def function(m, x, weight):
        x = layout(m, x)
        return m.conv2d(x, weight.narrow(1, 0, x.shape[1]).transpose(2, 3), padding=1)

    check(function, x, weight, atol=1e-11)


def test_infinity_stays_in_the_windows_that_see_it():
    x = randn(1, 2, 6, 6)
    x[0, 0, 0, 5], x[0, 1, 5, 0] = np.inf, np.nan
    check(lambda m, x, w: m.conv2d(x, w, padding=1), x, randn(3, 2, 3, 3, seed=1), atol=1e-11)


@pytest.mark.parametrize("batch", [0, 2])
def test_no_input_channels_give_no_output_channels(batch):
    shapes = []
    for m in (tg, torch):
        leaves = [m.zeros(batch, 0, 4, 5), m.zeros(2, 0, 3, 3), m.zeros(2)]
        for leaf in leaves:
            leaf.requires_grad_()
        y = m.conv2d(*leaves, padding=1, stride=2)
        gradients = m.autograd.grad(y.sum(), leaves, allow_unused=True)
        shapes.append([tuple(y.shape), *(g if g is None else tuple(g.shape) for g in gradients)])
    assert shapes[0] == shapes[1]


@pytest.mark.host("threads are the CPU's")
def test_same_bits_for_every_number_of_threads():
    x, weight = randn(37, 3, 13, 11, dtype=np.float32), randn(8, 3, 3, 3, dtype=np.float32, seed=1)
    threads = tg.get_num_threads()
    seen = set()
    try:
        for count in (1, 2, 3, 8):
            tg.set_num_threads(count)
            leaves = [tg.from_numpy(x).requires_grad_(), tg.from_numpy(weight).requires_grad_()]
            y = tg.conv2d(*leaves, padding=1)
            y.backward(y.detach())
            seen.add(b"".join(as_array(t).tobytes() for t in (y, leaves[0].grad, leaves[1].grad)))
    finally:
        tg.set_num_threads(threads)
    assert len(seen) == 1


# (input shape, weight shape, padding, stride if not 1) of convolutions that Winograd's transforms
# compute: whole and cut tiles, one or several chunks, channels that fill vectors and that do not,
# several shares of the filters, images narrower than a tile.
WINOGRAD = {
    "whole tiles": ((3, 16, 8, 8), (16, 16, 3, 3), 1),
    "cut tiles": ((5, 17, 7, 9), (19, 17, 3, 3), 1),
    "one tile": ((13, 33, 4, 4), (47, 33, 3, 3), 1),
    "less than a tile": ((30, 16, 3, 3), (18, 16, 3, 3), 1),
    "no padding": ((2, 20, 11, 14), (16, 20, 3, 3), 0),
    "wide padding": ((2, 16, 5, 6), (20, 16, 3, 3), (4, 3)),
    "several chunks": ((3, 40, 37, 29), (70, 40, 3, 3), 1),
    "wide image": ((1, 16, 6, 701), (16, 16, 3, 3), 1),
    "many filters": ((4, 64, 8, 8), (320, 64, 3, 3), 1),
    "many filters, odd": ((2, 31, 9, 8), (301, 31, 3, 3), 1),
    "many tiles": ((20, 16, 24, 24), (16, 16, 3, 3), 1),
    "5 x 5": ((3, 18, 9, 12), (35, 18, 5, 5), 2),
    "5 x 5, wide padding": ((2, 32, 5, 7), (16, 32, 5, 5), 6),
    "groups": ((3, 36, 9, 8), (50, 18, 3, 3), 1),
    "stride 2": ((6, 16, 16, 16), (32, 16, 3, 3), 1, 2),
    "stride 2, cut tiles": ((7, 19, 13, 15), (21, 19, 3, 3), 1, 2),
    "stride 2, no padding": ((7, 19, 15, 14), (21, 19, 3, 3), 0, 2),
    "stride 2, wide padding": ((4, 33, 14, 15), (18, 33, 3, 3), (3, 2), 2),
    "stride 2, many channels": ((16, 150, 8, 8), (310, 150, 3, 3), 1, 2),
}  # fmt: skip


def conv2d_results(m, arrays, **options):
    """The output and all gradients for a fixed gradient of the output."""
    leaves = [m.from_numpy(a).requires_grad_() for a in arrays]
    y = m.conv2d(*leaves, **options)
    y.backward(m.from_numpy(randn(*y.shape, seed=9).astype(arrays[0].dtype)))
    return [as_array(t) for t in (y, *(leaf.grad for leaf in leaves))]


@pytest.mark.host("CUDA has no transforms")
@pytest.mark.parametrize("case", WINOGRAD.values(), ids=WINOGRAD)
def test_winograd_is_close_to_float64(case):
    shape, weight_shape, padding, *stride = case
    arrays = randn(*shape), randn(*weight_shape, seed=1), randn(weight_shape[0], seed=2)
    groups = shape[1] // weight_shape[1]
    options = {"padding": padding, "groups": groups, "stride": stride[0] if stride else 1}
    exact = conv2d_results(torch, arrays, **options)
    single = [a.astype(np.float32) for a in arrays]
    used = conv2d_results(tg, single, **options)
    try:
        tg.backends.winograd = False
        direct = conv2d_results(tg, single, **options)
    finally:
        tg.backends.winograd = True
    for fast, plain, expected in zip(used, direct, exact, strict=True):
        size = np.sqrt(np.mean(np.square(expected)))
        assert np.abs(fast - expected).max() < 2e-5 * size
        assert np.abs(plain - expected).max() < 2e-5 * size
    assert not np.array_equal(used[0], direct[0])  # the setting has an effect


# (kernel, stride, dilation, padding): the gradient of the inputs is made of several convolutions,
# some of them with 3 x 3 or 5 x 5 taps, as Winograd's transforms have, but with gaps.
STRIDED = {
    "5, stride 2": (5, 2, 1, 2),
    "6, stride 2": (6, 2, 1, 1),
    "7, stride 2": (7, 2, 1, 3),
    "9, stride 2": (9, 2, 1, 4),
    "7, stride 3": (7, 3, 1, 3),
    "10, stride 2": (10, 2, 1, 4),
    "3, stride 2, dilation 2": (3, 2, 2, 2),
    "5, stride 3, dilation 3": (5, 3, 3, 6),
    "7 rows, stride 2 and 1": ((7, 3), (2, 1), 1, (3, 1)),
    "5 columns, stride 1 and 2": ((3, 5), (1, 2), 1, (1, 2)),
}


@pytest.mark.parametrize("case", STRIDED.values(), ids=STRIDED)
def test_large_filters_with_stride(case):
    kernel, stride, dilation, padding = case
    height, width = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    arrays = randn(2, 17, 24, 29), randn(18, 17, height, width, seed=1), randn(18, seed=2)
    options = {"padding": padding, "stride": stride, "dilation": dilation}
    exact = conv2d_results(torch, arrays, **options)
    for ours, expected in zip(
        conv2d_results(tg, [a.astype(np.float32) for a in arrays], **options), exact, strict=True
    ):
        size = np.sqrt(np.mean(np.square(expected)))
        assert np.abs(ours - expected).max() < 2e-5 * size


@pytest.mark.host("threads are the CPU's")
def test_winograd_gives_the_same_bits_for_every_number_of_threads():
    arrays = [randn(9, 48, 20, 19, dtype=np.float32), randn(96, 48, 3, 3, dtype=np.float32, seed=1)]
    threads = tg.get_num_threads()
    seen = set()
    try:
        for count in (1, 2, 3, 8):
            tg.set_num_threads(count)
            results = conv2d_results(tg, arrays, padding=1)
            seen.add(b"".join(a.tobytes() for a in results))
    finally:
        tg.set_num_threads(threads)
    assert len(seen) == 1


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3e38])
@pytest.mark.parametrize("operand", [0, 1])
def test_winograd_keeps_infinity_in_the_windows_that_see_it(operand, value):
    arrays = [randn(4, 16, 12, 12, dtype=np.float32), randn(16, 16, 3, 3, dtype=np.float32, seed=1)]
    arrays[operand][1, 2, 2, 1] = value
    # Whether a product of infinity with padding counts is left open: a filter meets none in y here.
    results = (conv2d_results(m, arrays, padding=1 - operand) for m in (tg, torch))
    for a, b in list(zip(*results, strict=True))[:: 1 + operand]:
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        ordinary = np.abs(b) < 1e3
        np.testing.assert_allclose(a[ordinary], b[ordinary], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(a[~ordinary], b[~ordinary], rtol=1e-4)


def test_winograd_wants_a_bool():
    def assign():
        tg.backends.winograd = 1

    check_error(TypeError, "winograd", assign)
    assert tg.backends.winograd is True


def z(*shape, dtype=None):
    return tg.zeros(*shape, dtype=dtype)


ERRORS = {
    "stride 0": (RuntimeError, "stride", lambda: tg.conv2d(z(1, 3, 5, 5), z(2, 3, 3, 3), stride=0)),
    "negative padding": (
        RuntimeError, "padding", lambda: tg.conv2d(z(1, 3, 5, 5), z(2, 3, 3, 3), padding=-1)),
    "dilation 0": (
        RuntimeError, "dilation", lambda: tg.conv2d(z(1, 3, 5, 5), z(2, 3, 3, 3), dilation=0)),
    "kernel too large": (
        RuntimeError, "[Kk]ernel size", lambda: tg.conv2d(z(1, 3, 2, 2), z(2, 3, 3, 3))),
    "channels": (RuntimeError, "channels", lambda: tg.conv2d(z(1, 4, 5, 5), z(2, 3, 3, 3))),
    "groups do not divide": (
        RuntimeError, "divisible", lambda: tg.conv2d(z(1, 4, 5, 5), z(3, 2, 3, 3), groups=2)),
    "groups 0": (
        RuntimeError, "groups", lambda: tg.conv2d(z(1, 4, 5, 5), z(2, 2, 3, 3), groups=0)),
    "dtypes": (
        RuntimeError, "scalar type",
        lambda: tg.conv2d(z(1, 3, 5, 5), z(2, 3, 3, 3, dtype=tg.float64))),
    "integers": (
        NotImplementedError, "int64",
        lambda: tg.conv2d(z(1, 3, 5, 5, dtype=tg.int64), z(2, 3, 3, 3, dtype=tg.int64))),
    "bias size": (RuntimeError, "bias", lambda: tg.conv2d(z(1, 3, 5, 5), z(2, 3, 3, 3), z(3))),
    "bias dims": (RuntimeError, "bias", lambda: tg.conv2d(z(1, 3, 5, 5), z(2, 3, 3, 3), z(2, 1))),
    "bias dtype": (
        RuntimeError, "bias",
        lambda: tg.conv2d(z(1, 3, 5, 5), z(2, 3, 3, 3), z(2, dtype=tg.float64))),
    "input dims": (RuntimeError, "input of size", lambda: tg.conv2d(z(3, 5), z(2, 3, 3, 3))),
    "weight dims": (RuntimeError, "weight", lambda: tg.conv2d(z(1, 3, 5, 5), z(2, 3, 3))),
    "no filters": (RuntimeError, "at least 1", lambda: tg.conv2d(z(1, 3, 5, 5), z(0, 3, 3, 3))),
    "empty kernel": (
        RuntimeError, "kernel size", lambda: tg.conv2d(z(1, 3, 5, 5), z(2, 3, 0, 3))),
    "empty image": (
        RuntimeError, "input shape", lambda: tg.conv2d(z(1, 3, 0, 5), z(2, 3, 3, 3), padding=2)),
    "same with stride": (
        RuntimeError, "padding='same'",
        lambda: tg.conv2d(z(1, 3, 5, 5), z(2, 3, 3, 3), padding="same", stride=2)),
    "unknown padding": (
        RuntimeError, "padding", lambda: tg.conv2d(z(1, 3, 5, 5), z(2, 3, 3, 3), padding="half")),
    "three strides": (
        RuntimeError, "stride", lambda: tg.conv2d(z(1, 3, 5, 5), z(2, 3, 3, 3), stride=(1, 2, 3))),
    "fractional stride": (
        TypeError, "conv2d", lambda: tg.conv2d(z(1, 3, 5, 5), z(2, 3, 3, 3), stride=1.5)),
    "huge padding": (
        RuntimeError, "padding", lambda: tg.conv2d(z(1, 3, 5, 5), z(2, 3, 3, 3), padding=2**62)),
    "huge dilation": (
        RuntimeError, "dilation", lambda: tg.conv2d(z(1, 3, 5, 5), z(2, 3, 3, 3), dilation=2**62)),
    "output overflows": (
        RuntimeError, "overflows",
        lambda: tg.conv2d(z(1, 3, 5, 5), z(2, 3, 3, 3), padding=2**39)),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS.values(), ids=ERRORS)
def test_complaints(case):
    check_error(*case)
