"""Tensors in safetensors files, by the package of that name: no code in them, bfloat16 included.

``save_file`` and ``load_file`` for paths, ``save`` and ``load`` for bytes, ``save_model`` and
``load_model`` for modules, as in ``safetensors.torch``.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from typing import Any

import numpy as np

from .. import _C
from ..serialization.atomic import atomic_writer
from ..tensor import Tensor

try:
    import safetensors as _library
    from safetensors import deserialize, serialize
except ImportError as error:
    raise ImportError(
        "tilegrad.utils.safetensors needs the package safetensors: pip install safetensors"
    ) from error

__all__ = ["load", "load_file", "load_model", "save", "save_file", "save_model"]

_DTYPES = {
    "BOOL": _C.boolean,
    "U8": _C.uint8,
    "I8": _C.int8,
    "I16": _C.int16,
    "I32": _C.int32,
    "I64": _C.int64,
    "F16": _C.float16,
    "BF16": _C.bfloat16,
    "F32": _C.float32,
    "F64": _C.float64,
    "C64": _C.complex64,
}
# The library's names of dtypes when it writes.
_WRITTEN = {dtype: dtype.name for dtype in _DTYPES.values()}


def save(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """The bytes of a file with these tensors and this metadata, a dictionary of strings.

    Raises TypeError for what are not tensors by name, ValueError for tensors that are not
    contiguous, RuntimeError for tensors that share memory, since the file would hold it twice.
    """
    if sys.byteorder != "little":
        raise NotImplementedError(
            "safetensors: files are of the other byte order than this machine"
        )
    _check(tensors)
    on_cpu = {name: x.detach().cpu() for name, x in tensors.items()}  # alive while it is read
    return bytes(serialize({name: _entry(x) for name, x in on_cpu.items()}, metadata=metadata))


def _check(tensors: Any) -> None:
    if not isinstance(tensors, dict):
        raise TypeError(f"safetensors: expected a dict of tensors, got {type(tensors).__name__}")
    by_storage = defaultdict(list)
    for name, x in tensors.items():
        if not isinstance(name, str) or not isinstance(x, Tensor):
            raise TypeError(f"safetensors: expected tensors by name, got {type(x).__name__}")
        if not x.is_contiguous():
            raise ValueError(
                f"safetensors: you are trying to save a non contiguous tensor: `{name}`; call "
                ".contiguous() first"
            )
        if x.numel():
            by_storage[_C.storage_pointer(x)].append(name)
    shared = [names for names in by_storage.values() if len(names) > 1]
    if shared:
        raise RuntimeError(
            f"safetensors: some tensors share memory, {shared}; save one of each, or clone() them"
        )


def _entry(x: Tensor) -> Any:
    """One tensor as the library wants it: an address, or bytes in versions before 0.6."""
    kind, shape, size = _WRITTEN[x.dtype], list(x.shape), x.numel() * x.dtype.itemsize
    if hasattr(_library, "TensorSpec"):
        return _library.TensorSpec(
            dtype=kind, shape=shape, data_ptr=x.data_ptr() if size else 0, data_len=size
        )
    start = x.storage_offset() * x.dtype.itemsize
    raw = _C.to_numpy(_C.storage_bytes(x))[start : start + size].tobytes()
    return {"dtype": kind, "shape": shape, "data": raw}


def save_file(
    tensors: dict[str, Tensor], filename: Any, metadata: dict[str, str] | None = None
) -> None:
    """Writes a file, which appears when it is complete. Errors as for :func:`save`, and OSError."""
    content = save(tensors, metadata)
    with atomic_writer(filename) as file:
        file.write(content)


def load(data: bytes, device: Any = "cpu") -> dict[str, Tensor]:
    """The tensors in the bytes of a file.

    Raises ``safetensors.SafetensorError`` for bytes that are no such file, NotImplementedError for
    dtypes that do not exist here.
    """
    tensors = {}
    for name, entry in deserialize(bytes(data)):
        if entry["dtype"] not in _DTYPES:
            raise NotImplementedError(f"safetensors: {name} has dtype {entry['dtype']}")
        dtype, shape = _DTYPES[entry["dtype"]], tuple(entry["shape"])
        raw = np.frombuffer(bytearray(entry["data"]), np.uint8)
        flat = _C.storage_view(_C.from_numpy(raw), dtype, (raw.size // dtype.itemsize,), (1,), 0)
        tensors[name] = flat.reshape(shape).to(device)
    return tensors


def load_file(filename: Any, device: Any = "cpu") -> dict[str, Tensor]:
    """The tensors of a file. Errors as for :func:`load`, and OSError."""
    with open(os.fspath(filename), "rb") as file:
        return load(file.read(), device)


def save_model(
    model: Any, filename: Any, metadata: dict[str, str] | None = None, force_contiguous: bool = True
) -> None:
    """Writes the state of a module; of names that share one tensor only the first is written."""
    kept: dict[Any, str] = {}
    tensors, metadata = {}, dict(metadata or {})
    for name, x in model.state_dict().items():
        x = x.contiguous() if force_contiguous else x
        place = (_C.storage_pointer(x), tuple(x.shape), x.storage_offset())
        if x.numel() and place in kept:
            metadata[name] = kept[place]
            continue
        kept[place] = name
        tensors[name] = x
    save_file(tensors, filename, {"format": "pt", **metadata})


def load_model(
    model: Any, filename: Any, strict: bool = True, device: Any = "cpu"
) -> tuple[list[str], list[str]]:
    """Loads what :func:`save_model` wrote; returns missing and unexpected names.

    Raises RuntimeError for either if ``strict``, and for shapes that differ.
    """
    state = load_file(filename, device)
    places: dict[Any, str] = {}
    for name, x in model.state_dict().items():  # names that share a tensor share its value
        place = (_C.storage_pointer(x), tuple(x.shape), x.storage_offset())
        other = places.setdefault(place, name)
        if x.numel() and name not in state and other in state:
            state[name] = state[other]
        elif x.numel() and other not in state and name in state:
            state[other] = state[name]
    result = model.load_state_dict(state, strict=strict)
    return result.missing_keys, result.unexpected_keys
