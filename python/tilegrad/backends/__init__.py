"""Choices between ways to compute the same: speed against the last digit.

``tilegrad.backends.winograd`` (default True): whether convolutions in float32 with 3 x 3 or 5 x 5
filters and stride 1 may use Winograd's transforms where they are faster. Their rounding errors are
about ten times those of a direct sum (1e-5 of the output's spread for some hundred channels,
where a direct sum has 1e-6); set it to False where that matters. It holds for the whole process.

``tilegrad.backends.fp32_precision`` (default "none"): "tf32" lets products of float32 on CUDA
devices round their operands to TF32, "ieee" does not, where ``cuda.matmul.fp32_precision`` is
"none".
"""

from __future__ import annotations

import sys
from types import ModuleType

from .. import _C
from .._lazy import lazily
from .._switches import get_fp32_precision, set_fp32_precision

__all__ = ["fp32_precision", "winograd"]

fp32_precision: str
winograd: bool


class _Backends(ModuleType):
    """The module's class: assigning to one of its names changes the setting."""

    @property
    def winograd(self) -> bool:
        return _C.get_winograd()

    @winograd.setter
    def winograd(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise TypeError(f"backends.winograd: expected a bool, got {type(value).__name__}")
        _C.set_winograd(value)

    @property
    def fp32_precision(self) -> str:
        return get_fp32_precision("all")

    @fp32_precision.setter
    def fp32_precision(self, value: str) -> None:
        set_fp32_precision("all", value)


__getattr__ = lazily(__name__)  # backends.cudnn and other modules
sys.modules[__name__].__class__ = _Backends
