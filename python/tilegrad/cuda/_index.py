"""The number of a card, from whatever may name one."""

from __future__ import annotations

from typing import Any

from .. import _C

__all__ = ["index_of"]


def index_of(device: Any) -> int:
    """``None`` is the current device; TypeError and ValueError for what names no card."""
    if device is None:
        return _C.cuda_current_device()
    if isinstance(device, int) and not isinstance(device, bool):
        if not 0 <= device < 128:
            raise ValueError(f"cuda: expected a device index of at least 0, got {device}")
        return device
    found = _C.device(device) if isinstance(device, str) else device
    if not isinstance(found, _C.device):
        raise TypeError(f"cuda: expected a device, a string or an index, got {device!r}")
    if found.type != "cuda":
        raise ValueError(f"cuda: expected a CUDA device, got {found}")
    return found.index or 0
