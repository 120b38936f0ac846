"""Names for annotations: what stands for a device, a number, a size."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import IO, Any

from ._C import device as _device
from ._C import dtype as _dtype
from ._layout import layout as _layout
from ._size import Size
from .storage import TypedStorage, UntypedStorage
from .tensor import Tensor

__all__ = ["Device", "FileLike", "Number", "Storage"]
_ALSO_IMPORTED = (_dtype, _layout)  # by libraries, from here

Device = _device | str | int | None
FileLike = str | os.PathLike | IO[bytes]
Number = int | float | bool
Storage = TypedStorage | UntypedStorage
_Number = (int, float, bool)
_TensorOrTensors = Tensor | Sequence[Tensor]
_TensorOrOptionalTensors = Tensor | Sequence[Tensor | None]
_size = Size | list[int] | tuple[int, ...]
py_sym_types: Any = ()
