"""Checkpoints: :func:`save` and :func:`load` in PyTorch's file format, without running code.

A file holds tensors and plain containers: dictionaries (ordered, default and counting ones too),
lists, tuples, sets, strings, numbers, bytes, NumPy arrays and scalars, namespaces, dtypes, devices.
Whatever else a file names is refused by that name, unless :func:`add_safe_globals` has listed it.
"""

from __future__ import annotations

import io
import os
import sys
import zlib
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

from .. import _C
from ..storage import UntypedStorage
from ..tensor import Tensor
from .archive import ArchiveReader, write_archive
from .atomic import atomic_writer
from .legacy import read_legacy
from .machine import Machine
from .pickler import Pickler
from .tensors import (
    TensorBuilder,
    add_safe_globals,
    clear_safe_globals,
    get_safe_globals,
    safe_globals,
)

__all__ = [
    "add_safe_globals",
    "clear_safe_globals",
    "get_safe_globals",
    "load",
    "safe_globals",
    "save",
]

_NOT_A_PATH = "expected a path or a file object"


def save(
    obj: Any,
    f: Any,
    pickle_module: Any = None,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
) -> None:
    """Writes an object, usually a ``state_dict()``, in PyTorch's checkpoint format.

    ``f``: a path, which is replaced only once everything is written, or a file object. Views and
    tensors that share a storage still share it after :func:`load`, and whole storages are written:
    ``clone()`` a small view of a large tensor first. Raises TypeError for other ``f``; whatever
    Python's pickle raises for objects that it cannot write.
    """
    pickler = Pickler(pickle_protocol)
    pickler.dump(obj)
    data = pickler.output.getvalue()

    def write(file: Any, name: str) -> None:
        records = [("data.pkl", data)]
        records += [(f"data/{i}", _content(x)) for i, x in enumerate(pickler.storages)]
        write_archive(file, name, records, f"{zlib.crc32(data):040d}")

    if isinstance(f, (str, os.PathLike)):
        with atomic_writer(f) as file:
            write(file, os.path.splitext(os.path.basename(os.fspath(f)))[0] or "archive")
    elif hasattr(f, "write"):
        whole = io.BytesIO()  # f need not be seekable
        write(whole, "archive")
        f.write(whole.getbuffer())
    else:
        raise TypeError(f"save: argument 'f': {_NOT_A_PATH}, got {type(f).__name__}")


def _content(storage: Tensor) -> Any:
    return _C.to_numpy(storage.cpu()).data if storage.numel() else b""


def load(
    f: Any,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Reads an object that :func:`save` or ``torch.save`` wrote.

    ``f``: a path or a seekable file object. ``map_location``: where the tensors go: a device, a
    dictionary from saved to wanted devices, or a function of a storage and its saved device. Files
    never run code, so ``weights_only=False`` means the same as True. ``mmap`` maps the file, so
    that tensors are read when they are used.

    Raises ``pickle.UnpicklingError`` for content that is no data, with its name; RuntimeError for a
    file that is corrupt, truncated or no checkpoint, and for a device that is not there; EOFError
    for an empty file; TypeError for other ``f``.
    """
    if not isinstance(f, (str, os.PathLike)):
        if not hasattr(f, "read") or not hasattr(f, "seek"):
            raise TypeError(f"load: argument 'f': {_NOT_A_PATH}, got {type(f).__name__}")
        if mmap:
            raise ValueError("load: f must be a path for mmap=True")
        return _load(f, map_location, False)
    with open(f, "rb") as file:
        return _load(file, map_location, bool(mmap))


def _load(file: Any, map_location: Any, mapped: bool) -> Any:
    place = _placer(map_location)
    file.seek(0)
    start = file.read(4)
    if not start:
        raise EOFError("load: the file is empty")
    if start != b"PK\3\4":
        if mapped:
            raise RuntimeError("load: mmap=True needs the zip format, in which this file is not")
        return read_legacy(file, place)
    archive = ArchiveReader(file, mapped)
    if "byteorder" in archive and archive.read("byteorder") != sys.byteorder.encode():
        raise RuntimeError("load: the file was written by a machine with the other byte order")

    def read(key: str, size: int) -> Tensor:
        return archive.read_tensor(f"data/{key}")

    try:
        return Machine(archive.read("data.pkl"), TensorBuilder(read, place)).run()
    except (ValueError, OverflowError, RecursionError) as error:
        raise UnpicklingError(f"load: the pickle is broken: {error}") from None


def _placer(map_location: Any) -> Callable[[Tensor, str], Tensor]:
    """The function that moves the bytes of a storage where ``map_location`` wants them."""
    if map_location is None:
        return _to_saved_device
    if isinstance(map_location, dict):
        wanted = {str(key): str(value) for key, value in map_location.items()}
        return lambda bytes, location: _to_saved_device(bytes, wanted.get(location, location))
    if callable(map_location):

        def place(bytes: Tensor, location: str) -> Tensor:
            result = map_location(UntypedStorage(bytes), location)
            if result is None:
                return _to_saved_device(bytes, location)
            if isinstance(result, UntypedStorage):
                return result._bytes
            raise TypeError(
                f"load: map_location must return a storage or None, got {type(result).__name__}"
            )

        return place
    device = _C.device("cuda", map_location) if type(map_location) is int else map_location
    device = _C.device(device)
    return lambda bytes, location: _C.to_device(bytes, device)


def _to_saved_device(bytes: Tensor, location: str) -> Tensor:
    if location == "cpu":
        return bytes
    if location.startswith("cuda") and _C.cuda_device_count() == 0:
        raise RuntimeError(
            f"Attempting to deserialize object on a CUDA device ({location}) but "
            "torch.cuda.is_available() is False. If you are running on a CPU-only machine, please "
            "use torch.load with map_location=torch.device('cpu') to map your storages to the CPU."
        )
    try:
        return _C.to_device(bytes, _C.device(location))
    except RuntimeError:
        raise RuntimeError(
            f"load: don't know how to restore data location of a storage tagged with {location!r}; "
            "use map_location='cpu'"
        ) from None
