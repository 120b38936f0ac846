"""Convolutions of rank 1 and 3 and transposed ones: values, derivatives, complaints."""

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, check, check_error, randn

# name -> (function, input shape, weight shape, options)
CASES = {
    "1d": ("conv1d", (2, 3, 11), (4, 3, 3), {}),
    "1d options": (
        "conv1d", (2, 4, 17), (6, 2, 3), {"stride": 2, "padding": 3, "dilation": 2, "groups": 2}),
    "1d tuples": ("conv1d", (2, 4, 17), (6, 4, 3), {"stride": (2,), "padding": [1]}),
    "1d same": ("conv1d", (2, 4, 9), (3, 4, 4), {"padding": "same"}),
    "1d same, dilated": ("conv1d", (2, 4, 9), (3, 4, 3), {"padding": "same", "dilation": 3}),
    "1d valid": ("conv1d", (2, 4, 9), (3, 4, 4), {"padding": "valid"}),
    "1d unbatched": ("conv1d", (3, 11), (4, 3, 3), {"padding": 1}),
    "1d empty batch": ("conv1d", (0, 3, 11), (4, 3, 3), {}),
    "1d depthwise": ("conv1d", (3, 5, 37), (5, 1, 7), {"padding": 3, "groups": 5}),
    "3d": ("conv3d", (2, 3, 5, 6, 7), (4, 3, 3, 3, 3), {}),
    "3d padded": ("conv3d", (2, 3, 5, 6, 7), (4, 3, 3, 3, 3), {"padding": 1}),
    "3d options": (
        "conv3d", (2, 4, 9, 8, 7), (6, 2, 3, 2, 3),
        {"stride": (2, 1, 3), "padding": (2, 1, 0), "dilation": (2, 3, 1), "groups": 2}),
    "3d far outside": ("conv3d", (1, 2, 2, 3, 3), (2, 2, 2, 2, 2), {"padding": 4, "stride": 3}),
    "3d pointwise": ("conv3d", (2, 5, 3, 4, 4), (7, 5, 1, 1, 1), {}),
    "3d depth only": ("conv3d", (2, 5, 6, 3, 3), (4, 5, 3, 1, 1), {"padding": (1, 0, 0)}),
    "3d plane only": ("conv3d", (2, 5, 3, 6, 5), (4, 5, 1, 3, 3), {"padding": (0, 1, 1)}),
    "3d same": ("conv3d", (1, 2, 5, 6, 7), (3, 2, 2, 3, 4), {"padding": "same"}),
    "3d unbatched": ("conv3d", (3, 5, 6, 7), (4, 3, 3, 3, 3), {"padding": "valid"}),
    "3d empty batch": ("conv3d", (0, 3, 5, 6, 7), (4, 3, 3, 3, 3), {}),
    "3d depthwise": ("conv3d", (2, 3, 5, 6, 7), (6, 1, 3, 3, 3), {"padding": 1, "groups": 3}),
    "transposed 1d": ("conv_transpose1d", (2, 3, 7), (3, 4, 3), {}),
    "transposed 1d options": (
        "conv_transpose1d", (2, 4, 7), (4, 3, 3),
        {"stride": 3, "padding": 2, "output_padding": 2, "groups": 2, "dilation": 2}),
    "transposed 1d unbatched": ("conv_transpose1d", (3, 7), (3, 4, 3), {"stride": (2,)}),
    "transposed 2d": ("conv_transpose2d", (2, 3, 5, 4), (3, 4, 3, 3), {}),
    "transposed 2d upsampling": (
        "conv_transpose2d", (2, 3, 5, 4), (3, 4, 4, 4), {"stride": 2, "padding": 1}),
    "transposed 2d options": (
        "conv_transpose2d", (2, 4, 5, 4), (4, 3, 3, 2),
        {"stride": (3, 2), "padding": (1, 0), "output_padding": (2, 1), "groups": 2,
         "dilation": (1, 2)}),
    "transposed 2d, outputs without inputs": (
        "conv_transpose2d", (2, 3, 5, 4), (3, 4, 3, 3),
        {"stride": (1, 2), "output_padding": (2, 3), "dilation": (3, 4)}),
    "transposed 2d unbatched": ("conv_transpose2d", (3, 5, 4), (3, 4, 3, 3), {"padding": 1}),
    "transposed 2d empty batch": ("conv_transpose2d", (0, 3, 5, 4), (3, 4, 3, 3), {}),
    "transposed 2d depthwise": (
        "conv_transpose2d", (2, 5, 6, 7), (5, 1, 3, 3), {"groups": 5, "stride": 2, "padding": 1}),
    "transposed 3d": ("conv_transpose3d", (2, 3, 3, 4, 5), (3, 4, 3, 3, 2), {}),
    "transposed 3d options": (
        "conv_transpose3d", (2, 4, 3, 4, 2), (4, 2, 3, 2, 3),
        {"stride": (2, 1, 2), "padding": (1, 0, 2), "output_padding": (1, 1, 0), "groups": 2,
         "dilation": (1, 2, 2)}),
    "transposed 3d unbatched": ("conv_transpose3d", (3, 3, 4, 5), (3, 4, 2, 2, 2), {"stride": 2}),
}  # fmt: skip


def filters_of(name, weight_shape, options):
    groups = options.get("groups", 1)
    return weight_shape[1] * groups if "transpose" in name else weight_shape[0]


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # PyTorch, about even kernels
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_values_and_gradients(case, dtype):
    name, shape, weight_shape, options = case
    x, weight = randn(*shape, dtype=dtype), randn(*weight_shape, dtype=dtype, seed=1)
    bias = randn(filters_of(name, weight_shape, options), dtype=dtype, seed=2)
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype is np.float32 else {"atol": 1e-11}
    check(lambda m, x, w, b: getattr(m, name)(x, w, b, **options), x, weight, bias, **tolerance)
    check(lambda m, x, w: getattr(m.nn.functional, name)(x, w, **options), x, weight, **tolerance)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("name", [name for name in CASES if "empty" not in name])
def test_second_derivatives(name):
    function, shape, weight_shape, options = CASES[name]
    bias = randn(filters_of(function, weight_shape, options), seed=2)
    arrays = randn(*shape), randn(*weight_shape, seed=1), bias
    results = []
    for m in (tg, torch):
        leaves = [m.from_numpy(a.copy()).requires_grad_() for a in arrays]
        y = getattr(m, function)(*leaves, **options)
        weights = m.from_numpy(randn(*y.shape, seed=3)).requires_grad_()
        first = m.autograd.grad(y, leaves, weights, create_graph=True)
        seeds = [m.from_numpy(randn(*g.shape, seed=4 + i)) for i, g in enumerate(first)]
        second = m.autograd.grad(first, [*leaves[:2], weights], seeds)
        results.append([*first, *second])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(as_array(ours), as_array(theirs), rtol=1e-10, atol=1e-10)


MANY = pytest.mark.slow_emulated("thousands of convolutions, for every element of two tensors")


@pytest.mark.parametrize(
    "name",
    [
        "1d options",
        pytest.param("3d options", marks=MANY),
        pytest.param("transposed 2d options", marks=MANY),
    ],
)
def test_gradgradcheck(name):
    function, shape, weight_shape, options = CASES[name]
    leaves = [tg.from_numpy(randn(*s, seed=i)) for i, s in enumerate([shape, weight_shape])]
    inputs = [leaf[:1].contiguous() if i == 0 else leaf for i, leaf in enumerate(leaves)]
    inputs = [x.detach().requires_grad_() for x in inputs]
    assert tg.autograd.gradgradcheck(
        lambda x, w: getattr(tg, function)(x, w, **options).sum((0, 1)) ** 2, inputs
    )


@pytest.mark.parametrize("stacked", [1, 500, 2000])
def test_volumes_in_pieces_of_any_size(stacked, monkeypatch):
    monkeypatch.setattr("tilegrad.ops.conv._Depth.STACKED", stacked)
    x, weight = randn(5, 3, 7, 4, 5), randn(4, 3, 3, 3, 3, seed=1)
    check(lambda m, x, w: m.conv3d(x, w, padding=1, stride=(2, 1, 1)), x, weight, atol=1e-11)


def test_strides_of_any_kind():
    x, weight = randn(2, 6, 5, 7, 3), randn(3, 3, 3, 3, 4, seed=1)
    check(
        lambda m, x, w: m.conv3d(x.permute(0, 4, 2, 1, 3), w.transpose(0, 4)[:, :, :, :, ::2]),
        x, weight, atol=1e-11,
    )  # fmt: skip


def test_no_channels():
    shapes = []
    for m in (tg, torch):
        y = m.conv3d(m.zeros(2, 0, 4, 5, 5), m.zeros(2, 0, 3, 3, 3), m.zeros(2))
        shapes.append(tuple(y.shape))
    assert shapes[0] == shapes[1]


def z(*shape, dtype=None):
    return tg.zeros(*shape, dtype=dtype)


F1, F3, T2 = tg.conv1d, tg.conv3d, tg.conv_transpose2d
W2 = (4, 4, 3, 3)
ERRORS = {
    "1d channels": (RuntimeError, "channels", lambda: F1(z(2, 2, 5), z(4, 3, 3))),
    "1d dims": (RuntimeError, "2D .unbatched. or 3D .batched. input to conv1d",
                lambda: F1(z(3), z(4, 3, 3))),
    "1d kernel": (RuntimeError, "[Kk]ernel size", lambda: F1(z(2, 3, 2), z(4, 3, 3))),
    "1d two strides": (RuntimeError, "list of 1 values",
                       lambda: F1(z(2, 3, 5), z(4, 3, 3), stride=(1, 2))),
    "1d same with stride": (RuntimeError, "padding='same'",
                            lambda: F1(z(2, 3, 5), z(4, 3, 3), padding="same", stride=2)),
    "1d padding text": (RuntimeError, "Invalid padding string",
                        lambda: F1(z(2, 3, 5), z(4, 3, 3), padding="half")),
    "1d weight dims": (RuntimeError, "weight", lambda: F1(z(2, 3, 5), z(4, 3))),
    "1d bias": (RuntimeError, "bias", lambda: F1(z(2, 3, 5), z(4, 3, 3), z(3))),
    "1d dtypes": (RuntimeError, "scalar type",
                  lambda: F1(z(2, 3, 5), z(4, 3, 3, dtype=tg.float64))),
    "1d integers": (NotImplementedError, "int64", lambda: F1(
        z(2, 3, 5, dtype=tg.int64), z(4, 3, 3, dtype=tg.int64))),
    "1d negative padding": (RuntimeError, "negative padding",
                            lambda: F1(z(2, 3, 5), z(4, 3, 3), padding=-1)),
    "1d empty signal": (RuntimeError, "input shape",
                        lambda: F1(z(2, 3, 0), z(4, 3, 3), padding=2)),
    "1d not a tensor": (TypeError, "conv1d", lambda: F1([[1.0]], z(4, 3, 3))),
    "3d kernel": (RuntimeError, "[Kk]ernel size",
                  lambda: F3(z(1, 3, 2, 5, 5), z(2, 3, 3, 3, 3))),
    "3d dims": (RuntimeError, "5D", lambda: F3(z(3, 5, 5), z(2, 3, 3, 3, 3))),
    "3d groups": (RuntimeError, "divisible",
                  lambda: F3(z(1, 4, 5, 5, 5), z(3, 2, 3, 3, 3), groups=2)),
    "transposed channels": (RuntimeError, "channels", lambda: T2(z(1, 3, 5, 5), z(*W2))),
    "output padding": (RuntimeError, "output padding must be smaller",
                       lambda: T2(z(1, 4, 5, 5), z(*W2), output_padding=1)),
    "negative output padding": (RuntimeError, "negative output_padding",
                                lambda: T2(z(1, 4, 5, 5), z(*W2), output_padding=-1)),
    "output too small": (RuntimeError, "Output size is too small",
                         lambda: T2(z(1, 4, 1, 1), z(4, 4, 2, 2), padding=1)),
    "transposed bias": (RuntimeError, "bias", lambda: T2(z(1, 3, 5, 5), z(3, 4, 3, 3), z(3))),
    "transposed groups": (RuntimeError, "divisible",
                          lambda: T2(z(1, 4, 5, 5), z(*W2), groups=3)),
    "transposed stride 0": (RuntimeError, "stride",
                            lambda: T2(z(1, 4, 5, 5), z(*W2), stride=0)),
    "transposed dilation 0": (RuntimeError, "dilation",
                              lambda: T2(z(1, 4, 5, 5), z(*W2), dilation=0)),
    "transposed huge stride": (RuntimeError, "overflows",
                               lambda: T2(z(1, 4, 5, 5), z(*W2), stride=2**39)),
    "transposed same": (TypeError, "conv_transpose",
                        lambda: T2(z(1, 4, 5, 5), z(*W2), padding="same")),
    "transposed no filters": (RuntimeError, "non-empty",
                              lambda: T2(z(1, 3, 5, 5), z(3, 0, 3, 3))),
    "transposed empty image": (RuntimeError, "input shape",
                               lambda: T2(z(1, 3, 0, 5), z(3, 4, 3, 3))),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS.values(), ids=ERRORS)
def test_complaints(case):
    check_error(*case)
