"""The memory of a card: what tensors occupy, what is kept for reuse, and what is left."""

from __future__ import annotations

from typing import Any

from .. import _C
from ._index import index_of

__all__ = [
    "OutOfMemoryError",
    "empty_cache",
    "ipc_collect",
    "max_memory_allocated",
    "max_memory_cached",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_cached",
    "memory_reserved",
    "memory_stats",
    "memory_summary",
    "reset_accumulated_memory_stats",
    "reset_max_memory_allocated",
    "reset_max_memory_cached",
    "reset_peak_memory_stats",
]

OutOfMemoryError = _C.OutOfMemoryError


def _stats(device: Any) -> dict[str, int]:
    return _C.cuda_memory_stats(index_of(device))


def memory_allocated(device: Any = None) -> int:
    """Bytes that tensors occupy on a card; 0 where there is no CUDA.

    Errors are those of :func:`tilegrad.cuda.get_device_name`.
    """
    return _stats(device)["allocated"]


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that tensors have occupied on a card at once, since the start or
    :func:`reset_peak_memory_stats`; errors as for :func:`memory_allocated`."""
    return _stats(device)["allocated_peak"]


def memory_reserved(device: Any = None) -> int:
    """Bytes taken from a card: those of tensors and those kept for reuse.

    Errors are those of :func:`memory_allocated`.
    """
    return _stats(device)["reserved"]


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes taken from a card; errors as for :func:`memory_allocated`."""
    return _stats(device)["reserved_peak"]


memory_cached, max_memory_cached = memory_reserved, max_memory_reserved


def reset_peak_memory_stats(device: Any = None) -> None:
    """Lets the peaks start from what is in use now; errors as for :func:`memory_allocated`."""
    index = index_of(device)
    if _C.cuda_device_count() > 0:
        _C.cuda_reset_peaks(index)


reset_max_memory_allocated = reset_max_memory_cached = reset_peak_memory_stats


def memory_stats(device: Any = None) -> dict[str, int]:
    """The allocator's counts under PyTorch's names; errors as for :func:`memory_allocated`."""
    stats = _stats(device)
    named = {
        "allocated_bytes.all.current": stats["allocated"],
        "allocated_bytes.all.peak": stats["allocated_peak"],
        "reserved_bytes.all.current": stats["reserved"],
        "reserved_bytes.all.peak": stats["reserved_peak"],
        "allocation.all.allocated": stats["allocations"],
        "allocation.all.freed": stats["frees"],
        "allocation.all.current": stats["blocks"],
        "segment.all.current": stats["segments"],
        "num_alloc_retries": stats["retries"],
        "num_ooms": stats["failures"],
    }
    return dict(sorted(named.items()))


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """A few lines with the numbers of :func:`memory_stats`, whose errors it raises."""
    stats = _stats(device)
    return (
        f"allocated {stats['allocated']} bytes (at most {stats['allocated_peak']}) in "
        f"{stats['blocks']} blocks\n"
        f"reserved {stats['reserved']} bytes (at most {stats['reserved_peak']}) in "
        f"{stats['segments']} segments\n"
        f"{stats['retries']} retries, {stats['failures']} failures"
    )


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """The free and the total bytes of a card. Raises RuntimeError if there is none."""
    return _C.cuda_memory_info(index_of(device))


def reset_accumulated_memory_stats(device: Any = None) -> None:
    """Accepted: no number here is a sum over time. Errors as for :func:`memory_allocated`."""
    index_of(device)


def empty_cache() -> None:
    """Returns the memory that is kept for reuse to the cards."""
    _C.cuda_empty_cache()


def ipc_collect() -> None:
    """Nothing to do: memory of a device is not shared between processes."""
