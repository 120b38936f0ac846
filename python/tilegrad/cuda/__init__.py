"""CUDA devices: what is there, and waiting for them.

The functions are those of ``torch.cuda``. Without CUDA in the build, a driver or a card, the
questions have honest answers (False, 0) and everything else is a RuntimeError that says what is
missing.
"""

from __future__ import annotations

from typing import Any

from .. import _C
from .._lazy import lazily as _lazily
from .memory import (
    StreamContext,
    can_device_access_peer,
    device_of,
    get_arch_list,
    get_rng_state_all,
    initial_seed,
    is_tf32_supported,
    max_memory_cached,
    memory_cached,
    memory_stats,
    reset_accumulated_memory_stats,
    reset_max_memory_cached,
    set_rng_state_all,
    set_stream,
)
from .process import (
    Event,
    OutOfMemoryError,
    Stream,
    current_stream,
    default_stream,
    device,
    get_device_capability,
    get_device_properties,
    get_rng_state,
    init,
    ipc_collect,
    is_bf16_supported,
    is_current_stream_capturing,
    is_initialized,
    manual_seed,
    manual_seed_all,
    max_memory_reserved,
    memory_summary,
    reset_max_memory_allocated,
    reset_peak_memory_stats,
    seed,
    seed_all,
    set_device,
    set_rng_state,
    stream,
)

__all__ = [
    "Event",
    "OutOfMemoryError",
    "Stream",
    "StreamContext",
    "can_device_access_peer",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_count",
    "device_of",
    "empty_cache",
    "get_arch_list",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "get_rng_state",
    "get_rng_state_all",
    "init",
    "initial_seed",
    "ipc_collect",
    "is_available",
    "is_bf16_supported",
    "is_current_stream_capturing",
    "is_initialized",
    "is_tf32_supported",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "max_memory_cached",
    "max_memory_reserved",
    "memory_allocated",
    "memory_cached",
    "memory_reserved",
    "memory_stats",
    "memory_summary",
    "reset_accumulated_memory_stats",
    "reset_max_memory_allocated",
    "reset_max_memory_cached",
    "reset_peak_memory_stats",
    "seed",
    "seed_all",
    "set_device",
    "set_rng_state",
    "set_rng_state_all",
    "set_stream",
    "stream",
    "synchronize",
]

_lazy = _lazily(__name__)


def __getattr__(name: str) -> Any:
    """``FloatTensor`` and its relatives, and submodules."""
    from .._legacy import cuda_tensor_types

    return cuda_tensor_types[name] if name in cuda_tensor_types else _lazy(name)


def is_available() -> bool:
    """True if tensors can live on a CUDA device: with CUDA in the build, a driver and a card."""
    return _C.cuda_device_count() > 0


def device_count() -> int:
    """The number of CUDA devices that can be used; 0 where there are none."""
    return _C.cuda_device_count()


def current_device() -> int:
    """The index that ``device="cuda"`` stands for: always 0.

    Raises:
        RuntimeError: There is no CUDA device; the message says why.
    """
    _C.cuda_device_name(0)
    return 0


def get_device_name(device: Any = None) -> str:
    """The name of a card, for example ``"NVIDIA H200"``.

    Args:
        device: A ``device``, a string such as ``"cuda:1"``, or an index; ``None`` is the first.

    Raises:
        RuntimeError: There is no such device; the message says why.
        ValueError: ``device`` is no CUDA device.
    """
    return _C.cuda_device_name(_index(device))


def synchronize(device: Any = None) -> None:
    """Waits until a card has finished all work that was given to it.

    Args:
        device: As for :func:`get_device_name`.

    Raises:
        RuntimeError: There is no such device, or the work failed on it.
        ValueError: ``device`` is no CUDA device.
    """
    _C.cuda_synchronize(_index(device))


def memory_allocated(device: Any = None) -> int:
    """Bytes that tensors occupy on a card; 0 where there is no CUDA.

    Errors are those of :func:`get_device_name`.
    """
    return _memory(device, "in_use")


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that tensors have occupied on a card at once; 0 where there is no CUDA.

    Errors are those of :func:`get_device_name`.
    """
    return _memory(device, "peak")


def memory_reserved(device: Any = None) -> int:
    """Bytes taken from a card: those of tensors and those kept for reuse.

    Errors are those of :func:`get_device_name`.
    """
    return _memory(device, "in_use") + _memory(device, "cached")


def empty_cache() -> None:
    """Returns the memory that is kept for reuse to the cards."""
    _C.cuda_empty_cache()


def _memory(device: Any, key: str) -> int:
    index = _index(device)
    return _C.cuda_memory_stats(index)[key] if is_available() else 0


def _index(device: Any) -> int:
    """The number of a card, from whatever may name one."""
    if device is None:
        return 0
    if isinstance(device, int) and not isinstance(device, bool):
        if not 0 <= device < 128:
            raise ValueError(f"cuda: expected a device index of at least 0, got {device}")
        return device
    found = _C.device(device) if isinstance(device, str) else device
    if not isinstance(found, _C.device):
        raise TypeError(f"cuda: expected a device, a string or an index, got {device!r}")
    if found.type != "cuda":
        raise ValueError(f"cuda: expected a CUDA device, got {found}")
    return found.index or 0
