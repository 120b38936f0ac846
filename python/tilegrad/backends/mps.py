"""Apple's GPUs: not used here; the questions have honest answers."""

from __future__ import annotations

__all__ = ["is_available", "is_built"]


def is_available() -> bool:
    """False: kernels are tilegrad's own."""
    return False


def is_built() -> bool:
    """False: there are no kernels for these GPUs."""
    return False
