"""The CPU: which instruction set the kernels were chosen for."""

from __future__ import annotations

from .. import _C

__all__ = ["get_cpu_capability"]


def get_cpu_capability() -> str:
    """The instruction set in use, such as ``"AVX512"``."""
    return str(_C.config()["isa"]).upper()
