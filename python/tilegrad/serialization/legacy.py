"""The format of PyTorch before 1.6: pickles one after the other, then the bytes of the storages."""

from __future__ import annotations

import struct
import sys
from pickle import UnpicklingError
from typing import Any

import numpy as np

from .. import _C
from ..tensor import Tensor
from .machine import Machine
from .tensors import StoredBytes, TensorBuilder

__all__ = ["read_legacy"]

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001


class _LegacyBuilder(TensorBuilder):
    """Storages come after the pickle, so tensors are built on memory that is filled later."""

    def __init__(self, place: Any, room: int) -> None:
        super().__init__(lambda key, size: _C.empty((0,), _C.uint8, _C.device("cpu")), place)
        self.waiting: dict[str, tuple[Tensor, Any]] = {}  # key -> bytes on the CPU, dtype
        self._room = room

    def load(self, reference: Any) -> StoredBytes:
        """The storage, or the part of one, that the reference names."""
        if not isinstance(reference, tuple) or len(reference) < 5:
            raise UnpicklingError("load: the file refers to something that is not a storage")
        _, dtype, key, location, elements = reference[:5]
        known = isinstance(key, str) and isinstance(location, str) and type(elements) is int
        if reference[0] != "storage" or not known or not isinstance(dtype, _C.dtype):
            raise UnpicklingError("load: the file refers to a storage in an unknown way")
        if key not in self.waiting:
            size = elements * dtype.itemsize
            if not 0 <= size <= self._room:
                raise RuntimeError("load: the file is corrupt: it is smaller than its storages")
            self._room -= size
            bytes = self._place(_C.empty((size,), _C.uint8, _C.device("cpu")), location)
            self.waiting[key] = (bytes, dtype)
        bytes, dtype = self.waiting[key]
        if len(reference) > 5 and reference[5] is not None:
            raise RuntimeError(
                "load: the file holds parts of storages as early versions of PyTorch wrote them; "
                "load and save it with PyTorch first"
            )
        return StoredBytes(bytes, dtype)


def read_legacy(file: Any, place: Any) -> Any:
    """The object in such a file.

    Raises RuntimeError or UnpicklingError for a file in any other format.
    """
    file.seek(0)
    data = file.read()
    header = TensorBuilder(_no_storage, place)
    try:
        machine = Machine(data, header)
        if machine.run() != _MAGIC:
            raise UnpicklingError("the magic number is missing")
        version = (machine := Machine(data, header, machine.position)).run()
        system = (machine := Machine(data, header, machine.position)).run()
    except (UnpicklingError, ValueError, OverflowError, TypeError, struct.error) as error:
        raise RuntimeError(
            f"load: the file is not a checkpoint: it is neither a zip file nor PyTorch's older "
            f"format ({error})"
        ) from None
    if version != _VERSION:
        raise RuntimeError(f"load: unknown version {version!r} of PyTorch's older format")
    if isinstance(system, dict) and system.get("little_endian") is not (sys.byteorder == "little"):
        raise RuntimeError("load: the file was written by a machine with the other byte order")
    builder = _LegacyBuilder(place, len(data))
    try:
        result = (machine := Machine(data, builder, machine.position)).run()
        keys = (machine := Machine(data, header, machine.position)).run()
        _fill(builder.waiting, keys, data, machine.position)
    except (ValueError, OverflowError, RecursionError) as error:
        raise UnpicklingError(f"load: the pickle is broken: {error}") from None
    return result


def _no_storage(key: str, size: int) -> Tensor:
    raise UnpicklingError("a storage stands where none may be")


def _fill(waiting: dict, keys: Any, data: bytes, position: int) -> None:
    """Copies the bytes of each storage, preceded by its number of elements, to its memory."""
    if not isinstance(keys, list) or set(map(str, keys)) != set(waiting):
        raise RuntimeError("load: the file is corrupt: its list of storages is wrong")
    for key in keys:
        bytes, dtype = waiting[key]
        size = bytes.numel()
        if position + 8 + size > len(data):
            raise RuntimeError("load: the file is corrupt: it ends within its storages")
        (elements,) = struct.unpack_from("<q", data, position)
        if elements * dtype.itemsize != size:
            raise RuntimeError(f"load: the file is corrupt: storage {key} has another size")
        array = np.frombuffer(data, np.uint8, size, position + 8).copy()
        if dtype is _C.boolean and size:
            np.minimum(array, 1, out=array)
        _C.copy_(bytes, _C.from_numpy(array))
        position += 8 + size
