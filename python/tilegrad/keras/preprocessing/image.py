"""``keras.preprocessing.image``: images in files and as arrays."""

from __future__ import annotations

from typing import Any

from ..dtypes import convert_to_numpy, convert_to_tensor
from ..utils.images import array_to_img, img_to_array, load_img, save_img

__all__ = ["array_to_img", "img_to_array", "load_img", "save_img", "smart_resize"]


def smart_resize(
    x: Any, size: Any, interpolation: str = "bilinear", data_format: Any = "channels_last",
    backend_module: Any = None,
) -> Any:  # fmt: skip
    """Images at another size (height, width) without distortion: the largest middle part is taken.

    Raises ValueError for an unknown interpolation.
    """
    from ..ops.image import resize

    made = resize(
        convert_to_tensor(x), size, interpolation, crop_to_aspect_ratio=True,
        data_format=data_format,
    )  # fmt: skip
    return made if hasattr(x, "detach") else convert_to_numpy(made)
