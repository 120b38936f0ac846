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
    "memory_stats_as_nested_dict",
    "memory_summary",
    "reset_accumulated_memory_stats",
    "reset_max_memory_allocated",
    "reset_max_memory_cached",
    "reset_peak_memory_stats",
]

OutOfMemoryError = _C.OutOfMemoryError
_COUNTS = ("current", "peak", "allocated", "freed")


def _stats(device: Any) -> dict[str, int]:
    return _C.cuda_memory_stats(index_of(device))


def memory_allocated(device: Any = None) -> int:
    """Bytes that tensors occupy on a card; 0 where there is no CUDA.

    Errors are those of :func:`tilegrad.cuda.get_device_name`.
    """
    return _stats(device)["allocated_bytes.all.current"]


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that tensors have occupied on a card at once, since the start or
    :func:`reset_peak_memory_stats`; errors as for :func:`memory_allocated`."""
    return _stats(device)["allocated_bytes.all.peak"]


def memory_reserved(device: Any = None) -> int:
    """Bytes taken from a card: those of tensors and those kept for reuse.

    Errors are those of :func:`memory_allocated`.
    """
    return _stats(device)["reserved_bytes.all.current"]


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes taken from a card; errors as for :func:`memory_allocated`."""
    return _stats(device)["reserved_bytes.all.peak"]


memory_cached, max_memory_cached = memory_reserved, max_memory_reserved


def reset_peak_memory_stats(device: Any = None) -> None:
    """Lets the peaks start from what is in use now; errors as for :func:`memory_allocated`."""
    index = index_of(device)
    if _C.cuda_device_count() > 0:
        _C.cuda_reset_peaks(index)


reset_max_memory_allocated = reset_max_memory_cached = reset_peak_memory_stats


def memory_stats(device: Any = None) -> dict[str, int]:
    """The allocator's counts under PyTorch's names, sorted; errors as for :func:`memory_allocated`.

    Each of ``allocation``, ``segment``, ``active`` and ``inactive_split``, and the ``..._bytes`` of
    them, ``reserved_bytes`` and ``requested_bytes``, of ``all`` memory, ``small_pool`` and
    ``large_pool``: what is ``current``, its ``peak``, and what was ``allocated`` and ``freed`` so
    far. A block is active until all streams are done with it.
    """
    stats = _stats(device)
    for name in ("oversize_allocations", "oversize_segments"):  # there is no limit of sizes here
        stats |= dict.fromkeys((f"{name}.{n}" for n in _COUNTS), 0)
    stats |= {"num_sync_all_streams": 0, "max_split_size": -1}
    return dict(sorted(stats.items()))


def memory_stats_as_nested_dict(device: Any = None) -> dict[str, Any]:
    """:func:`memory_stats` as dicts in dicts: ``["active"]["all"]["peak"]``. Without the counts
    that cannot be other than zero; errors as for :func:`memory_allocated`."""
    nested: dict[str, Any] = {}
    for name, value in _stats(device).items():
        *path, last = name.split(".")
        place = nested
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return nested


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """A few lines with the numbers of :func:`memory_stats`, whose errors it raises."""
    of = memory_stats_as_nested_dict(device)
    allocated, reserved = of["allocated_bytes"]["all"], of["reserved_bytes"]["all"]
    return (
        f"allocated {allocated['current']} bytes (at most {allocated['peak']}) in "
        f"{of['allocation']['all']['current']} blocks\n"
        f"reserved {reserved['current']} bytes (at most {reserved['peak']}) in "
        f"{of['segment']['all']['current']} segments\n"
        f"{of['num_alloc_retries']} retries, {of['num_ooms']} failures"
    )


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """The free and the total bytes of a card. Raises RuntimeError if there is none."""
    return _C.cuda_memory_info(index_of(device))


def reset_accumulated_memory_stats(device: Any = None) -> None:
    """Lets what was counted so far, ``allocated`` and ``freed`` and the numbers of retries and
    failures, start from zero; errors as for :func:`memory_allocated`."""
    index = index_of(device)
    if _C.cuda_device_count() > 0:
        _C.cuda_reset_sums(index)


def empty_cache() -> None:
    """Returns the memory that is kept for reuse to the cards."""
    _C.cuda_empty_cache()


def ipc_collect() -> None:
    """Nothing to do: memory of a device is not shared between processes."""
