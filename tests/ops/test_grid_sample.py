"""Grid sampling and affine grids against PyTorch: modes, paddings, gradients, complaints."""

import itertools

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check, check_error, randn

MODES = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")
IMAGE, POINTS = (2, 3, 5, 7), (2, 4, 6, 2)
VOLUME, SPACE = (2, 3, 4, 5, 6), (2, 3, 2, 5, 3)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize(("mode", "padding"), list(itertools.product(MODES, PADDINGS)))
def test_images(mode, padding, align):
    x, grid = randn(*IMAGE), randn(*POINTS, seed=1) * 1.5
    check(lambda m, x, g: m.nn.functional.grid_sample(x, g, mode, padding, align), x, grid)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize(("mode", "padding"), list(itertools.product(MODES[:2], PADDINGS)))
def test_volumes(mode, padding, align):
    x, grid = randn(*VOLUME), randn(*SPACE, seed=1) * 1.5
    check(lambda m, x, g: m.nn.functional.grid_sample(x, g, mode, padding, align), x, grid)


@pytest.mark.parametrize(("shape", "size"), [((2, 3), (2, 3, 4, 5)), ((3, 4), (2, 1, 3, 4, 5))])
@pytest.mark.parametrize("align", [False, True])
def test_affine_grid(shape, size, align):
    theta = randn(2, *shape)
    check(lambda m, x: m.nn.functional.affine_grid(x, size, align_corners=align), theta)
    x = randn(*size, seed=1)

    def transformed(m, x, theta):
        grid = m.nn.functional.affine_grid(theta, size, align_corners=align)
        return m.nn.functional.grid_sample(x, grid, align_corners=align)

    check(transformed, x, theta)


def test_strided_operands_an_empty_batch_and_halves():
    x = randn(3, 4, 5, 6)
    grid = randn(3, 2, 4, 2, seed=1)

    def transposed(m, x, g):
        x, g = x.permute(0, 3, 1, 2), g.transpose(1, 2)
        return m.nn.functional.grid_sample(x, g, align_corners=False)

    check(transposed, x, grid)
    F = tg.nn.functional
    assert F.grid_sample(tg.zeros(0, 2, 3, 3), tg.zeros(0, 4, 5, 2), align_corners=True).shape == (
        0,
        2,
        4,
        5,
    )
    image, middle = tg.ones(1, 1, 2, 2).bfloat16(), tg.zeros(1, 1, 1, 2).bfloat16()
    half = F.grid_sample(image, middle, align_corners=False)
    assert half.dtype is tg.bfloat16
    assert half.item() == 1


def test_the_identity_gives_the_image_back():
    x = tg.from_numpy(randn(1, 2, 5, 6, dtype=np.float32))
    theta = tg.tensor([[[1.0, 0, 0], [0, 1, 0]]])
    for align in (False, True):
        grid = tg.nn.functional.affine_grid(theta, x.shape, align)
        y = tg.nn.functional.grid_sample(x, grid, align_corners=align)
        np.testing.assert_allclose(y.numpy(), x.numpy(), rtol=1e-5, atol=1e-6)


def test_the_functions_with_numbers_for_modes():
    x, grid = randn(*IMAGE), randn(*POINTS, seed=1)
    check(lambda m, x, g: m.grid_sampler(x, g, 2, 1, True), x, grid)
    check(lambda m, x, g: m.grid_sampler(x, g, 1, 0, False), randn(*VOLUME), randn(*SPACE))


def test_no_second_derivative():
    x = tg.ones(1, 1, 3, 3, requires_grad=True)
    grid = tg.zeros(1, 2, 2, 2, requires_grad=True)
    y = tg.nn.functional.grid_sample(x, grid, align_corners=False)
    (first,) = tg.autograd.grad(y.square().sum(), [x], create_graph=True)
    with pytest.raises(NotImplementedError, match="grid_sampler_backward"):
        first.sum().backward()


F, one = tg.nn.functional, tg.ones
COMPLAINTS = {
    "mode": (ValueError, "expected mode", lambda: F.grid_sample(one(IMAGE), one(POINTS), "cubic")),
    "padding": (ValueError, "padding_mode", lambda: F.grid_sample(one(IMAGE), one(POINTS),
                                                                  "nearest", "x")),
    "no tensor": (TypeError, "", lambda: F.grid_sample(one(IMAGE), [1])),
    "dims": (RuntimeError, "4D or 5D", lambda: F.grid_sample(one(2, 3, 4), one(2, 3, 2))),
    "batch": (RuntimeError, "batch size", lambda: F.grid_sample(one(IMAGE), one(3, 4, 6, 2))),
    "last": (RuntimeError, "size 2", lambda: F.grid_sample(one(IMAGE), one(2, 4, 6, 3))),
    "empty": (RuntimeError, "non-empty", lambda: F.grid_sample(one(2, 3, 0, 4), one(POINTS))),
    "dtype": (RuntimeError, "same dtype", lambda: F.grid_sample(one(IMAGE), one(POINTS).double())),
    "cubic": (RuntimeError, "bicubic", lambda: F.grid_sample(one(VOLUME), one(SPACE), "bicubic")),
    "number": (RuntimeError, "interpolation_mode", lambda: tg.grid_sampler(one(IMAGE), one(POINTS),
                                                                           3, 0, True)),
    "theta": (ValueError, "Nx2x3", lambda: F.affine_grid(one(2, 3, 3), (2, 1, 4, 4))),
    "integers": (ValueError, "floating", lambda: F.affine_grid(one(2, 2, 3).long(), (2, 1, 4, 4))),
    "sizes": (NotImplementedError, "4D and 5D", lambda: F.affine_grid(one(2, 2, 3), (2, 4, 4))),
    "none": (ValueError, "non-zero", lambda: F.affine_grid(one(2, 2, 3), (2, 1, 0, 4))),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPLAINTS)
@pytest.mark.filterwarnings("ignore:Default grid_sample")
def test_complaints(name):
    check_error(*COMPLAINTS[name])


@pytest.mark.parametrize("m", [tg, torch])
def test_the_default_of_align_corners_warns(m):
    with pytest.warns(UserWarning, match="align_corners=False since"):
        m.nn.functional.grid_sample(m.ones(1, 1, 2, 2), m.zeros(1, 1, 1, 2))
    with pytest.warns(UserWarning, match="align_corners=False since"):
        m.nn.functional.affine_grid(m.ones(1, 2, 3), (1, 1, 2, 2))
