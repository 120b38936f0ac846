"""``keras.ops.image``: images resized, cropped, moved, blurred, and their colours."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ..config import standardize_data_format
from ..dtypes import convert_to_tensor
from ..op import op, to_float

__all__ = [
    "affine_transform", "blurred", "crop_images", "extract_patches", "from_hsv", "gaussian_blur",
    "hsv_to_rgb", "map_coordinates", "pad_images", "resize", "rgb_to_grayscale", "rgb_to_hsv",
    "to_hsv",
]  # fmt: skip


def _batched(images: Any, data_format: Any, function: Any) -> Any:
    """``function`` of (N, height, width, C), for one image or many, channels last or first."""
    x = to_float(images)
    single, first = x.ndim == 3, standardize_data_format(data_format) == "channels_first"
    x = x.unsqueeze(0) if single else x
    y = function(x.permute(0, 2, 3, 1) if first else x)
    y = y.permute(0, 3, 1, 2) if first else y
    return y.squeeze(0) if single else y


@op
def resize(
    images: Any, size: Any, interpolation: str = "bilinear", antialias: bool = False,
    crop_to_aspect_ratio: bool = False, pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant", fill_value: float = 0.0, data_format: Any = None,
) -> Any:  # fmt: skip
    """Images at another size (height, width). Raises ValueError for an unknown interpolation."""
    from ..layers.image_transform import resize as resized
    from ..layers.preprocessing import resize_cropping

    def change(x: Any) -> Any:
        if crop_to_aspect_ratio:
            return resize_cropping(x, size[0], size[1], interpolation)
        return resized(x, tuple(size), interpolation)

    return _batched(images, data_format, change)


@op
def affine_transform(
    images: Any, transform: Any, interpolation: str = "bilinear", fill_mode: str = "constant",
    fill_value: float = 0, data_format: Any = None,
) -> Any:  # fmt: skip
    """Images seen through maps of eight numbers, of which the last two must be zero.

    Raises ValueError for unknown modes."""
    from ..layers.image_transform import affine

    maps = to_float(transform).reshape(-1, 8)[:, :6]
    return _batched(
        images,
        data_format,
        lambda x: affine(x, maps.expand(len(x), 6), interpolation, fill_mode, fill_value),
    )


@op
def rgb_to_grayscale(images: Any, data_format: Any = None) -> Any:
    """One channel of brightness."""
    weights = convert_to_tensor([0.2989, 0.587, 0.114])
    return _batched(images, data_format, lambda x: (x * weights).sum(-1, keepdim=True))


@op
def pad_images(
    images: Any, top_padding: int, left_padding: int, bottom_padding: int, right_padding: int,
    data_format: Any = None,
) -> Any:  # fmt: skip
    """Zeros around images."""
    pads = [0, 0, left_padding, right_padding, top_padding, bottom_padding]
    return _batched(images, data_format, lambda x: tg.nn.functional.pad(x, pads))


@op
def crop_images(
    images: Any, top_cropping: int, left_cropping: int, target_height: int, target_width: int,
    data_format: Any = None,
) -> Any:  # fmt: skip
    """A part of images."""
    rows = slice(top_cropping, top_cropping + target_height)
    columns = slice(left_cropping, left_cropping + target_width)
    return _batched(images, data_format, lambda x: x[:, rows, columns])


def to_hsv(images: Any) -> Any:
    """Hue, saturation and value of (..., red, green, blue), each from 0 to 1 if the colours are."""
    red, green, blue = images.unbind(-1)
    value = tg.maximum(tg.maximum(red, green), blue)
    width = value - tg.minimum(tg.minimum(red, green), blue)
    safe = tg.where(width > 0, width, tg.ones_like(width)) * 6
    hue = tg.where(value == green, (blue - red) / safe + 1 / 3, (red - green) / safe + 2 / 3)
    hue = tg.where(value == red, (green - blue) / safe, hue)
    hue = tg.where(width > 0, hue, tg.zeros_like(hue))
    hue = tg.where(hue < 0, hue + 1, hue)
    strength = width / tg.where(value > 0, value, tg.ones_like(value))
    return tg.stack([hue, tg.where(value > 0, strength, tg.zeros_like(value)), value], -1)


def from_hsv(images: Any) -> Any:
    """Red, green and blue of (..., hue, saturation, value)."""
    hue, strength, value = images.unbind(-1)
    turn = tg.remainder(hue, 1.0) * 6
    shares = [
        (tg.abs(turn - 3) - 1).clamp(0, 1),
        (2 - tg.abs(turn - 2)).clamp(0, 1),
        (2 - tg.abs(turn - 4)).clamp(0, 1),
    ]
    return tg.stack([value * (1 - strength + strength * share) for share in shares], -1)


@op
def rgb_to_hsv(images: Any, data_format: Any = None) -> Any:
    """Hue, saturation and value of images in red, green and blue."""
    return _batched(images, data_format, to_hsv)


@op
def hsv_to_rgb(images: Any, data_format: Any = None) -> Any:
    """Red, green and blue of images in hue, saturation and value."""
    return _batched(images, data_format, from_hsv)


def blurred(x: Any, sizes: Any, sigmas: Any) -> Any:
    """(N, C, height, width) convolved with a Gaussian, zeros around."""
    lines = []
    for size, sigma in zip(sizes, sigmas, strict=True):
        place = (tg.arange(int(size), dtype=x.dtype) - (int(size) - 1) / 2) / float(sigma)
        line = tg.exp(-0.5 * place * place)
        lines.append(line / line.sum())
    weight = tg.outer(lines[1], lines[0]).reshape(1, 1, int(sizes[0]), int(sizes[1]))
    weight = weight.expand(x.shape[1], 1, *weight.shape[2:]).contiguous()
    return tg.conv2d(x, weight, None, 1, tuple(int(n) // 2 for n in sizes), 1, x.shape[1])


@op
def gaussian_blur(
    images: Any, kernel_size: Any = (3, 3), sigma: Any = (1.0, 1.0), data_format: Any = None
) -> Any:
    """Images convolved with a Gaussian of that size and deviation, zeros around."""

    def change(x: Any) -> Any:
        return blurred(x.permute(0, 3, 1, 2), kernel_size, sigma).permute(0, 2, 3, 1)

    return _batched(images, data_format, change)


@op
def extract_patches(
    images: Any, size: Any, strides: Any = None, dilation_rate: Any = 1, padding: str = "valid",
    data_format: Any = None,
) -> Any:  # fmt: skip
    """The windows of images, each as one vector in the place of a pixel. Raises ValueError for a
    size that is no number or pair, and for an unknown padding."""
    from ..layers.geometry import pad_spatial, per_axis, same_padding

    sizes = per_axis(size, 2, "size")
    steps = sizes if not strides else per_axis(strides, 2, "strides")
    spread = per_axis(dilation_rate, 2, "dilation_rate")
    if padding not in ("valid", "same"):
        raise ValueError(f"extract_patches: expected padding 'valid' or 'same', got {padding!r}")

    def change(x: Any) -> Any:
        x = x.permute(0, 3, 1, 2)
        if padding == "same":
            x = pad_spatial(
                x, [same_padding(*n) for n in zip(x.shape[2:], sizes, steps, spread, strict=True)]
            )
        high, wide = (
            (n - (k - 1) * d - 1) // s + 1
            for n, k, s, d in zip(x.shape[2:], sizes, steps, spread, strict=True)
        )
        made = tg.nn.functional.unfold(x, sizes, spread, 0, steps)
        made = made.reshape(len(x), x.shape[1], sizes[0] * sizes[1], high, wide)
        return made.permute(0, 3, 4, 2, 1).reshape(len(x), high, wide, -1)

    return _batched(images, data_format, change)


_FILLS = ("constant", "nearest", "wrap", "mirror", "reflect")


def _inside(place: Any, size: int, mode: str) -> Any:
    """Where a coordinate outside of an axis is looked up."""
    if mode in ("constant", "nearest"):
        return place.clamp(0, size - 1)
    if mode == "wrap":
        return tg.remainder(place, size)
    if mode == "mirror":  # the edge once
        place = tg.remainder(place, max(2 * size - 2, 1))
        return tg.where(place >= size, 2 * size - 2 - place, place)
    place = tg.remainder(place, 2 * size)  # the edge twice
    return tg.where(place >= size, 2 * size - 1 - place, place)


@op
def map_coordinates(
    inputs: Any, coordinates: Any, order: int, fill_mode: str = "constant", fill_value: Any = 0
) -> Any:
    """``inputs`` looked up at ``coordinates``, one tensor for each axis; ``order`` 0 is the nearest
    element, 1 linear in between. Raises ValueError for another number of axes or an unknown mode,
    NotImplementedError for a higher order."""
    x = convert_to_tensor(inputs)
    places = [to_float(c) for c in coordinates]
    if len(places) != x.ndim:
        raise ValueError(
            "First dim of `coordinates` must be the same as the rank of `inputs`. Received inputs "
            f"with shape: {tuple(x.shape)} and coordinate leading dim of {len(places)}"
        )
    if fill_mode not in _FILLS:
        raise ValueError(f"fill_mode: expected one of {_FILLS}, got {fill_mode!r}")
    if order not in (0, 1):
        raise NotImplementedError("map_coordinates currently requires order<=1")
    corners: list[tuple[list[Any], Any, Any]] = [([], None, None)]
    for place, size in zip(places, x.shape, strict=True):
        first = tg.floor(place) if order else tg.round(place)
        ends = [(first, None)]
        if order:
            ends = [(first, 1 - (place - first)), (first + 1, place - first)]
        grown = []
        for index, weight, valid in corners:
            for end, share in ends:
                whole = end.to(tg.int64)
                seen = (whole >= 0) & (whole < size) if fill_mode == "constant" else None
                both = share if weight is None else weight * share if share is not None else weight
                alive = seen if valid is None else valid & seen
                grown.append(([*index, _inside(whole, size, fill_mode)], both, alive))
        corners = grown
    total: Any = None
    for index, weight, valid in corners:
        found = x[tuple(index)].to(places[0].dtype)
        if valid is not None:
            found = tg.where(valid, found, tg.full_like(found, float(fill_value)))
        found = found if weight is None else found * weight
        total = found if total is None else total + found
    return (total if x.dtype.is_floating_point else tg.round(total)).to(x.dtype)
