"""Grid sampling: images and volumes read at given points, and grids of points of affine maps.

``grid_sample`` and ``affine_grid`` are public in ``tilegrad.nn.functional``, as PyTorch's are.
"""

from __future__ import annotations

import warnings
from typing import Any

from .. import _C
from .._autocast import full_precision_on, widest_on
from ..autograd.graph import needs_grad, record
from ._register import takes_tensors
from .fill import arange, ones
from .join import stack
from .matmul import matmul

__all__ = ["affine_grid_generator", "grid_sampler"]

_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")


def grid_sampler(
    input: Any, grid: Any, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Any:
    """:func:`tilegrad.nn.functional.grid_sample` with numbers for the modes.

    Shapes, dtypes and errors are the same; ``interpolation_mode`` is 0 (bilinear), 1 (nearest) or
    2 (bicubic), ``padding_mode`` 0 (zeros), 1 (border) or 2 (reflection).
    """
    options = (interpolation_mode, padding_mode, bool(align_corners))
    output = _C.grid_sample(input, grid, *options)
    if needs_grad(input, grid):
        record(output, grid_sampler_backward, (input, grid), (input, grid, *options))
    return output


def grid_sampler_backward(node: Any, grad: Any) -> tuple:
    results = _C.grid_sample_backward(grad, *node.saved, node.needs(0), node.needs(1))
    inputs = (grad, *node.saved[:2])
    if needs_grad(*inputs):
        for result in results:
            if result is not None:
                record(result, _no_second_derivative, inputs)
    return results


def _no_second_derivative(node: Any, grad: Any) -> Any:
    raise NotImplementedError("derivative for grid_sampler_backward is not implemented")


@full_precision_on("cpu")
@widest_on("cuda")
def grid_sample(
    input: Any,
    grid: Any,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Any:
    """``input`` at the points of ``grid``.

    Jaderberg et al., "Spatial Transformer Networks" (2015).

    Args:
        input: (N, C, H, W) or (N, C, D, H, W), floating.
        grid: (N, H', W', 2) of (x, y), or (N, D', H', W', 3) of (x, y, z), of the same dtype; -1
            and 1 are the ends of an axis. The result is (N, C, H', W') or (N, C, D', H', W').
        mode: 'bilinear' (for volumes: trilinear), 'nearest' or, for images, 'bicubic' (Keys' kernel
            with a = -0.75). 'nearest' has a gradient of zero for the grid.
        padding_mode: what lies outside: 'zeros', the 'border' or a 'reflection' at it.
        align_corners: whether the ends are the centres of the outermost elements rather than their
            outer edges; None means False, with a warning.

    Raises ValueError for other modes, RuntimeError for shapes, dtypes and devices that do not fit,
    TypeError for what is not a tensor.
    """
    if mode not in _MODES:
        raise ValueError(
            "nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', "
            f"but got: '{mode}'"
        )
    if padding_mode not in _PADDINGS:
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or "
            f"'reflection', but got: '{padding_mode}'"
        )
    aligned = _chosen(align_corners)
    return grid_sampler(input, grid, _MODES.index(mode), _PADDINGS.index(padding_mode), aligned)


def _chosen(align_corners: bool | None) -> bool:
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since "
            "1.3.0. Please specify align_corners=True if the old behavior is desired. See the "
            "documentation of grid_sample for details.",
            stacklevel=3,
        )
    return bool(align_corners)


@takes_tensors
def affine_grid(theta: Any, size: Any, align_corners: bool | None = None) -> Any:
    """The grid for :func:`grid_sample` that reads each output point at its image under ``theta``.

    Args:
        theta: (N, 2, 3) or (N, 3, 4), floating: one affine map per sample, of (x, y, 1) or
            (x, y, z, 1).
        size: that of the output, (N, C, H, W) or (N, C, D, H, W). The result is (N, H, W, 2) or
            (N, D, H, W, 3).
        align_corners: as for :func:`grid_sample`.

    Raises ValueError for shapes and dtypes that do not fit, NotImplementedError for other numbers
    of dimensions.
    """
    aligned = _chosen(align_corners)
    size = tuple(int(n) for n in size)
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    if len(size) not in (4, 5):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, "
            f"respectively. Got size {size}."
        )
    dims = len(size) - 2
    if theta.ndim != 3 or tuple(theta.shape[1:]) != (dims, dims + 1):
        raise ValueError(
            f"Expected a batch of {dims}D affine matrices of shape Nx{dims}x{dims + 1} for size "
            f"{size}. Got {tuple(theta.shape)}."
        )
    if aligned and min(size[2:]) == 1:
        warnings.warn(
            "Since version 1.3.0, affine_grid behavior has changed for unit-size grids when "
            "align_corners=True. This is not an intended use case of affine_grid. See the "
            "documentation of affine_grid for details.",
            stacklevel=2,
        )
    elif min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size}")
    return affine_grid_generator(theta, size, aligned)


@takes_tensors
def affine_grid_generator(theta: Any, size: Any, align_corners: bool) -> Any:
    """:func:`tilegrad.nn.functional.affine_grid` without its checks of ``theta``.

    Shapes and dtypes are the same. Raises RuntimeError for matrices that do not fit.
    """
    spatial = tuple(size)[2:]
    axes: list[Any] = []
    for d, n in enumerate(spatial):
        line = _line(n, align_corners, theta)
        shape = [1] * len(spatial)
        shape[d] = n
        axes.insert(0, line.reshape(shape).expand(spatial))
    axes.append(ones(spatial, dtype=theta.dtype, device=theta.device))
    points = stack(axes, -1).reshape(1, -1, len(axes))
    return matmul(points, theta.transpose(1, 2)).reshape(size[0], *spatial, len(spatial))


def _line(n: int, align_corners: bool, like: Any) -> Any:
    """The coordinates of the n elements of an axis; of a single one, its middle."""
    steps = arange(n, dtype=like.dtype, device=like.device) * 2 - (n - 1)
    return steps / max(n - 1 if align_corners else n, 1)
