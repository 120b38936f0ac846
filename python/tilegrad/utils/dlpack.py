"""DLPack under the names of ``torch.utils.dlpack``."""

from __future__ import annotations

from typing import Any

from .._interop import from_dlpack
from ..tensor import Tensor

__all__ = ["from_dlpack", "to_dlpack"]


def to_dlpack(tensor: Any) -> Any:
    """The tensor as a capsule, of the version before 1.0; errors as for ``Tensor.__dlpack__``.

    Raises TypeError for what is not a tensor.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"to_dlpack: expected a Tensor, got {type(tensor).__name__}")
    return tensor.__dlpack__()
