"""cuDNN: not used here, but programs set its flags, and one of them chooses between kernels.

``allow_tf32`` (default False): whether convolutions of float32 on CUDA, and their gradients, may
round their operands to TF32's 11 bits, for tensor cores, as
``tilegrad.backends.cuda.matmul.allow_tf32`` says for products of matrices. PyTorch's default is
True: there convolutions are TF32 where nobody asked; here float32 is float32 until
``tilegrad.backends.cudnn.allow_tf32 = True``. It holds for the whole process, and for no dtype but
float32. The other flags are kept and mean nothing.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from .. import _C

__all__ = [
    "allow_tf32",
    "benchmark",
    "deterministic",
    "enabled",
    "flags",
    "is_acceptable",
    "is_available",
    "version",
]

enabled: bool = True
benchmark: bool = False
deterministic: bool = False
allow_tf32: bool


class _Cudnn(ModuleType):
    """The module's class: assigning to ``allow_tf32`` changes the setting of the kernels."""

    @property
    def allow_tf32(self) -> bool:
        return bool(_C.get_convolutions_in_tf32())

    @allow_tf32.setter
    def allow_tf32(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise TypeError(
                f"backends.cudnn.allow_tf32: expected a bool, got {type(value).__name__}"
            )
        _C.set_convolutions_in_tf32(value)


def is_available() -> bool:
    """False: kernels are tilegrad's own."""
    return False


def version() -> int | None:
    """None: there is no cuDNN."""
    return None


def is_acceptable(tensor: Any) -> bool:
    """False for every tensor."""
    return False


@contextlib.contextmanager
def flags(
    enabled: bool = False,
    benchmark: bool = False,
    benchmark_limit: int = 10,
    deterministic: bool = False,
    allow_tf32: bool = False,
    fp32_precision: str = "none",
    depthwise_kernel: str = "auto",
) -> Iterator[None]:
    """A ``with`` block with these flags. As outside, TF32 is off unless ``allow_tf32`` is given.

    ``benchmark_limit``, ``fp32_precision`` and ``depthwise_kernel`` are accepted.
    """
    module = sys.modules[__name__]
    new = {
        "enabled": enabled,
        "benchmark": benchmark,
        "deterministic": deterministic,
        "allow_tf32": allow_tf32,
    }
    before = {name: getattr(module, name) for name in new}
    for name, value in new.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


sys.modules[__name__].__class__ = _Cudnn
