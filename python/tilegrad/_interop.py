"""Memory shared with other libraries: DLPack, buffers, storages, memory of several processes."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _C
from .ops._register import method
from .ops.fill import _device, as_tensor, tensor
from .storage import TypedStorage, UntypedStorage
from .tensor import Tensor

__all__ = ["asarray", "from_dlpack", "frombuffer", "is_storage", "is_tensor"]

_CPU, _CUDA = 1, 2  # DLPack's device types
_LEGACY_STREAM = 1  # DLPack's number of a card's default stream


# --- DLPack -------------------------------------------------------------------------------------


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor that shares the memory of another library's array, by the DLPack protocol.

    ``ext_tensor``: an object with ``__dlpack__``, such as an array of NumPy, PyTorch, JAX or CuPy,
    or a capsule. ``device`` and ``copy`` are handed to its owner. Raises TypeError for other
    objects and for dtypes without counterpart, ValueError for negative strides, RuntimeError for
    devices that are not there; and whatever the owner raises, mostly BufferError.
    """
    if not hasattr(ext_tensor, "__dlpack__"):
        if copy is not None or device is not None:
            raise TypeError("from_dlpack: a capsule can neither be copied nor moved")
        return _C.from_dlpack(ext_tensor)
    wishes: dict[str, Any] = {"max_version": (1, 0)}
    if copy is not None:
        wishes["copy"] = copy
    if device is not None:
        wishes["dl_device"] = _dlpack_device(_device(device))
    kind, index = (
        ext_tensor.__dlpack_device__() if hasattr(ext_tensor, "__dlpack_device__") else (_CPU, 0)
    )
    if int(kind) == _CUDA:  # the owner lets this thread's stream wait for what it has queued
        wishes["stream"] = _C.cuda_current_stream(int(index)) or _LEGACY_STREAM
    try:
        capsule = ext_tensor.__dlpack__(**wishes)
    except TypeError:  # a producer from before these keywords
        if copy is not None or device is not None:
            raise
        wishes.pop("max_version")
        capsule = ext_tensor.__dlpack__(**wishes)
    return _C.from_dlpack(capsule)


def _dlpack_device(device: Any) -> tuple[int, int]:
    return (_CPU, 0) if device.type == "cpu" else (_CUDA, device.index)


@method()
def __dlpack_device__(self: Tensor) -> tuple[int, int]:
    """DLPack's device type and index: (1, 0) for the CPU."""
    return _dlpack_device(self.device)


@method()
def __dlpack__(
    self: Tensor,
    *,
    stream: Any = None,
    max_version: tuple[int, int] | None = None,
    dl_device: tuple[int, int] | None = None,
    copy: bool | None = None,
) -> Any:
    """A DLPack capsule that shares this tensor's memory, for ``from_dlpack`` of other libraries.

    Of version 1 if ``max_version`` allows it. On a card the stream of that address, the default one
    for None, 1 and 0, waits for what this thread's has queued; -1: none does. Raises BufferError
    for a tensor that requires grad, for another device than the tensor's unless it is the CPU, and
    for a copy that is not allowed.
    """
    if self.requires_grad:
        raise BufferError(
            "Can't export tensors that require gradient, use tensor.detach(). A read-only view or "
            "copy must not change what backward computes."
        )
    exported = self
    if dl_device is not None and tuple(map(int, dl_device)) != __dlpack_device__(self):
        if int(dl_device[0]) != _CPU:
            raise BufferError(f"__dlpack__: cannot export a tensor on {self.device} to {dl_device}")
        if copy is False:
            raise BufferError("__dlpack__: moving to the CPU needs a copy, but copy=False")
        exported, copy = self.cpu(), None
    elif stream is not None and self.device.type == "cpu" and stream != -1:
        raise BufferError("__dlpack__: a tensor on the CPU has no stream")
    if copy:
        exported = _C.clone(exported)
    if exported.is_cuda and stream != -1:
        _let_stream_wait(exported.device.index, stream)
    versioned = max_version is not None and max_version[0] >= 1
    return _C.to_dlpack(exported, versioned, exported is not self)


def _let_stream_wait(index: int, stream: Any) -> None:
    from .cuda import Stream, current_stream

    waiting = Stream(index, handle=0 if stream in (None, _LEGACY_STREAM) else int(stream))
    current = current_stream(index)
    if waiting != current:
        waiting.wait_stream(current)


# --- buffers and arrays -------------------------------------------------------------------------


def frombuffer(
    buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """A vector that shares the memory of a bytes-like object.

    (count), of ``dtype``; ``offset`` in bytes, ``count`` -1 for all that is left. Raises ValueError
    for an empty buffer, one that is too short or whose rest is no whole number of elements,
    TypeError for what is no buffer or dtype.
    """
    if not isinstance(dtype, _C.dtype):
        raise TypeError(f"frombuffer: argument 'dtype': expected a dtype, got {dtype!r}")
    for name, value in (("count", count), ("offset", offset)):
        if not isinstance(value, (int, np.integer)):
            raise TypeError(f"frombuffer: argument '{name}': expected an integer, got {value!r}")
    try:
        raw = np.frombuffer(buffer, np.uint8)
    except (TypeError, BufferError, AttributeError):
        raise TypeError(
            f"frombuffer: expected a bytes-like object, got {type(buffer).__name__}"
        ) from None
    size = dtype.itemsize
    if raw.size == 0 or not 0 <= offset < raw.size or count == 0 or count < -1:
        raise ValueError(
            f"frombuffer: both buffer length ({raw.size}) and count ({count}) must not be 0, and "
            f"offset ({offset} bytes) must lie within the buffer"
        )
    if count == -1:
        if (raw.size - offset) % size:
            raise ValueError(
                f"frombuffer: buffer size ({raw.size}) minus offset ({offset}) must be a multiple "
                f"of the element size ({size})"
            )
        count = (raw.size - offset) // size
    if offset + count * size > raw.size:
        raise ValueError(
            f"frombuffer: requested {count} elements after {offset} bytes, the buffer has only "
            f"{raw.size} bytes"
        )
    part = raw[offset : offset + count * size]
    if part.ctypes.data % size:
        raise ValueError(f"frombuffer: the data is not aligned to elements of {size} bytes")
    output = _C.storage_view(_C.from_numpy(part), dtype, (int(count),), (1,), 0)
    return output.requires_grad_() if requires_grad else output


def asarray(
    obj: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """``obj`` as a tensor that shares memory where it can, and must where ``copy=False``.

    Takes tensors, NumPy arrays, objects of the DLPack and buffer protocols, numbers and nested
    sequences. Raises ValueError if a copy is needed but not allowed; other errors are those of
    :func:`tensor`.
    """
    shown = obj
    if isinstance(obj, (np.generic, np.ndarray)):
        shown = _C.from_numpy(np.asarray(obj)) if obj.flags.writeable or not copy else tensor(obj)
    elif not isinstance(obj, Tensor) and hasattr(obj, "__dlpack__"):
        shown = from_dlpack(obj)
    elif isinstance(obj, (bytes, bytearray, memoryview)):
        shown = frombuffer(obj, dtype=_C.get_default_dtype() if dtype is None else dtype)
    shares = isinstance(shown, Tensor)
    output = as_tensor(shown, dtype=dtype, device=device)
    if copy is False and not (shares and output is shown):
        raise ValueError("asarray: can't alias arbitrary sequence into a tensor.")
    if copy and shares and output is shown:
        output = output.clone()
    if requires_grad and not output.requires_grad:
        output = output.detach() if output is obj else output
        output.requires_grad_()
    elif not requires_grad and output.requires_grad:
        output = output.detach()
    return output


def is_tensor(obj: Any) -> bool:
    """Whether ``obj`` is a tensor. No errors."""
    return isinstance(obj, Tensor)


def is_storage(obj: Any) -> bool:
    """Whether ``obj`` is a storage, typed or not. No errors."""
    return isinstance(obj, (TypedStorage, UntypedStorage))


# --- storages -----------------------------------------------------------------------------------


@method()
def untyped_storage(self: Tensor) -> UntypedStorage:
    """The memory under this tensor and all its views, in bytes."""
    return UntypedStorage(self)


@method()
def storage(self: Tensor) -> TypedStorage:
    """The memory under this tensor and all its views, in elements of its dtype."""
    return TypedStorage(UntypedStorage(self), self.dtype)


@method()
def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """A copy in page-locked memory, from which copies to a card need not wait
    (``non_blocking=True``); the tensor itself if it lies there.

    Raises RuntimeError where there is no CUDA, and for tensors that are not on the CPU.
    """
    if not self.device.type == "cpu":
        raise RuntimeError(f"pin_memory: cannot pin a tensor on {self.device}: only CPU tensors")
    return self if _C.is_pinned(self) else _C.pin_memory(self)


@method()
def is_pinned(self: Tensor, device: Any = None) -> bool:
    """Whether the tensor lies in memory that :meth:`pin_memory` has made."""
    return _C.is_pinned(self)


@method()
def share_memory_(self: Tensor) -> Tensor:
    """Moves the storage, under all views, to memory that child processes share; returns ``self``.

    Raises RuntimeError for memory that belongs to another library, OSError if there is none left.
    """
    from .multiprocessing.reductions import share

    share(self)
    return self


@method()
def is_shared(self: Tensor) -> bool:
    """Whether other processes can share this memory; always so on a GPU."""
    from .multiprocessing.reductions import is_shared

    return self.is_cuda or is_shared(self)
