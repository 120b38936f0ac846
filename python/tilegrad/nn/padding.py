"""Padding layers: a frame around the last one, two or three dimensions."""

from __future__ import annotations

from typing import Any

from . import functional as F
from .module import Module

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]


class _Pad(Module):
    """``padding``: one size for all sides, or a pair for each dimension, the last one first."""

    dims: int
    mode: str

    def __init__(self, padding: Any) -> None:
        super().__init__()
        count = 2 * self.dims
        sizes = (padding,) * count if isinstance(padding, int) else padding
        if (
            not isinstance(sizes, (tuple, list))
            or len(sizes) != count
            or not all(isinstance(size, int) for size in sizes)
        ):
            raise ValueError(
                f"{type(self).__name__}: argument 'padding': expected an int or {count}, "
                f"got {padding!r}"
            )
        self.padding = tuple(sizes)

    def forward(self, input: Any) -> Any:
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    mode = "constant"

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Any) -> Any:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """``value`` before and behind the last dimension; ``padding`` is one size or two.

    Any shape with at least one dimension. Raises ValueError for other numbers of sizes.
    """

    dims = 1


class ConstantPad2d(_ConstantPad):
    """``value`` around the last two dimensions; ``padding`` is one size or (left, right, top,
    bottom).

    Any shape with at least two dimensions. Raises ValueError for other numbers of sizes.
    """

    dims = 2


class ConstantPad3d(_ConstantPad):
    """``value`` around the last three dimensions; ``padding`` is one size or (left, right, top,
    bottom, front, back).

    Any shape with at least three dimensions. Raises ValueError for other numbers of sizes.
    """

    dims = 3


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad1d(_ZeroPad):
    """:class:`ConstantPad1d` with zeros."""

    dims = 1


class ZeroPad2d(_ZeroPad):
    """:class:`ConstantPad2d` with zeros."""

    dims = 2


class ZeroPad3d(_ZeroPad):
    """:class:`ConstantPad3d` with zeros."""

    dims = 3


class ReflectionPad1d(_Pad):
    """Mirrors (N, C, L) or (C, L) at its ends, which are not repeated; each size is below L.

    ``padding`` is one size or two. Raises ValueError for other numbers of sizes.
    """

    dims, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """Mirrors (N, C, H, W) or (C, H, W) at its edges, which are not repeated.

    ``padding`` is one size or (left, right, top, bottom), each below the dimension's size. Raises
    ValueError for other numbers of sizes.
    """

    dims, mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """Mirrors (N, C, D, H, W) or (C, D, H, W) at its faces, which are not repeated.

    ``padding`` is one size or (left, right, top, bottom, front, back), each below the dimension's
    size. Raises ValueError for other numbers of sizes.
    """

    dims, mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """Repeats the first and last element of (N, C, L) or (C, L).

    ``padding`` is one size or two. Raises ValueError for other numbers of sizes.
    """

    dims, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """Repeats the edges of (N, C, H, W) or (C, H, W).

    ``padding`` is one size or (left, right, top, bottom). Raises ValueError for other numbers of
    sizes.
    """

    dims, mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """Repeats the faces of (N, C, D, H, W) or (C, D, H, W).

    ``padding`` is one size or (left, right, top, bottom, front, back). Raises ValueError for other
    numbers of sizes.
    """

    dims, mode = 3, "replicate"


class _CircularPad(_Pad):
    mode = "circular"

    def forward(self, input: Any) -> Any:
        if input.ndim not in (self.dims + 1, self.dims + 2):
            raise ValueError(
                f"expected {self.dims + 1}D or {self.dims + 2}D input (got {input.ndim}D input)"
            )
        return super().forward(input)


class CircularPad1d(_CircularPad):
    """Continues (N, C, L) or (C, L) from its other end; each size is at most L.

    ``padding`` is one size or two. Raises ValueError for other numbers of sizes or dimensions.
    """

    dims = 1


class CircularPad2d(_CircularPad):
    """Continues (N, C, H, W) or (C, H, W) from the opposite edge.

    ``padding`` is one size or (left, right, top, bottom), each at most the dimension's size. Raises
    ValueError for other numbers of sizes or dimensions.
    """

    dims = 2


class CircularPad3d(_CircularPad):
    """Continues (N, C, D, H, W) or (C, D, H, W) from the opposite face.

    ``padding`` is one size or (left, right, top, bottom, front, back), each at most the dimension's
    size. Raises ValueError for other numbers of sizes or dimensions.
    """

    dims = 3
