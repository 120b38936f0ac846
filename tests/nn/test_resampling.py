"""unfold, fold, shuffles, interpolate and their layers against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import assert_same, check, randn

F = tg.nn.functional

BLOCKS = {
    "plain": ((2, 3, 5, 6), (3,)),
    "options": ((2, 3, 9, 8), ((2, 3), (2, 1), (1, 2), (2, 3))),
    "stride beyond the kernel": ((2, 3, 9, 8), (2, 1, 0, 4)),
    "one block": ((2, 3, 4, 5), ((4, 5),)),
    "unbatched": ((3, 5, 6), (2, 1, 1)),
    "empty batch": ((0, 3, 5, 6), (2,)),
}


@pytest.mark.parametrize("case", BLOCKS.values(), ids=BLOCKS)
def test_unfold_and_fold(case):
    shape, options = case
    x = randn(*shape)
    check(lambda m, x: m.nn.functional.unfold(x, *options), x)
    columns = tuple(torch.nn.functional.unfold(torch.zeros(shape), *options).shape)
    check(lambda m, x: m.nn.functional.fold(x, shape[-2:], *options), randn(*columns), atol=1e-11)


def test_unfold_of_any_strides():
    x = randn(5, 6, 2, 3)
    check(lambda m, x: m.nn.functional.unfold(x.permute(2, 3, 1, 0), 2, padding=1), x)


def test_second_derivatives():
    x = tg.from_numpy(randn(1, 2, 4, 5)).requires_grad_()
    assert tg.autograd.gradgradcheck(lambda x: F.unfold(x, 2, 1, 1, 2) ** 3, [x])
    y = tg.from_numpy(randn(1, 8, 6)).requires_grad_()
    assert tg.autograd.gradgradcheck(lambda y: F.fold(y, (3, 4), 2) ** 3, [y])
    for mode in ("nearest", "bilinear", "bicubic", "area"):
        assert tg.autograd.gradgradcheck(
            lambda x, m=mode: F.interpolate(x, (3, 7), mode=m) ** 3, [x]
        )


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: m.nn.functional.pixel_shuffle(x, 2),
        lambda m, x: m.nn.functional.pixel_unshuffle(x, 2),
        lambda m, x: m.nn.functional.pixel_unshuffle(x[0], 3),
        lambda m, x: m.nn.functional.pixel_shuffle(x.reshape(1, 2, 8, 1, 6, 6), 1),
        lambda m, x: m.nn.functional.channel_shuffle(x, 4),
    ],
)
def test_shuffles(function):
    check(function, randn(2, 8, 6, 6))
    check(function, np.arange(576).reshape(2, 8, 6, 6), grad=False)


SHAPES = {1: (2, 3, 7), 2: (2, 3, 5, 6), 3: (2, 3, 4, 5, 3)}
SIZES = {1: [11, 3, 7, 1, 14], 2: [(7, 9), (3, 4), 10, (5, 1), (15, 12)], 3: [(5, 4, 7), (8, 5, 2)]}
FACTORS = {1: [2, 0.5, 1.7], 2: [2, (0.6, 2.3), 3.0], 3: [2, (1.5, 0.7, 2.0)]}
MODES = {
    1: ["nearest", "nearest-exact", "linear", "area"],
    2: ["nearest", "nearest-exact", "bilinear", "bicubic", "area"],
    3: ["nearest", "nearest-exact", "trilinear", "area"],
}
RESIZED = [(d, mode) for d in MODES for mode in MODES[d]]


@pytest.mark.parametrize(("dims", "mode"), RESIZED)
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_interpolate(dims, mode, dtype):
    x = randn(*SHAPES[dims], dtype=dtype)
    corners = [None, True, False] if "linear" in mode or "cubic" in mode else [None]
    # PyTorch places the samples in other roundings.
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype is np.float32 else {"atol": 1e-12}
    options = [{"size": size} for size in SIZES[dims]]
    options += [{"scale_factor": factor} for factor in FACTORS[dims]]
    options += [{"scale_factor": f, "recompute_scale_factor": True} for f in FACTORS[dims]]
    for option in options:
        for align in corners:
            check(
                lambda m, x, o=option, a=align: m.nn.functional.interpolate(
                    x, **o, mode=mode, align_corners=a
                ),
                x,
                **tolerance,
            )


@pytest.mark.parametrize("mode", MODES[2])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_interpolate_halves(mode, dtype):
    x = torch.from_numpy(randn(2, 3, 5, 6)).to(getattr(torch, dtype))
    y = F.interpolate(tg.from_numpy(x.double().numpy()).to(getattr(tg, dtype)), (7, 9), mode=mode)
    assert y.dtype is getattr(tg, dtype)
    expected = torch.nn.functional.interpolate(x, (7, 9), mode=mode)
    precision = torch.finfo(expected.dtype).eps
    assert_same(y.double(), expected.double(), precision, precision, "result")


LAYERS = [
    lambda nn: nn.Upsample(scale_factor=2),
    lambda nn: nn.Upsample((7, 5), mode="bilinear"),
    lambda nn: nn.Upsample(scale_factor=(1.5, 2), mode="bicubic", align_corners=True),
    lambda nn: nn.UpsamplingNearest2d(9),
    lambda nn: nn.UpsamplingBilinear2d(scale_factor=2),
    lambda nn: nn.PixelShuffle(2),
    lambda nn: nn.PixelUnshuffle(3),
    lambda nn: nn.ChannelShuffle(2),
    lambda nn: nn.Unfold((2, 3), padding=1),
    lambda nn: nn.Sequential(
        nn.Flatten(2), nn.Fold((3, 10), (2, 2), stride=(1, 2), padding=(4, 0))
    ),
]


@pytest.mark.parametrize("make", LAYERS)
def test_layers(make):
    ours, theirs = make(tg.nn), make(torch.nn)
    assert repr(ours) == repr(theirs)
    x = randn(2, 4, 6, 9, dtype=np.float32)
    if "Fold(output" in repr(theirs):
        x = x[:, :, :5, :9]
        x = randn(2, 4, 5, 10, dtype=np.float32)
    assert_same(ours(tg.from_numpy(x)), theirs(torch.from_numpy(x)), 1e-5, 1e-5, "result")


def z(*shape):
    return lambda m: m.zeros(*shape)


IMAGE = z(1, 1, 4, 4)
REFUSED = [
    (IMAGE, lambda m, x: m.unfold(x, 6)),
    (IMAGE, lambda m, x: m.unfold(x, 2, stride=0)),
    (IMAGE, lambda m, x: m.unfold(x, (2, 2, 2))),
    (IMAGE, lambda m, x: m.unfold(x, 2, padding=-1)),
    (IMAGE, lambda m, x: m.unfold(x, 0)),
    (IMAGE, lambda m, x: m.unfold(x.long(), 2)),
    (z(1, 1, 3, 5, 5), lambda m, x: m.unfold(x, 2)),
    (z(1, 13, 16), lambda m, x: m.fold(x, 5, 2)),
    (z(1, 12, 15), lambda m, x: m.fold(x, 5, 2)),
    (z(1, 1, 12, 16), lambda m, x: m.fold(x, 5, 2)),
    (z(1, 7, 2, 2), lambda m, x: m.pixel_shuffle(x, 2)),
    (z(2, 2), lambda m, x: m.pixel_shuffle(x, 2)),
    (IMAGE, lambda m, x: m.pixel_shuffle(x, 0)),
    (IMAGE, lambda m, x: m.pixel_shuffle(x, 2.0)),
    (z(1, 4, 3, 2), lambda m, x: m.pixel_unshuffle(x, 2)),
    (IMAGE, lambda m, x: m.interpolate(x)),
    (IMAGE, lambda m, x: m.interpolate(x, size=2, scale_factor=2)),
    (IMAGE, lambda m, x: m.interpolate(x, size=2, mode="x")),
    (IMAGE, lambda m, x: m.interpolate(x, size=2, mode="linear")),
    (IMAGE, lambda m, x: m.interpolate(x, size=2, align_corners=True)),
    (IMAGE, lambda m, x: m.interpolate(x, size=(2, 2, 2))),
    (IMAGE, lambda m, x: m.interpolate(x, scale_factor=(2,))),
    (IMAGE, lambda m, x: m.interpolate(x, size=0)),
    (IMAGE, lambda m, x: m.interpolate(x, scale_factor=0.1)),
    (IMAGE, lambda m, x: m.interpolate(x, size=2.5)),
    (IMAGE, lambda m, x: m.interpolate(x.long(), size=2)),
    (IMAGE, lambda m, x: m.interpolate(x, size=2, recompute_scale_factor=True)),
    (z(4, 4), lambda m, x: m.interpolate(x, size=2)),
    (z(1, 1, 4), lambda m, x: m.interpolate(x, size=2, antialias=True)),
]


@pytest.mark.parametrize(("make", "act"), REFUSED)
def test_refused(make, act):
    errors = []
    for m in (tg, torch):
        with pytest.raises(Exception) as caught:
            act(m.nn.functional, make(m))
        errors.append(caught.value)
    assert type(errors[0]) is type(errors[1]), errors


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_antialias(mode, dtype):
    x = randn(2, 3, 13, 11, dtype=dtype)
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype is np.float32 else {"atol": 1e-12}
    options = [{"size": size} for size in [(4, 3), (5, 17), (20, 2), (1, 1), (13, 11)]]
    options += [{"scale_factor": factor} for factor in [0.5, 0.31, 2, (0.7, 1.3)]]
    for option in options:
        for align in (None, False, True):
            check(
                lambda m, x, o=option, a=align: m.nn.functional.interpolate(
                    x, **o, mode=mode, align_corners=a, antialias=True
                ),
                x,
                **tolerance,
            )


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_interpolate_channels_last(mode):
    """The memory order is kept, and so are the values."""
    x = tg.randn(2, 5, 6, 7)
    last = x.to(memory_format=tg.channels_last)
    y = F.interpolate(last, (9, 4), mode=mode)
    assert y.is_contiguous(memory_format=tg.channels_last)
    assert bool(tg.allclose(y, F.interpolate(x, (9, 4), mode=mode), atol=1e-6))


def test_second_derivatives_of_interpolate():
    results = []
    for m in (tg, torch):
        x = m.tensor(randn(1, 2, 4, 5), requires_grad=True)
        y = m.nn.functional.interpolate(x, (6, 3), mode="bicubic") ** 3
        (grad,) = m.autograd.grad(y.sum(), x, create_graph=True)
        results.append(m.autograd.grad((grad**2).sum(), x)[0].numpy())
    np.testing.assert_allclose(results[0], results[1], rtol=1e-10)
