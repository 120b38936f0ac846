"""Padding along any axes, as NumPy's ``pad`` counts them."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

__all__ = ["pad_axes"]


def pad_axes(x: Any, widths: Any, mode: str, value: Any = 0) -> Any:
    """``x`` with ``widths[axis] = (before, after)`` more elements, by the mode ``constant``,
    ``reflect``, ``symmetric`` or ``edge``. Raises ValueError for another mode."""
    if mode == "constant":
        flat = [n for before, after in reversed(list(widths)) for n in (int(before), int(after))]
        return tg.nn.functional.pad(x, flat, value=value)
    if mode not in ("reflect", "symmetric", "edge"):
        raise ValueError(
            "pad: expected mode 'constant', 'reflect', 'symmetric' or 'edge', got " + repr(mode)
        )
    for axis, (before, after) in enumerate(widths):
        if before or after:
            places = tg.arange(-int(before), x.shape[axis] + int(after))
            x = tg.index_select(x, axis, _inside(places, x.shape[axis], mode))
    return x


def _inside(places: Any, size: int, mode: str) -> Any:
    """Where the element for a place outside is taken from."""
    if mode == "edge" or size == 1:
        return places.clamp(0, size - 1)
    if mode == "symmetric":
        places = tg.remainder(places, 2 * size)
        return tg.where(places >= size, 2 * size - 1 - places, places)
    period = 2 * (size - 1)
    places = tg.remainder(places, period)
    return tg.where(places >= size, period - places, places)
