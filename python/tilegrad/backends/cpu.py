"""The CPU: which instruction set the kernels were chosen for."""

from __future__ import annotations

from .._config import config

__all__ = ["get_cpu_capability"]


def get_cpu_capability() -> str:
    """The instruction set in use, such as ``"AVX512"``."""
    return str(config()["isa"]).upper()
