"""More that programs ask of CUDA: memory in other words, states of all generators, streams."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .process import Stream, get_rng_state, set_device, set_rng_state, stream

__all__ = [
    "StreamContext",
    "can_device_access_peer",
    "device_of",
    "get_arch_list",
    "get_rng_state_all",
    "initial_seed",
    "is_tf32_supported",
    "max_memory_cached",
    "memory_cached",
    "memory_stats",
    "reset_accumulated_memory_stats",
    "reset_max_memory_cached",
    "set_rng_state_all",
    "set_stream",
]

StreamContext = stream


def memory_stats(device: Any = None) -> dict[str, int]:
    """The numbers of :func:`memory_allocated` and its relatives under PyTorch's keys.

    Empty where there is no CUDA. Errors are those of :func:`get_device_name`.
    """
    from . import is_available, max_memory_allocated, memory_allocated, memory_reserved

    found = {
        "allocated_bytes.all.current": memory_allocated(device),
        "allocated_bytes.all.peak": max_memory_allocated(device),
        "reserved_bytes.all.current": memory_reserved(device),
    }
    return found if is_available() else {}


def memory_cached(device: Any = None) -> int:
    """The old name of :func:`memory_reserved`, whose errors it raises."""
    from . import memory_reserved

    return memory_reserved(device)


def max_memory_cached(device: Any = None) -> int:
    """The old name of :func:`max_memory_reserved`, whose errors it raises."""
    return memory_cached(device)


def reset_max_memory_cached(device: Any = None) -> None:
    """Accepted; the peak is that of the whole process."""


reset_accumulated_memory_stats = reset_max_memory_cached


def get_rng_state_all() -> list[Any]:
    """The state of :func:`get_rng_state` for each device."""
    from . import device_count

    return [get_rng_state() for _ in range(device_count())]


def set_rng_state_all(new_states: Iterable[Any]) -> None:
    """:func:`set_rng_state` with each. Raises TypeError for what is no tensor."""
    for state in new_states:
        set_rng_state(state)


def initial_seed() -> int:
    """The seed of the one generator, see :func:`tilegrad.initial_seed`."""
    from ..ops.random import initial_seed as of_cpu

    return of_cpu()


def get_arch_list() -> list[str]:
    """Empty: which architectures the kernels were compiled for is not kept."""
    return []


def can_device_access_peer(device: Any, peer_device: Any) -> bool:
    """False: work runs on one device."""
    return False


def is_tf32_supported() -> bool:
    """False: products of float32 are computed in float32."""
    return False


def set_stream(stream: Stream) -> None:
    """Accepted: there is one stream."""


class device_of:
    """A ``with`` block on the device of a tensor. Errors are those of :func:`set_device`."""

    def __init__(self, obj: Any) -> None:
        self._device = obj.get_device()

    def __enter__(self) -> None:
        if self._device >= 0:
            set_device(self._device)

    def __exit__(self, *exception: Any) -> None:
        pass
