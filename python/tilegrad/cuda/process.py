"""What programs ask of CUDA around their work: seeds, the current device, what a card is.

Seeding and switching are accepted where there is no device, as in PyTorch, so that one program
runs on both.
"""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

from .. import _C
from ._index import index_of

__all__ = [
    "can_device_access_peer",
    "current_device",
    "device",
    "device_count",
    "device_of",
    "get_arch_list",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "init",
    "is_available",
    "is_bf16_supported",
    "is_initialized",
    "is_tf32_supported",
    "set_device",
    "synchronize",
]


def is_available() -> bool:
    """True if tensors can live on a CUDA device: with CUDA in the build, a driver and a card."""
    return _C.cuda_device_count() > 0


def device_count() -> int:
    """The number of CUDA devices that can be used; 0 where there are none."""
    return _C.cuda_device_count()


def current_device() -> int:
    """The index that ``device="cuda"`` stands for in this thread.

    Raises:
        RuntimeError: There is no CUDA device; the message says why.
    """
    index = _C.cuda_current_device()
    _C.cuda_properties(index)
    return index


def get_device_name(device: Any = None) -> str:
    """The name of a card, for example ``"NVIDIA H200"``.

    Args:
        device: A ``device``, a string such as ``"cuda:1"``, or an index; ``None`` is the current.

    Raises:
        RuntimeError: There is no such device; the message says why.
        ValueError: ``device`` is no CUDA device.
    """
    return _C.cuda_properties(index_of(device))["name"]


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability of a card, (9, 0) for an H200; errors of :func:`get_device_name`."""
    found = _C.cuda_properties(index_of(device))
    return found["major"], found["minor"]


def get_device_properties(device: Any = None) -> Any:
    """What a card has: ``name``, ``major``, ``minor``, ``total_memory`` and
    ``shared_memory_per_block`` in bytes, ``multi_processor_count`` and more. Errors are those of
    :func:`get_device_name`."""
    return SimpleNamespace(**_C.cuda_properties(index_of(device)))


def get_arch_list() -> list[str]:
    """The architectures for which this build has code; empty without CUDA."""
    from .._config import config

    names = str(config()["cuda_architectures"]).replace(";", " ").split()
    return [f"sm_{name.removesuffix('-real')}" for name in names if name[0].isdigit()]


def can_device_access_peer(device: Any, peer_device: Any) -> bool:
    """False: cards exchange data through copies."""
    index_of(device), index_of(peer_device)
    return False


def synchronize(device: Any = None) -> None:
    """Waits until a card has finished all work that was given to it.

    Args:
        device: As for :func:`get_device_name`.

    Raises:
        RuntimeError: There is no such device, or the work failed on it.
        ValueError: ``device`` is no CUDA device.
    """
    _C.cuda_synchronize(index_of(device))


def init() -> None:
    """Nothing to do: devices are made ready when they are first used."""


def is_initialized() -> bool:
    """Whether there is a device to use."""
    return _C.cuda_device_count() > 0


def set_device(device: Any) -> None:
    """Makes a card the one that ``device="cuda"`` stands for in this thread.

    Device 0 is accepted where there is none. Raises RuntimeError for a device that does not exist.
    """
    if isinstance(device, int) and device < 0:
        return
    index = index_of(device)
    if index > 0 or _C.cuda_device_count() > 0:
        _C.cuda_set_device(index)


class device(contextlib.ContextDecorator):
    """A ``with`` block for :func:`set_device`, whose errors it raises."""

    def __init__(self, device: Any) -> None:
        self._device = device

    def __enter__(self) -> None:
        self._before = _C.cuda_current_device()
        if self._device is not None:
            set_device(self._device)

    def __exit__(self, *exception: Any) -> None:
        set_device(self._before)


class device_of(device):
    """A ``with`` block for the device of a tensor; nothing for one on the CPU."""

    def __init__(self, obj: Any) -> None:
        super().__init__(obj.device if obj.is_cuda else None)


def is_tf32_supported() -> bool:
    """Whether the current card has products of numbers rounded to TF32 (since Ampere)."""
    return _C.cuda_device_count() > 0 and get_device_capability()[0] >= 8


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether there is a device: every one stores bfloat16 and computes with it."""
    return _C.cuda_device_count() > 0
