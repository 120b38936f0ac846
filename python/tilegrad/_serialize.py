"""How tensors travel: pickle, copy.copy and multiprocessing rebuild them from NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _C
from .tensor import Tensor

__all__ = ["rebuild"]


def rebuild(
    array: np.ndarray,
    device: str,
    requires_grad: bool,
    cls: type,
    attributes: dict | None = None,
    dtype: Any = None,
) -> Any:
    """The tensor that ``Tensor.__reduce_ex__`` described.

    A result of recorded operations comes back without its history, as data. The array must have a
    tensor dtype (TypeError); a device that this machine lacks raises RuntimeError. With ``dtype``
    the array holds the bits of such elements.
    """
    output = _C.clone(_C.from_numpy(array))
    if dtype is not None:
        output = _C.reinterpret(output, dtype)
    output = _C.to_device(output, _C.device(device))
    if cls is not Tensor:
        output = _C.TensorBase.__new__(cls, output)
    output._requires_grad = requires_grad
    if attributes:
        output.__dict__.update(attributes)
    return output
