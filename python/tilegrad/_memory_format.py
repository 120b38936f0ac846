"""Memory formats: in which order the elements of a tensor lie, whatever its shape says.

``contiguous_format`` is row-major. With ``channels_last`` a tensor (N, C, H, W) lies pixel by
pixel, as (N, H, W, C), and with ``channels_last_3d`` one of (N, C, D, H, W) as (N, D, H, W, C).
``preserve_format`` means the order of the argument, whatever that is: copies, elementwise results
and the ``..._like`` functions keep it. Formats change strides, never values.
"""

from __future__ import annotations

from typing import Any

from . import _C


class memory_format:
    """The type of ``channels_last`` and the other formats."""

    __slots__ = ("_name", "_rank")

    def __init__(self, name: str, rank: int = 0) -> None:
        self._name, self._rank = name, rank

    def __repr__(self) -> str:
        return f"tilegrad.{self._name}"

    def __reduce__(self) -> str:
        return self._name  # pickled by its name in this module: there is one of each


contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last", 4)
channels_last_3d = memory_format("channels_last_3d", 5)


def check_format(op: str, format: Any) -> None:
    """Raises TypeError unless ``format`` is a memory format."""
    if not isinstance(format, memory_format):
        raise TypeError(
            f"{op}: argument 'memory_format': expected a tilegrad.memory_format, "
            f"got {type(format).__name__}"
        )


def is_in_format(input: Any, format: memory_format) -> bool:
    """Whether the elements lie without gaps in that order; RuntimeError for preserve_format."""
    check_format("is_contiguous", format)
    if format is preserve_format:
        raise RuntimeError("is_contiguous: preserve memory format is unsupported")
    if format is contiguous_format:
        return _C.is_contiguous(input)
    return input.ndim == format._rank and _C.is_contiguous(input.movedim(1, -1))


def in_format(input: Any, format: memory_format) -> Any:
    """The tensor itself if it lies in that format, else a copy that does.

    RuntimeError for preserve_format and for a number of dimensions that the format does not have.
    """
    check_format("contiguous", format)
    if format is preserve_format:
        raise RuntimeError(
            "contiguous: preserve memory format is unsupported by the contiguous operator"
        )
    if format is contiguous_format:
        return input.contiguous()
    if input.ndim != format._rank:
        raise RuntimeError(
            f"contiguous: required rank {format._rank} tensor to use {format._name} format, "
            f"got shape {tuple(input.shape)}"
        )
    if is_in_format(input, format):
        return input
    return input.movedim(1, -1).contiguous().movedim(-1, 1)
