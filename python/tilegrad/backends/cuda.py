"""CUDA's choices between kernels: ``matmul.allow_tf32``; the other switches change nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from .. import _C
from .._config import config
from .._switches import get_fp32_precision, set_fp32_precision

__all__ = [
    "enable_flash_sdp",
    "enable_math_sdp",
    "enable_mem_efficient_sdp",
    "flash_sdp_enabled",
    "is_built",
    "math_sdp_enabled",
    "matmul",
    "mem_efficient_sdp_enabled",
    "sdp_kernel",
]


class _Matmul:
    """How matrices are multiplied."""

    allow_fp16_reduced_precision_reduction = True  # accepted: sums are float32
    allow_bf16_reduced_precision_reduction = True

    @property
    def allow_tf32(self) -> bool:
        """Whether the operands of float32 products may be rounded to TF32's 11 bits, on CUDA."""
        return bool(_C.get_allow_tf32())

    @allow_tf32.setter
    def allow_tf32(self, value: bool) -> None:
        self.fp32_precision = "tf32" if value else "ieee"

    @property
    def fp32_precision(self) -> str:
        """``"tf32"`` where that is allowed, ``"ieee"`` where not, at first ``"none"``."""
        return get_fp32_precision("matmul")

    @fp32_precision.setter
    def fp32_precision(self, value: str) -> None:
        set_fp32_precision("matmul", value)


matmul = _Matmul()
_enabled = {"flash": True, "mem_efficient": True, "math": True}


def is_built() -> bool:
    """Whether the build has CUDA."""
    return bool(config()["cuda"] == "on")


def enable_flash_sdp(enabled: bool) -> None:
    """Accepted; attention has one kernel."""
    _enabled["flash"] = bool(enabled)


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Accepted; attention has one kernel."""
    _enabled["mem_efficient"] = bool(enabled)


def enable_math_sdp(enabled: bool) -> None:
    """Accepted; attention has one kernel."""
    _enabled["math"] = bool(enabled)


def flash_sdp_enabled() -> bool:
    """What :func:`enable_flash_sdp` was told."""
    return _enabled["flash"]


def mem_efficient_sdp_enabled() -> bool:
    """What :func:`enable_mem_efficient_sdp` was told."""
    return _enabled["mem_efficient"]


def math_sdp_enabled() -> bool:
    """What :func:`enable_math_sdp` was told."""
    return _enabled["math"]


@contextlib.contextmanager
def sdp_kernel(
    enable_flash: bool = True,
    enable_math: bool = True,
    enable_mem_efficient: bool = True,
    enable_cudnn: bool = True,
) -> Iterator[None]:
    """A ``with`` block with these switches."""
    before = dict(_enabled)
    _enabled.update(flash=enable_flash, math=enable_math, mem_efficient=enable_mem_efficient)
    try:
        yield
    finally:
        _enabled.update(before)
