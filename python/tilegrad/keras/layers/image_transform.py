"""Images moved, turned and scaled: every pixel of the result is looked up in the image."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

__all__ = [
    "FILL_MODES", "affine", "check_resizing", "resize", "resize_cropping", "resize_padding",
]  # fmt: skip

FILL_MODES = ("constant", "nearest", "wrap", "reflect")


def affine(
    images: Any,
    matrices: Any,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0.0,
) -> Any:
    """``images`` (N, height, width, C) seen through ``matrices`` (N, 6): the pixel (x, y) of the
    result is the one at (a x + b y + c, d x + e y + f) of the image.

    Raises ValueError for an unknown ``interpolation`` or ``fill_mode``.
    """
    if interpolation not in ("nearest", "bilinear"):
        raise ValueError(f"interpolation: expected 'nearest' or 'bilinear', got {interpolation!r}")
    if fill_mode not in FILL_MODES:
        raise ValueError(f"fill_mode: expected one of {FILL_MODES}, got {fill_mode!r}")
    height, width = images.shape[1:3]
    ys, xs = tg.meshgrid(
        tg.arange(height, dtype=tg.float32), tg.arange(width, dtype=tg.float32), indexing="ij"
    )
    a, b, c, d, e, f = (m.reshape(-1, 1, 1) for m in matrices.unbind(1))
    x, y = a * xs + b * ys + c, d * xs + e * ys + f
    look = _Lookup(images, fill_mode, fill_value)
    if interpolation == "nearest":
        return look(tg.round(x), tg.round(y))
    left, top = tg.floor(x), tg.floor(y)
    right_share, bottom_share = (x - left).unsqueeze(-1), (y - top).unsqueeze(-1)
    upper = look(left, top) * (1 - right_share) + look(left + 1, top) * right_share
    lower = look(left, top + 1) * (1 - right_share) + look(left + 1, top + 1) * right_share
    return upper * (1 - bottom_share) + lower * bottom_share


class _Lookup:
    """Pixels at whole coordinates, inside and outside."""

    def __init__(self, images: Any, mode: str, value: float) -> None:
        self.count, self.height, self.width, self.channels = images.shape
        self.flat = images.reshape(-1, self.channels)
        self.mode, self.value = mode, value
        rows = tg.arange(self.count) * (self.height * self.width)
        self.first = rows.reshape(-1, 1, 1)

    def __call__(self, x: Any, y: Any) -> Any:
        outside = None
        if self.mode == "constant":
            outside = (x < 0) | (x > self.width - 1) | (y < 0) | (y > self.height - 1)
        column, row = self._inside(x, self.width), self._inside(y, self.height)
        index = self.first + row * self.width + column
        found = tg.index_select(self.flat, 0, index.reshape(-1))
        found = found.reshape(*x.shape, self.channels)
        if outside is None:
            return found
        return tg.where(outside.unsqueeze(-1), tg.full_like(found, self.value), found)

    def _inside(self, place: Any, size: int) -> Any:
        place = place.to(tg.int64)
        if self.mode == "wrap":
            return tg.remainder(place, size)
        if self.mode == "reflect":
            place = tg.remainder(place, 2 * size)
            return tg.where(place >= size, 2 * size - 1 - place, place)
        return place.clamp(0, size - 1)


def resize(
    images: Any, size: tuple[int, int], interpolation: str = "bilinear", antialias: bool = False
) -> Any:
    """``images`` (N, height, width, C) at another size; ``antialias`` averages what becomes one
    pixel, unless the nearest one is taken. Raises ValueError for an unknown ``interpolation``."""
    from ...nn import functional as F
    from .geometry import channels_first, channels_last

    modes = ("nearest", "bilinear", "bicubic")
    if interpolation not in modes:
        raise ValueError(f"interpolation: expected one of {modes}, got {interpolation!r}")
    if interpolation == "nearest":
        rows = _nearest(images.shape[1], size[0])
        columns = _nearest(images.shape[2], size[1])
        return tg.index_select(tg.index_select(images, 1, rows), 2, columns)
    made = F.interpolate(
        channels_first(images), size=tuple(size), mode=interpolation, antialias=antialias
    )
    return channels_last(made)


def resize_cropping(
    images: Any, size: tuple[int, int], interpolation: str, antialias: bool = False
) -> Any:
    """The largest middle part of the wanted shape, resized."""
    (h, w), (height, width) = images.shape[1:3], size
    part_h = max(min(h, int(w * height / width)), 1)
    part_w = max(min(w, int(h * width / height)), 1)
    top, left = int((h - part_h) / 2), int((w - part_w) / 2)
    part = images[:, top : top + part_h, left : left + part_w]
    return resize(part, size, interpolation, antialias)


def resize_padding(
    images: Any, size: tuple[int, int], interpolation: str, antialias: bool, fill_value: float
) -> Any:
    """The whole image in the middle of a larger one of the wanted shape, resized."""
    from ...nn.functional import pad

    (h, w), (height, width) = images.shape[1:3], size
    rows = int((max(h, int(w * height / width)) - h) / 2)
    columns = int((max(w, int(h * width / height)) - w) / 2)
    framed = pad(images, (0, 0, columns, columns, rows, rows), value=float(fill_value))
    return resize(framed, size, interpolation, antialias)


def check_resizing(fill_mode: str, crop: bool, padded: bool) -> None:
    """Raises ValueError for options of resizing that contradict each other or are unknown."""
    if fill_mode != "constant":
        raise ValueError(
            "Invalid value for argument `fill_mode`. Only `'constant'` is supported. Received: "
            f"fill_mode={fill_mode}"
        )
    if crop and padded:
        raise ValueError(
            "Only one of `pad_to_aspect_ratio` & `crop_to_aspect_ratio` can be `True`."
        )


def _nearest(size: int, wanted: int) -> Any:
    places = tg.floor((tg.arange(wanted, dtype=tg.float64) + 0.5) * size / wanted)
    return places.to(tg.int64).clamp(max=size - 1)
