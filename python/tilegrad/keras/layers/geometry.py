"""Sizes of windows that slide over images: padding, output sizes, and the order of axes."""

from __future__ import annotations

from typing import Any

__all__ = [
    "channels_first",
    "channels_last",
    "per_axis",
    "sliding_size",
    "spatial_sizes",
    "with_channels",
]


def per_axis(value: Any, rank: int, name: str, allow_zero: bool = False) -> tuple[int, ...]:
    """One number for each axis, from a number or a sequence. Raises ValueError for others."""
    if isinstance(value, int) and not isinstance(value, bool):
        made: tuple = (value,) * rank
    else:
        try:
            made = tuple(int(n) for n in value)
        except (TypeError, ValueError):
            made = ()
        if len(made) != rank:
            raise ValueError(
                f"The `{name}` argument must be a tuple of {rank} integers. Received {name}={value}"
            )
    if any(n < 0 or (n == 0 and not allow_zero) for n in made):
        raise ValueError(
            f"The `{name}` argument must be a tuple of {rank} integers. Received {name}={value}, "
            f"including values {set(made)} that do not satisfy `value > 0`"
        )
    return made


def channels_first(x: Any) -> Any:
    """(N, ..., C) as a view (N, C, ...)."""
    return x.permute(0, x.ndim - 1, *range(1, x.ndim - 1))


def channels_last(x: Any) -> Any:
    """(N, C, ...) as a view (N, ..., C)."""
    return x.permute(0, *range(2, x.ndim), 1)


def spatial_sizes(shape: Any, data_format: str) -> tuple:
    """The sizes without batch and channels."""
    return tuple(shape[1:-1]) if data_format == "channels_last" else tuple(shape[2:])


def with_channels(shape: Any, sizes: Any, channels: Any, data_format: str) -> tuple:
    """A whole shape from its parts; the batch is that of ``shape``."""
    if data_format == "channels_last":
        return (shape[0], *sizes, channels)
    return (shape[0], channels, *sizes)


def sliding_size(
    size: int | None, window: int, stride: int, padding: str, dilation: int = 1
) -> int | None:
    """How many places a window has along an axis; None for an open size.

    Raises ValueError if it has none."""
    if size is None:
        return None
    if padding in ("same", "causal"):
        return -(-size // stride)
    span = (window - 1) * dilation + 1
    made = (size - span) // stride + 1
    if made < 1:
        raise ValueError(
            f"a window of size {span} does not fit into an axis of size {size}; use "
            "padding='same', a smaller window or a larger input"
        )
    return made


def same_padding(size: int, window: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """What ``padding="same"`` adds before and after an axis: the odd one behind."""
    span = (window - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + span - size, 0)
    return total // 2, total - total // 2


def pad_spatial(x: Any, pads: list[tuple[int, int]], value: float = 0) -> Any:
    """(N, C, ...) with elements added around its last axes."""
    from ...nn.functional import pad

    if not any(before or after for before, after in pads):
        return x
    return pad(x, [n for pair in reversed(pads) for n in pair], value=value)
