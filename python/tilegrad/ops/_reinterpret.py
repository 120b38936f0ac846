"""Views of the same bytes as elements of another dtype: ``x.view(dtype)``."""

from __future__ import annotations

from typing import Any

from .. import _C

__all__ = ["view_dtype"]


def view_dtype(input: Any, dtype: Any) -> Any:
    """The bytes of ``input`` as ``dtype``, without a gradient; the last size grows or shrinks with
    the size of an element.

    Raises RuntimeError where that does not divide, or where the last stride is not 1.
    """
    old, new = input.dtype.itemsize, dtype.itemsize
    shape, strides = list(input.shape), list(input.stride())
    offset = input.storage_offset()
    if old != new:
        what = f"to view {input.dtype} as {dtype} (different element sizes)"
        if input.ndim == 0:
            raise RuntimeError(f"self.dim() cannot be 0 {what}, but got 0")
        if strides[-1] != 1:
            raise RuntimeError(f"self.stride(-1) must be 1 {what}, but got {strides[-1]}")
        if new > old:
            _check_multiples(shape[-1], strides[:-1], offset, new // old, what)
        shape[-1] = shape[-1] * old // new
        strides[:-1] = [step * old // new for step in strides[:-1]]
        offset = offset * old // new
    return _C.storage_view(_C.storage_bytes(input), dtype, shape, strides, offset)


def _check_multiples(last: int, strides: list[int], offset: int, ratio: int, what: str) -> None:
    if last % ratio:
        raise RuntimeError(f"self.size(-1) must be divisible by {ratio} {what}, but got {last}")
    if offset % ratio:
        raise RuntimeError(
            f"self.storage_offset() must be divisible by {ratio} {what}, but got {offset}"
        )
    for d, step in enumerate(strides):
        if step % ratio:
            raise RuntimeError(
                f"self.stride({d}) must be divisible by {ratio} {what}, but got {step}"
            )
