"""``keras.ops.image``: images resized, cropped, moved, blurred, and their colours."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ..config import standardize_data_format
from ..dtypes import convert_to_tensor
from ..op import op, to_float

__all__ = [
    "affine_transform", "batched", "blurred", "crop_images", "elastic_transform",
    "extract_patches", "extract_patches_3d", "from_hsv", "gaussian_blur", "hsv_to_rgb",
    "map_coordinates", "pad_images", "perspective_transform", "resize", "rgb_to_grayscale",
    "rgb_to_hsv", "scale_and_translate", "sobel_edges", "ssim", "to_hsv",
]  # fmt: skip


def batched(images: Any, data_format: Any, function: Any, floating: bool = True) -> Any:
    """``function`` of (N, height, width, C), for one image or many, channels last or first.

    Raises ValueError for another rank.
    """
    x = to_float(images) if floating else convert_to_tensor(images)
    if x.ndim not in (3, 4):
        raise ValueError(
            "Invalid images rank: expected rank 3 (single image) or rank 4 (batch of images). "
            f"Received input with shape: images.shape={tuple(x.shape)}"
        )
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
    """Images at another size (height, width), of the dtype they had: stretched, or their middle
    part (``crop_to_aspect_ratio``), or all of them with ``fill_value`` beside it
    (``pad_to_aspect_ratio``).

    Raises ValueError for an unknown interpolation or fill mode, for both ratios, and for a size
    that is no pair.
    """
    from ..layers import image_transform as how

    how.check_resizing(fill_mode, crop_to_aspect_ratio, pad_to_aspect_ratio)
    if len(size) != 2:
        raise ValueError(f"Argument `size` must be (height, width). Received: size={size}")
    wanted, dtype = (int(size[0]), int(size[1])), convert_to_tensor(images).dtype

    def change(x: Any) -> Any:
        if crop_to_aspect_ratio:
            return how.resize_cropping(x, wanted, interpolation, antialias)
        if pad_to_aspect_ratio:
            return how.resize_padding(x, wanted, interpolation, antialias, fill_value)
        return how.resize(x, wanted, interpolation, antialias)

    made = batched(images, data_format, change)
    if dtype.is_floating_point:
        return made
    if dtype is tg.uint8 and interpolation == "bicubic":
        made = made.clamp(0, 255)
    return tg.round(made).to(dtype)


@op
def affine_transform(
    images: Any, transform: Any, interpolation: str = "bilinear", fill_mode: str = "constant",
    fill_value: float = 0, data_format: Any = None,
) -> Any:  # fmt: skip
    """Images seen through maps of eight numbers, of which the last two must be zero.

    Raises ValueError for unknown modes."""
    from ..layers.image_transform import affine

    maps = to_float(transform).reshape(-1, 8)[:, :6]
    return batched(
        images,
        data_format,
        lambda x: affine(x, maps.expand(len(x), 6), interpolation, fill_mode, fill_value),
    )


@op
def rgb_to_grayscale(images: Any, data_format: Any = None) -> Any:
    """One channel of brightness."""
    weights = convert_to_tensor([0.2989, 0.587, 0.114])
    return batched(images, data_format, lambda x: (x * weights).sum(-1, keepdim=True))


def _edges(size: int, first: Any, last: Any, target: Any, names: str, grown: bool) -> tuple:
    """What is added or taken away at both ends of an axis, of which two numbers of three tell.

    Raises ValueError for more or less, and for numbers that would be negative.
    """
    if [first, last, target].count(None) != 1:
        raise ValueError(
            f"Must specify exactly two of {names}. Received: {first}, {last}, {target}"
        )
    change = None if target is None else (target - size if grown else size - target)
    first = change - last if first is None else first
    last = change - first if last is None else last
    if first < 0 or last < 0:
        raise ValueError(
            f"{names}: expected numbers that fit a size of {size}, got {first}, {last}"
        )
    return int(first), int(last)


def _sizes(images: Any, data_format: Any) -> tuple[int, int]:
    last = standardize_data_format(data_format) == "channels_last"
    shape = convert_to_tensor(images).shape
    return tuple(shape[-3:-1]) if last else tuple(shape[-2:])


@op
def pad_images(
    images: Any, top_padding: Any = None, left_padding: Any = None, bottom_padding: Any = None,
    right_padding: Any = None, target_height: Any = None, target_width: Any = None,
    data_format: Any = None,
) -> Any:  # fmt: skip
    """Zeros around images. Of the three numbers for each axis, two are given. Raises ValueError
    otherwise."""
    high, wide = _sizes(images, data_format)
    top, bottom = _edges(
        high, top_padding, bottom_padding, target_height,
        "top_padding, bottom_padding, target_height", True,
    )  # fmt: skip
    left, right = _edges(
        wide, left_padding, right_padding, target_width,
        "left_padding, right_padding, target_width", True,
    )  # fmt: skip
    pads = [0, 0, left, right, top, bottom]
    return batched(images, data_format, lambda x: tg.nn.functional.pad(x, pads), False)


@op
def crop_images(
    images: Any, top_cropping: Any = None, left_cropping: Any = None, bottom_cropping: Any = None,
    right_cropping: Any = None, target_height: Any = None, target_width: Any = None,
    data_format: Any = None,
) -> Any:  # fmt: skip
    """A part of images. Of the three numbers for each axis, two are given. Raises ValueError
    otherwise."""
    high, wide = _sizes(images, data_format)
    top, bottom = _edges(
        high, top_cropping, bottom_cropping, target_height,
        "top_cropping, bottom_cropping, target_height", False,
    )  # fmt: skip
    left, right = _edges(
        wide, left_cropping, right_cropping, target_width,
        "left_cropping, right_cropping, target_width", False,
    )  # fmt: skip
    rows, columns = slice(top, high - bottom), slice(left, wide - right)
    return batched(images, data_format, lambda x: x[:, rows, columns], False)


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
    return batched(images, data_format, to_hsv)


@op
def hsv_to_rgb(images: Any, data_format: Any = None) -> Any:
    """Red, green and blue of images in hue, saturation and value."""
    return batched(images, data_format, from_hsv)


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

    return batched(images, data_format, change)


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

    return batched(images, data_format, change)


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


from .image_filters import (  # noqa: E402  (it uses what stands above)
    elastic_transform,
    extract_patches_3d,
    perspective_transform,
    scale_and_translate,
    sobel_edges,
    ssim,
)
