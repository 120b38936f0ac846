"""Images in files and as arrays; decoding and encoding are Pillow's."""

from __future__ import annotations

import importlib
import io
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ..config import settings, standardize_data_format
from ..dtypes import convert_to_numpy

__all__ = ["array_to_img", "img_to_array", "load_img", "save_img"]

_FILTERS = ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")


def _pillow(function: str) -> Any:
    try:
        return importlib.import_module("PIL.Image")
    except ImportError:
        raise ImportError(f"keras.utils.{function} needs Pillow: pip install pillow") from None


def load_img(
    path: Any,
    color_mode: str = "rgb",
    target_size: Any = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Any:
    """The image of a file as Pillow's object, resized if ``target_size`` (height, width) is given.

    Raises ValueError for an unknown ``color_mode`` or ``interpolation``, TypeError for what is no
    path, ImportError without Pillow.
    """
    image_module = _pillow("load_img")
    modes = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}
    if color_mode not in modes:
        raise ValueError('color_mode must be "grayscale", "rgb", or "rgba"')
    if not isinstance(path, (str, bytes, os.PathLike, io.BytesIO)):
        raise TypeError(f"path should be path-like or io.BytesIO, not {type(path)}")
    with image_module.open(path) as opened:
        opened.load()
        gray = color_mode == "grayscale" and opened.mode in ("I", "I;16")
        image = opened.copy() if gray else opened.convert(modes[color_mode])
    if target_size is None or image.size == (target_size[1], target_size[0]):
        return image
    if interpolation not in _FILTERS:
        raise ValueError(
            f"Invalid interpolation method {interpolation} specified. Supported methods are "
            f"{', '.join(_FILTERS)}"
        )
    height, width = (int(n) for n in target_size)
    box = None
    if keep_aspect_ratio:
        wide = min(image.width, image.height * width // height)
        high = min(image.height, image.width * height // width)
        left, top = (image.width - wide) // 2, (image.height - high) // 2
        box = (left, top, left + wide, top + high)
    return image.resize((width, height), image_module.Resampling[interpolation.upper()], box=box)


def img_to_array(img: Any, data_format: str | None = None, dtype: Any = None) -> np.ndarray:
    """An image as an array (height, width, channels), or with the channels first by
    ``data_format``. Raises ValueError for an image of another rank than 2 or 3."""
    first = standardize_data_format(data_format) == "channels_first"
    array = np.asarray(img, dtype=dtype or settings.floatx)
    if array.ndim not in (2, 3):
        raise ValueError(f"Unsupported image shape: {array.shape}")
    array = array[..., None] if array.ndim == 2 else array
    return array.transpose(2, 0, 1) if first else array


def array_to_img(
    x: Any, data_format: str | None = None, scale: bool = True, dtype: Any = None
) -> Any:
    """An array (height, width, 1, 3 or 4 channels) as Pillow's image; ``scale`` stretches values
    over 0 to 255. Raises ValueError for other shapes, ImportError without Pillow."""
    image_module = _pillow("array_to_img")
    first = standardize_data_format(data_format) == "channels_first"
    array = np.asarray(convert_to_numpy(x), dtype=dtype or settings.floatx)
    if array.ndim != 3:
        raise ValueError(
            "Expected image array to have rank 3 (single image). Got array with shape: "
            f"{array.shape}"
        )
    array = array.transpose(1, 2, 0) if first else array
    if scale:
        array = array - array.min()
        array = array * (255 / array.max()) if array.max() else array
    modes = {1: "L", 3: "RGB", 4: "RGBA"}
    if array.shape[2] not in modes:
        raise ValueError(f"Unsupported channel number: {array.shape[2]}")
    if array.shape[2] == 1:
        flat = array[:, :, 0]
        return image_module.fromarray(flat.astype("int32" if flat.max() > 255 else "uint8"))
    return image_module.fromarray(np.ascontiguousarray(array.astype("uint8")))


def save_img(
    path: Any,
    x: Any,
    data_format: str | None = None,
    file_format: str | None = None,
    scale: bool = True,
    **kwargs: Any,
) -> None:
    """Writes an array as an image file, in the format of its ending unless told otherwise. Errors
    are those of :func:`array_to_img`."""
    if file_format is None and isinstance(path, (str, os.PathLike)):
        file_format = Path(path).suffix[1:].lower()
    file_format = "jpeg" if file_format == "jpg" else file_format
    image = array_to_img(x, data_format=data_format, scale=scale)
    if image.mode == "RGBA" and file_format == "jpeg":
        warnings.warn(
            "The JPEG format does not support RGBA images, converting to RGB.", stacklevel=2
        )
        image = image.convert("RGB")
    image.save(path, format=file_format, **kwargs)
