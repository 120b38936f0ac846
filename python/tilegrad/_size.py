"""``tilegrad.Size``: the shape of a tensor, a tuple with ``numel()``."""

from __future__ import annotations

from typing import Any


class Size(tuple):
    """The sizes of a tensor's dimensions, outermost first."""

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements: the product of all sizes (1 for a scalar)."""
        count = 1
        for size in self:
            count *= size
        return count

    def __getitem__(self, index: Any) -> Any:
        item = tuple.__getitem__(self, index)
        return Size(item) if isinstance(index, slice) else item

    def __add__(self, other: Any) -> Any:
        return Size(tuple.__add__(self, tuple(other)))

    def __repr__(self) -> str:
        return f"tilegrad.Size({list(self)})"
