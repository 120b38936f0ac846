"""XNNPACK: not used here; the questions have honest answers."""

from __future__ import annotations

__all__ = ["is_available"]


def is_available() -> bool:
    """False: kernels are tilegrad's own."""
    return False
