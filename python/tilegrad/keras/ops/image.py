"""``keras.ops.image``: images resized, cropped, padded and seen through affine maps."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ..config import standardize_data_format
from ..dtypes import convert_to_tensor
from ..op import op, to_float

__all__ = ["affine_transform", "crop_images", "pad_images", "resize", "rgb_to_grayscale"]


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
