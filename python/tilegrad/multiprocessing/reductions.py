"""Tensors in memory that several processes see, and how they travel between processes.

A shared storage lies in an anonymous file of memory. What is sent is the file's descriptor, which
``multiprocessing`` hands over, so that the memory lives as long as anybody has it mapped and
nothing is left behind by a crash.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from multiprocessing import reduction
from typing import Any

import numpy as np

from .. import _C
from ..tensor import Tensor

__all__ = ["is_shared", "reduce_tensor", "register", "share"]


class _Mapping(mmap.mmap):
    """A mapped file of memory and its descriptor, which stays open so that it can be sent."""

    handle: int


_mappings: weakref.WeakValueDictionary[int, _Mapping] = weakref.WeakValueDictionary()  # by address


def _map(handle: int, size: int) -> Tensor:
    """The memory as a uint8 tensor, which keeps the mapping alive."""
    mapping = _Mapping(handle, max(size, 1))
    mapping.handle = handle
    weakref.finalize(mapping, os.close, handle)
    bytes = _C.from_numpy(np.frombuffer(mapping, np.uint8, size))
    _mappings[_C.storage_pointer(bytes)] = mapping
    return bytes


def _new_file(size: int) -> int:
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("tilegrad", os.MFD_CLOEXEC)
    else:
        handle, path = tempfile.mkstemp(prefix="tilegrad-")
        os.unlink(path)
    os.ftruncate(handle, max(size, 1))
    return handle


def is_shared(x: Tensor) -> bool:
    """Whether the storage lies in such a file."""
    return _C.storage_pointer(x) in _mappings


def share(x: Tensor) -> None:
    """Moves the storage of ``x`` to shared memory, unless it is there.

    Raises RuntimeError for tensors that are not on the CPU, OSError if memory ran out.
    """
    if is_shared(x):
        return
    size = _C.storage_bytes(x).numel()
    _C.move_storage(x, _map(_new_file(size), size))


def reduce_tensor(x: Tensor) -> tuple:
    """What is sent for a tensor: its shared storage's descriptor and its place in there.

    Raises RuntimeError for results of recorded operations, whose history cannot be sent.
    """
    if x.requires_grad and not x.is_leaf:
        raise RuntimeError(
            "Cowardly refusing to serialize non-leaf tensor which requires_grad, since autograd "
            "does not support crossing process boundaries. If you just want to transfer the data, "
            "call detach() on the tensor before serializing (e.g., putting it on the queue)."
        )
    if x.is_cuda or x.numel() == 0:
        return x.__reduce_ex__(2)
    share(x)
    size = _C.storage_bytes(x).numel()
    layout = (x.dtype, tuple(x.shape), tuple(x.stride()), x.storage_offset())
    handle = reduction.DupFd(_mappings[_C.storage_pointer(x)].handle)
    return rebuild_shared, (handle, size, layout, x.requires_grad, type(x), dict(x.__dict__))


def rebuild_shared(
    handle: Any, size: int, layout: tuple, requires_grad: bool, cls: type, attributes: dict
) -> Tensor:
    """The tensor on the memory that the descriptor stands for.

    Raises OSError if the sending process is gone, RuntimeError for an impossible layout.
    """
    dtype, shape, strides, offset = layout
    output: Any = _C.storage_view(_map(handle.detach(), size), dtype, shape, strides, offset)
    if cls is not Tensor:
        output = _C.TensorBase.__new__(cls, output)
    output._requires_grad = requires_grad
    output.__dict__.update(attributes)
    return output


def register() -> None:
    """Makes queues and pipes of ``multiprocessing`` send tensors through shared memory."""
    from ..nn.parameter import Buffer, Parameter

    for cls in (Tensor, Parameter, Buffer):
        reduction.ForkingPickler.register(cls, reduce_tensor)
