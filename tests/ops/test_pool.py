"""Pooling: values, indices and derivatives against PyTorch, and complaints."""

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, check, check_error, randn
from tilegrad.ops import pool as ours


def functional(m):
    return torch.nn.functional if m is torch else ours


def z(*shape, dtype=None):
    return tg.zeros(*shape, dtype=dtype)


MAX_CASES = {
    "plain": ((2, 3, 8, 6), (2,), {}),
    "odd sizes": ((2, 3, 7, 5), (2,), {}),
    "overlapping": ((2, 2, 9, 7), (3,), {"stride": 1}),
    "stride beyond the kernel": ((1, 2, 11, 13), (2,), {"stride": (3, 4)}),
    "padding": ((2, 1, 7, 5), ((3, 4),), {"stride": 2, "padding": (1, 2)}),
    "dilation": ((2, 2, 11, 13), (3,), {"stride": 2, "dilation": (2, 3), "padding": 1}),
    "ceil_mode": ((2, 2, 7, 8), (3,), {"stride": 2, "ceil_mode": True}),
    "ceil_mode drops a window in the padding": (
        (1, 1, 5, 4), (2,), {"stride": 3, "padding": 1, "ceil_mode": True}),
    "ceil_mode, kernel beyond the image": ((1, 1, 3, 3), (4,), {"stride": 2, "ceil_mode": True}),
    "unbatched": ((3, 6, 5), (2,), {}),
    "empty batch": ((0, 3, 6, 5), (2,), {}),
    "empty stride": ((1, 3, 6, 5), (2,), {"stride": []}),
}  # fmt: skip


@pytest.mark.parametrize("case", MAX_CASES.values(), ids=MAX_CASES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_max_pool2d(case, dtype):
    shape, args, options = case
    x = randn(*shape, dtype=dtype)
    check(lambda m, x: functional(m).max_pool2d(x, *args, **options, return_indices=True), x)
    check(lambda m, x: functional(m).max_pool2d(x, *args, **options), x)


def test_ties_nan_and_infinity_choose_the_same_element():
    x = np.round(randn(3, 2, 9, 9))  # many ties
    x[0, 0, 2, 2], x[0, 0, 3, 3], x[1, 1, 4, :] = np.nan, np.nan, np.inf
    x[2] = -np.inf
    for options in ({}, {"stride": 1}, {"padding": 1, "stride": 2}):
        check(
            lambda m, x, options=options: functional(m).max_pool2d(
                x, 3, return_indices=True, **options
            ),
            x,
        )
    check(lambda m, x: functional(m).adaptive_max_pool2d(x, 4, return_indices=True), x)


OTHER_CASES = {  # number of dimensions, shape, arguments
    "1-d": (1, (2, 3, 17), (2,), {}),
    "1-d overlapping, padded": (1, (3, 20), (5,), {"stride": 2, "padding": 2}),
    "1-d ceil_mode": (1, (1, 2, 10), (3,), {"stride": 4, "ceil_mode": True}),
    "1-d long windows": (1, (1, 2, 900), (300,), {"stride": 100}),
    "2-d large windows": (2, (1, 2, 40, 41), (20,), {"stride": 7, "padding": 9}),
    "2-d pairs beside other sizes": (2, (2, 3, 35, 71), (2,), {}),
    "2-d pairs, one column": (2, (2, 3, 4, 3), (2,), {}),
    "3-d": (3, (2, 3, 4, 6, 8), (2,), {}),
    "3-d slices": (3, (1, 2, 3, 8, 34), ((1, 2, 2),), {}),
    "3-d all options": (
        3, (2, 7, 8, 9), ((2, 3, 4),),
        {"stride": (1, 2, 3), "padding": (1, 0, 2), "ceil_mode": True}),
    "3-d unbatched": (3, (2, 5, 5, 5), (3,), {"stride": 1}),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHER_CASES.values(), ids=OTHER_CASES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_other_dimensions(case, dtype):
    ndim, shape, args, options = case
    x = randn(*shape, dtype=dtype)
    pools = [getattr(functional(m), f"max_pool{ndim}d") for m in (tg, torch)]
    pick = {tg: pools[0], torch: pools[1]}
    check(lambda m, x: pick[m](x, *args, **options, return_indices=True), x)
    averages = {m: getattr(functional(m), f"avg_pool{ndim}d") for m in (tg, torch)}
    check(lambda m, x: averages[m](x, *args, **options), x)
    check(lambda m, x: averages[m](x, *args, **options, count_include_pad=False), x)


def test_dilated_maxima_in_other_dimensions():
    check(lambda m, x: functional(m).max_pool1d(x, 3, 2, 1, 3, True, True), randn(2, 3, 31))
    check(lambda m, x: functional(m).max_pool3d(x, 2, 1, 1, (1, 2, 3), False, True),
          randn(2, 6, 7, 8))  # fmt: skip


@pytest.mark.parametrize("kernel", [(1, 1, 1), (1, 2, 2), (1, 3, 3), (2, 3, 3), (3, 1, 2)])
@pytest.mark.parametrize("stride", [1, (1, 2, 2), 2])
def test_windows_within_the_slices_of_a_volume(kernel, stride):
    x = randn(2, 2, 5, 9, 8)
    check(lambda m, x: functional(m).max_pool3d(x, kernel, stride), x)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_adaptive_in_other_dimensions(size):
    line, volume = randn(2, 3, 10), randn(2, 4, 6, 5)
    check(lambda m, x: functional(m).adaptive_avg_pool1d(x, size), line)
    check(lambda m, x: functional(m).adaptive_max_pool1d(x, size, return_indices=True), line)
    check(lambda m, x: functional(m).adaptive_avg_pool3d(x, (size, None, 2)), volume)
    check(lambda m, x: functional(m).adaptive_max_pool3d(x, size, return_indices=True), volume)


def test_rows_of_every_length():
    for width in range(2, 70):
        x = randn(3, 4, width, dtype=np.float32, seed=width)
        check(lambda m, x: functional(m).max_pool2d(x, 2, return_indices=True), x)
        check(lambda m, x: functional(m).max_pool2d(x, 3, 2, 1, return_indices=True), x)
        check(lambda m, x: functional(m).avg_pool2d(x, 2), x)


AVG_CASES = {
    "plain": ((2, 3, 8, 6), (2,), {}),
    "overlapping": ((2, 2, 9, 7), (3,), {"stride": (1, 2)}),
    "padding counts": ((2, 1, 7, 5), ((3, 4),), {"stride": 2, "padding": (1, 2)}),
    "padding does not count": (
        (2, 1, 7, 5), ((3, 4),), {"stride": 2, "padding": (1, 2), "count_include_pad": False}),
    "ceil_mode": ((2, 2, 7, 8), (3,), {"stride": 2, "ceil_mode": True, "padding": 1}),
    "ceil_mode without padding": (
        (2, 2, 7, 8), (3,),
        {"stride": 2, "ceil_mode": True, "padding": 1, "count_include_pad": False}),
    "divisor": ((2, 2, 7, 8), (3,), {"divisor_override": 5}),
    "negative divisor": ((2, 2, 7, 8), (3,), {"divisor_override": -2, "padding": 1}),
    "unbatched": ((3, 6, 5), (2,), {}),
    "empty batch": ((0, 3, 6, 5), (2,), {}),
}  # fmt: skip


@pytest.mark.parametrize("case", AVG_CASES.values(), ids=AVG_CASES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_avg_pool2d(case, dtype):
    shape, args, options = case
    check(lambda m, x: functional(m).avg_pool2d(x, *args, **options), randn(*shape, dtype=dtype))


@pytest.mark.parametrize("size", [1, 3, (2, 5), (None, 4), (11, 13), (20, 3), [7, None]])
@pytest.mark.parametrize("shape", [(2, 3, 7, 11), (3, 5, 6), (0, 2, 4, 4)])
def test_adaptive(shape, size):
    x = randn(*shape)
    check(lambda m, x: functional(m).adaptive_avg_pool2d(x, size), x)
    check(lambda m, x: functional(m).adaptive_max_pool2d(x, size, return_indices=True), x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", [(13, 6), (32, 7), (7, 16), (33, 32)])
def test_uneven_windows(sizes, dtype):
    size, parts = sizes
    x = randn(3, 5, size, size, dtype=dtype)
    check(lambda m, x: functional(m).adaptive_avg_pool2d(x, parts), x)
    check(lambda m, x: functional(m).adaptive_max_pool2d(x, parts, return_indices=True), x)
    x[0, 1, 2, 3] = x[2, 4, -1, -1] = np.nan
    check(lambda m, x: functional(m).adaptive_max_pool2d(x, parts, return_indices=True), x)


def test_windows_of_more_taps_than_a_byte_counts():
    x = randn(2, 3, 40, 35, dtype=np.float32).round(1)  # ties
    for args in ((17, 3, 8), (40, 1, 20), ((16, 35),)):
        check(lambda m, x, a=args: functional(m).max_pool2d(x, *a, return_indices=True), x)


@pytest.mark.parametrize(
    "shape, size", [((1, 2, 3, 3), (0, 2)), ((1, 2, 0, 3), 1), ((1, 0, 3, 3), 1)]
)
def test_adaptive_zero_sizes(shape, size):
    check(lambda m, x: functional(m).adaptive_avg_pool2d(x, size), randn(*shape), grad=False)


@pytest.mark.parametrize(
    "function",
    [
        lambda f, x: f.max_pool2d(x, 3, 2, 1),
        lambda f, x: f.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        lambda f, x: f.adaptive_avg_pool2d(x, (3, 4)),
        lambda f, x: f.adaptive_max_pool2d(x, (3, 4)),
        lambda f, x: f.max_pool2d(x, 2),
    ],
    ids=["max", "avg", "adaptive avg", "adaptive max", "pairs"],
)
def test_second_derivatives(function):
    results = []
    for m in (tg, torch):
        x = m.from_numpy(randn(2, 2, 7, 9)).requires_grad_()
        y = function(functional(m), x * x)
        seed = m.from_numpy(randn(*y.shape, seed=1)).requires_grad_()
        (first,) = m.autograd.grad(y, [x], seed, create_graph=True)
        seed2 = m.from_numpy(randn(*x.shape, seed=2)).requires_grad_()
        second = m.autograd.grad(first, [x, seed], seed2, create_graph=True)
        results.append([first, *second])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(as_array(a), as_array(b), rtol=1e-12, atol=1e-12)


def test_any_strides():
    x = randn(2, 6, 7, 3)
    for layout in (lambda x: x.permute(0, 3, 1, 2), lambda x: x.narrow(3, 0, 1).expand(2, 6, 7, 4)):
        check(lambda m, x, f=layout: functional(m).max_pool2d(f(x), 2, 1), x)
        check(lambda m, x, f=layout: functional(m).avg_pool2d(f(x), 2, 1), x)


WINDOWS_2D = {
    "pairs": ((2,), {}),
    "overlapping": ((3, 2, 1), {}),
    "overlapping by two": ((3, 1), {}),
    "gaps": ((2, 3), {}),
    "ceil_mode": ((3, 2, 1), {"ceil_mode": True}),
}


@pytest.mark.parametrize("windows", WINDOWS_2D.values(), ids=WINDOWS_2D)
@pytest.mark.parametrize("channels", [2, 3, 8, 17, 70])
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_channels_last_is_kept(windows, channels, dtype):
    args, options = windows
    x = np.round(4 * randn(2, 8, 9, channels, dtype=dtype))  # ties
    x[0, 2, 3, 0], x[1, 4, 4:6, 1] = np.nan, -np.inf

    def last(m, function):
        y = function(functional(m))
        output = y[0] if isinstance(y, tuple) else y
        assert output.is_contiguous(memory_format=m.channels_last)
        return y

    for places in (True, False):
        check(lambda m, x, p=places: last(m, lambda f: f.max_pool2d(
            x.permute(0, 3, 1, 2), *args, **options, return_indices=p)), x)  # fmt: skip
    x = randn(2, 8, 9, channels, dtype=dtype)
    for pad in (True, False):
        check(lambda m, x, p=pad: last(m, lambda f: f.avg_pool2d(
            x.permute(0, 3, 1, 2), *args, **options, count_include_pad=p)), x)  # fmt: skip
    for size in (1, 3, (5, 2)):
        check(lambda m, x, s=size: last(m, lambda f: f.adaptive_avg_pool2d(
            x.permute(0, 3, 1, 2), s)), x)  # fmt: skip


def test_channels_last_volumes_and_gradients():
    x = randn(2, 4, 6, 5, 3)
    check(lambda m, x: functional(m).max_pool3d(x.permute(0, 4, 1, 2, 3), 2, 1), x)
    check(lambda m, x: functional(m).avg_pool3d(x.permute(0, 4, 1, 2, 3), 2, 1, 1), x)
    seed = randn(2, 2, 3, 20, seed=1)
    for pool in ("max_pool2d", "avg_pool2d"):
        gradients = []
        for m in (tg, torch):
            images = m.from_numpy(randn(2, 4, 6, 20)).permute(0, 3, 1, 2).requires_grad_()
            y = getattr(functional(m), pool)(images, 2)
            (grad,) = m.autograd.grad(y, [images], m.from_numpy(seed).permute(0, 3, 1, 2))
            assert grad.is_contiguous(memory_format=m.channels_last)
            gradients.append(as_array(grad))
        np.testing.assert_array_equal(*gradients)


F, X = ours, (1, 3, 5, 5)
TAPS = z(1, 1, 1, dtype=tg.uint8)
WINDOWS = ours._windows("max_pool2d", 2, 2, None, 0, 1, False)
ERRORS = {
    "kernel 0": (RuntimeError, "kernel_size", lambda: F.max_pool2d(z(*X), 0)),
    "stride 0": (RuntimeError, "stride", lambda: F.max_pool2d(z(*X), 2, 0)),
    "negative padding": (RuntimeError, "padding", lambda: F.max_pool2d(z(*X), 2, 2, -1)),
    "wide padding": (RuntimeError, "half", lambda: F.max_pool2d(z(*X), 2, 2, 2)),
    "dilation 0": (RuntimeError, "dilation", lambda: F.max_pool2d(z(*X), 2, dilation=0)),
    "huge dilation": (RuntimeError, "dilation", lambda: F.max_pool2d(z(*X), 2, dilation=2**62)),
    "kernel too large": (RuntimeError, "too small", lambda: F.max_pool2d(z(*X), 6)),
    "two dims": (RuntimeError, "3D or 4D", lambda: F.max_pool2d(z(5, 5), 2)),
    "no channels": (RuntimeError, "3D or 4D", lambda: F.max_pool2d(z(1, 0, 5, 5), 2)),
    "bool": (NotImplementedError, "bool", lambda: F.max_pool2d(z(*X, dtype=tg.bool), 2)),
    "three sizes": (RuntimeError, "two ints", lambda: F.max_pool2d(z(*X), (1, 2, 3))),
    "fraction": (TypeError, "max_pool2d", lambda: F.max_pool2d(z(*X), 1.5)),
    "avg: kernel 0": (RuntimeError, "kernel_size", lambda: F.avg_pool2d(z(*X), 0)),
    "avg: stride 0": (RuntimeError, "stride", lambda: F.avg_pool2d(z(*X), 2, 0)),
    "avg: wide padding": (RuntimeError, "half", lambda: F.avg_pool2d(z(*X), 2, 2, 2)),
    "avg: kernel too large": (RuntimeError, "too small", lambda: F.avg_pool2d(z(*X), 6)),
    "avg: int": (NotImplementedError, "int32", lambda: F.avg_pool2d(z(*X, dtype=tg.int32), 2)),
    "divisor 0": (RuntimeError, "divisor", lambda: F.avg_pool2d(z(*X), 2, divisor_override=0)),
    "adaptive: negative": (RuntimeError, "output_size", lambda: F.adaptive_avg_pool2d(z(*X), -1)),
    "adaptive: three": (RuntimeError, "2", lambda: F.adaptive_avg_pool2d(z(*X), (1, 2, 3))),
    "adaptive max: negative": (
        RuntimeError, "output_size", lambda: F.adaptive_max_pool2d(z(*X), -1)),
    "adaptive max: empty": (
        RuntimeError, "but got", lambda: F.adaptive_max_pool2d(z(1, 3, 0, 5), 1)),
    "gradient of another shape": (
        RuntimeError, "gradient of shape",
        lambda: tg._C.max_pool_backward(z(1, 2, 1), TAPS, (1, 2, 2), WINDOWS)),
    "taps of another shape": (
        RuntimeError, "taps",
        lambda: tg._C.max_pool_backward(z(1, 1, 1), TAPS, (2, 2, 2), WINDOWS)),
    "taps of another dtype": (
        RuntimeError, "int64",
        lambda: tg._C.max_pool_indices(TAPS.to(tg.int64), (1, 2, 2), WINDOWS)),
}  # fmt: skip


def test_taps_that_no_maximum_has_do_not_lead_out_of_the_plane():
    for kernel, wrong in ((2, 200), (3, 8), (3, 0)):
        windows = ours._windows("max_pool2d", 2, kernel, None, kernel // 2, 1, True)
        shape = tg._C.max_pool(z(1, 3, 3), windows, True)[1].shape
        taps = z(*shape, dtype=tg.uint8) + wrong
        grad = tg._C.max_pool_backward(z(*shape) + 1, taps.to(tg.uint8), (1, 3, 3), windows)
        assert grad.shape == (1, 3, 3) and as_array(grad).sum() <= shape.numel()


def test_places_outside_the_plane_are_passed_over():
    windows = ours._adaptive("adaptive_max_pool2d", 2, z(1, 3, 3), 2)
    for wrong in (-1, 9, 2**62):
        places = z(1, 2, 2, dtype=tg.int64) + wrong
        grad = tg._C.max_pool_backward(z(1, 2, 2) + 1, places, (1, 3, 3), windows)
        assert not as_array(grad).any()


@pytest.mark.parametrize("case", ERRORS.values(), ids=ERRORS)
def test_complaints(case):
    check_error(*case)
