"""``keras.ops.image``: edges, likeness, patches of volumes, and images bent out of shape."""

from __future__ import annotations

import math
from typing import Any

import tilegrad as tg

from ...nn import functional as F
from .. import random
from ..config import standardize_data_format
from ..dtypes import convert_to_tensor
from ..op import op, to_float
from .image import batched, blurred, map_coordinates

__all__ = [
    "elastic_transform", "extract_patches_3d", "perspective_transform", "scale_and_translate",
    "sobel_edges", "ssim",
]  # fmt: skip

_ORDERS = {"nearest": 0, "bilinear": 1}


@op
def sobel_edges(images: Any, data_format: Any = None) -> Any:
    """How steeply brightness rises downwards and to the right at each pixel, by Sobel's filters:
    one more axis of size 2 behind images (N, height, width, C). Raises ValueError for another
    rank."""
    x = to_float(images)
    if x.ndim != 4:
        raise ValueError(f"sobel_edges: expected images of rank 4, got shape {tuple(x.shape)}")
    last = standardize_data_format(data_format) == "channels_last"
    x = x.permute(0, 3, 1, 2) if last else x
    right = convert_to_tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]).to(x.dtype)
    filters = tg.stack([right.t(), right]).unsqueeze(1).repeat(x.shape[1], 1, 1, 1)
    edges = F.conv2d(x, filters, padding=1, groups=x.shape[1])
    edges = edges.reshape(len(x), x.shape[1], 2, *x.shape[2:])
    return edges.permute(0, 3, 4, 1, 2) if last else edges.permute(0, 1, 3, 4, 2)


@op
def ssim(
    image1: Any, image2: Any, max_val: float = 1.0, filter_size: int = 11,
    filter_sigma: float = 1.5, k1: float = 0.01, k2: float = 0.03, data_format: Any = None,
) -> Any:  # fmt: skip
    """The structural similarity of images, 1 where they are alike (Wang et al., 2004): one number
    for each pair. Raises ValueError for other ranks than 3 and 4 and for images smaller than the
    filter."""
    parts, single = [], False
    for image in (image1, image2):
        x = to_float(image)
        if x.ndim not in (3, 4):
            raise ValueError(f"ssim: expected images of rank 3 or 4, got shape {tuple(x.shape)}")
        single = x.ndim == 3
        x = x.unsqueeze(0) if single else x
        parts.append(
            x if standardize_data_format(data_format) == "channels_first" else x.permute(0, 3, 1, 2)
        )
    a, b = parts
    if min(a.shape[2:]) < filter_size:
        raise ValueError(
            f"ssim: images of shape {tuple(a.shape[2:])} are smaller than the filter, {filter_size}"
        )

    def mean(x: Any) -> Any:
        edge = filter_size // 2
        whole = blurred(x, (filter_size, filter_size), (filter_sigma, filter_sigma))
        return whole[:, :, edge : x.shape[2] - edge, edge : x.shape[3] - edge]

    mean_a, mean_b = mean(a), mean(b)
    both = mean_a * mean_b
    variance_a, variance_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    together = mean(a * b) - both
    low, high = (k1 * max_val) ** 2, (k2 * max_val) ** 2
    likeness = (2 * both + low) * (2 * together + high)
    likeness = likeness / ((mean_a**2 + mean_b**2 + low) * (variance_a + variance_b + high))
    made = likeness.mean((1, 2, 3))
    return made.squeeze(0) if single else made


@op
def extract_patches_3d(
    volumes: Any, size: Any, strides: Any = None, dilation_rate: Any = 1, padding: str = "valid",
    data_format: Any = None,
) -> Any:  # fmt: skip
    """The windows of volumes (N, depth, height, width, C), each as one vector in the place of a
    voxel. Raises ValueError for a size that is no number or triple, and for an unknown padding."""
    from ..layers.geometry import pad_spatial, per_axis, same_padding

    sizes = per_axis(size, 3, "size")
    steps = sizes if strides is None else per_axis(strides, 3, "strides")
    spread = per_axis(dilation_rate, 3, "dilation_rate")
    if padding not in ("valid", "same"):
        raise ValueError(f"extract_patches_3d: expected padding 'valid' or 'same', got {padding!r}")
    x = convert_to_tensor(volumes)
    single, first = x.ndim == 4, standardize_data_format(data_format) == "channels_first"
    x = x.unsqueeze(0) if single else x
    x = x if first else x.permute(0, 4, 1, 2, 3)
    if padding == "same":
        x = pad_spatial(
            x, [same_padding(*n) for n in zip(x.shape[2:], sizes, steps, spread, strict=True)]
        )
    for axis, (window, step, wide) in enumerate(zip(sizes, steps, spread, strict=True), 2):
        x = x.unfold(axis, (window - 1) * wide + 1, step)[..., ::wide]
    made = x.permute(0, 2, 3, 4, 5, 6, 7, 1).reshape(len(x), *x.shape[2:5], -1)
    made = made.permute(0, 4, 1, 2, 3) if first else made
    return made.squeeze(0) if single else made


def _looked_up(images: Any, rows: Any, columns: Any, order: int, mode: str, value: float) -> Any:
    """Images (N, height, width, C) at places (N, height, width)."""
    made = [
        tg.stack([
            map_coordinates(channel, [y, x], order, mode, value) for channel in image.unbind(-1)
        ], -1)
        for image, y, x in zip(images, rows, columns, strict=True)
    ]  # fmt: skip
    return tg.stack(made)


@op
def perspective_transform(
    images: Any, start_points: Any, end_points: Any, interpolation: str = "bilinear",
    fill_value: float = 0, data_format: Any = None,
) -> Any:  # fmt: skip
    """Images seen in perspective: what was at ``start_points``, four corners (x, y), comes to
    ``end_points``; (4, 2) for all images or (N, 4, 2).

    Raises ValueError for other shapes and an unknown interpolation.
    """
    start, end = to_float(start_points), to_float(end_points)
    if start.shape != end.shape or start.ndim not in (2, 3) or start.shape[-2:] != (4, 2):
        raise ValueError(
            "perspective_transform: expected points of shape (4, 2) or (N, 4, 2), got "
            f"{tuple(start.shape)} and {tuple(end.shape)}"
        )
    if interpolation not in _ORDERS:
        raise ValueError(f"interpolation: expected one of {set(_ORDERS)}, got {interpolation!r}")
    (u, v), (x, y) = (points.reshape(-1, 4, 2).unbind(-1) for points in (start, end))
    one, zero = tg.ones_like(x), tg.zeros_like(x)
    # u (g x + h y + 1) = a x + b y + c and the same for v: eight equations for a to h.
    of_u = tg.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1)
    of_v = tg.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1)
    found = tg.linalg.solve(tg.cat([of_u, of_v], 1), tg.cat([u, v], 1))

    def change(pictures: Any) -> Any:
        down, right = tg.meshgrid(
            tg.arange(pictures.shape[1], dtype=found.dtype),
            tg.arange(pictures.shape[2], dtype=found.dtype), indexing="ij",
        )  # fmt: skip
        a, b, c, d, e, f, g, h = found.expand(len(pictures), 8).reshape(-1, 8, 1, 1).unbind(1)
        scale = g * right + h * down + 1
        columns, rows = (a * right + b * down + c) / scale, (d * right + e * down + f) / scale
        return _looked_up(pictures, rows, columns, _ORDERS[interpolation], "constant", fill_value)

    return batched(images, data_format, change)


@op
def elastic_transform(
    images: Any, alpha: float = 20.0, sigma: float = 5.0, interpolation: str = "bilinear",
    fill_mode: str = "reflect", fill_value: float = 0.0, seed: Any = None, data_format: Any = None,
) -> Any:  # fmt: skip
    """Images whose pixels moved by blurred noise: ``alpha`` says how far, ``sigma`` how far the
    noise is spread. Raises ValueError for an unknown interpolation or fill mode."""
    if interpolation not in _ORDERS:
        raise ValueError(f"interpolation: expected one of {set(_ORDERS)}, got {interpolation!r}")
    size = int(6 * float(sigma)) | 1

    def change(x: Any) -> Any:
        shape = (len(x), 2, *x.shape[1:3])
        noise = random.normal(shape, seed=seed).to(x.dtype) * float(sigma)
        moves = blurred(noise, (size, size), (float(sigma), float(sigma))) * float(alpha)
        down, right = tg.meshgrid(
            tg.arange(x.shape[1], dtype=x.dtype), tg.arange(x.shape[2], dtype=x.dtype),
            indexing="ij",
        )  # fmt: skip
        return _looked_up(
            x, down + moves[:, 0], right + moves[:, 1], _ORDERS[interpolation], fill_mode,
            fill_value,
        )  # fmt: skip

    return batched(images, data_format, change)


def _triangle(x: Any) -> Any:
    return (1 - x).clamp(min=0)


def _cubic(x: Any) -> Any:
    """Keys's cubic with a = -1/2."""
    near = ((1.5 * x - 2.5) * x) * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return tg.where(x < 1, near, tg.where(x < 2, far, tg.zeros_like(x)))


def _lanczos(radius: int) -> Any:
    def kernel(x: Any) -> Any:
        safe = x.clamp(min=1e-3) * math.pi
        made = radius * tg.sin(safe) * tg.sin(safe / radius) / (safe * safe)
        made = tg.where(x > 1e-3, made, tg.ones_like(x))
        return tg.where(x > radius, tg.zeros_like(x), made)

    return kernel


_KERNELS = {
    **dict.fromkeys(("linear", "bilinear", "trilinear", "triangle"), _triangle),
    **dict.fromkeys(("cubic", "bicubic", "tricubic"), _cubic),
    "lanczos3": _lanczos(3),
    "lanczos5": _lanczos(5),
}


@op
def scale_and_translate(
    images: Any, output_shape: Any, scale: Any, translation: Any, spatial_dims: Any, method: str,
    antialias: bool = True,
) -> Any:  # fmt: skip
    """Arrays scaled and moved along ``spatial_dims``, and cut off at ``output_shape``: the element
    at x is that at (x - translation) / scale. Raises ValueError for an unknown method."""
    if method not in _KERNELS:
        raise ValueError(
            f"Invalid value for argument `method`. Expected of one of {sorted(_KERNELS)}. "
            f"Received: method={method}"
        )
    x = convert_to_tensor(images)
    scale, translation = to_float(scale), to_float(translation)
    made = to_float(x)
    for i, axis in enumerate(spatial_dims):
        axis = axis % x.ndim
        size, wanted = x.shape[axis], int(output_shape[axis])
        inverse = 1 / scale[i]
        spread = inverse.clamp(min=1) if antialias else tg.ones_like(inverse)
        place = (tg.arange(wanted, dtype=made.dtype) + 0.5 - translation[i]) * inverse - 0.5
        apart = tg.abs(place - tg.arange(size, dtype=made.dtype).unsqueeze(1)) / spread
        weights = _KERNELS[method](apart)
        total = weights.sum(0, keepdim=True)
        seen = (tg.abs(total) > 1000 * 1.1920929e-7) & (place >= -0.5) & (place <= size - 0.5)
        weights = tg.where(seen, weights / tg.where(total != 0, total, 1), 0)
        made = tg.moveaxis(tg.moveaxis(made, axis, -1) @ weights.to(made.dtype), -1, axis)
    if x.dtype.is_floating_point:
        return made
    return tg.round(made).clamp(int(x.min()), int(x.max())).to(x.dtype)
