"""What programs ask of CUDA around their work: seeds, streams, events, the current device.

All work on a device is in order on one stream, so waiting for a stream is waiting for the device.
Seeding and switching are accepted where there is no device, as in PyTorch, so that one program
runs on both.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from .. import _C

__all__ = [
    "Event",
    "OutOfMemoryError",
    "Stream",
    "current_stream",
    "default_stream",
    "device",
    "get_device_capability",
    "get_device_properties",
    "get_rng_state",
    "init",
    "ipc_collect",
    "is_bf16_supported",
    "is_current_stream_capturing",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_reserved",
    "memory_summary",
    "reset_max_memory_allocated",
    "reset_peak_memory_stats",
    "seed",
    "seed_all",
    "set_device",
    "set_rng_state",
    "stream",
]

OutOfMemoryError = MemoryError


def manual_seed(seed: int) -> None:
    """Accepted: random numbers come from the CPU's generator, see :func:`tilegrad.manual_seed`.

    Raises TypeError or ValueError for what is not a number.
    """
    int(seed)


manual_seed_all = manual_seed


def seed() -> None:
    """Accepted: random numbers come from the CPU's generator."""


seed_all = seed


def get_rng_state(device: Any = "cuda") -> Any:
    """The state of the generator, which is the CPU's; see :func:`tilegrad.get_rng_state`."""
    from ..ops.random import get_rng_state as of_cpu

    return of_cpu()


def set_rng_state(new_state: Any, device: Any = "cuda") -> None:
    """Accepted, since there is no generator on the device. Raises TypeError for no tensor."""
    if not isinstance(new_state, _C.TensorBase):
        raise TypeError(f"set_rng_state: expected a Tensor, got {type(new_state).__name__}")


def init() -> None:
    """Nothing to do: devices are made ready when they are first used."""


def is_initialized() -> bool:
    """Whether there is a device to use."""
    return _C.cuda_device_count() > 0


def set_device(device: Any) -> None:
    """Accepts device 0, on which everything runs. Raises RuntimeError for any other."""
    index = device if isinstance(device, int) else _C.device(device).index
    if index not in (None, 0, -1):
        raise RuntimeError(f"set_device: work on one device, 0, is supported; got {device}")


class device(contextlib.ContextDecorator):
    """A ``with`` block for :func:`set_device`, whose errors it raises."""

    def __init__(self, device: Any) -> None:
        self._device = device

    def __enter__(self) -> None:
        if self._device is not None:
            set_device(self._device)

    def __exit__(self, *exception: Any) -> None:
        pass


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """False: bfloat16 tensors live on the CPU so far."""
    return False


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability of a card. Raises RuntimeError: it is not known here."""
    from . import get_device_name

    name = get_device_name(device)
    raise RuntimeError(f"get_device_capability: not known for {name}")


def get_device_properties(device: Any = None) -> Any:
    """What is known of a card. Raises RuntimeError: nothing is known here but its name."""
    from . import get_device_name

    name = get_device_name(device)
    raise RuntimeError(f"get_device_properties: not known for {name}")


def is_current_stream_capturing() -> bool:
    """False: there are no graphs of kernels."""
    return False


def ipc_collect() -> None:
    """Nothing to do: memory of a device is not shared between processes."""


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes taken from a card; errors as for :func:`memory_reserved`."""
    from . import memory_reserved

    return memory_reserved(device)


def reset_peak_memory_stats(device: Any = None) -> None:
    """Accepted; the peak is that of the whole process."""


reset_max_memory_allocated = reset_peak_memory_stats


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """One line with the numbers of :func:`memory_allocated` and :func:`memory_reserved`, whose
    errors it raises."""
    from . import max_memory_allocated, memory_allocated, memory_reserved

    now, most, kept = (
        memory_allocated(device),
        max_memory_allocated(device),
        memory_reserved(device),
    )
    return f"allocated {now} bytes (at most {most}), reserved {kept} bytes"


class Stream:
    """The one stream of a device."""

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        self.device = device

    def synchronize(self) -> None:
        """Waits for the device; errors as for :func:`tilegrad.cuda.synchronize`."""
        _wait(self.device)

    def wait_stream(self, stream: Any) -> None:
        """Nothing to do: there is one stream."""

    def wait_event(self, event: Any) -> None:
        """Nothing to do: there is one stream."""

    def query(self) -> bool:
        """Whether all work is done; waits for it."""
        self.synchronize()
        return True

    def record_event(self, event: Any = None) -> Event:
        """Records and returns an event."""
        event = Event() if event is None else event
        event.record(self)
        return event


def current_stream(device: Any = None) -> Stream:
    """The stream of a device; any argument is accepted."""
    return Stream(device)


default_stream = current_stream


@contextlib.contextmanager
def stream(stream: Any) -> Iterator[None]:
    """A ``with`` block that changes nothing: there is one stream."""
    yield


def _wait(device: Any = None) -> None:
    from . import is_available, synchronize

    if is_available():
        synchronize(device)


class Event:
    """A moment; ``elapsed_time`` between two in milliseconds."""

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> None:
        self._enabled = enable_timing
        self._time: float | None = None

    def record(self, stream: Any = None) -> None:
        """Waits for the work so far and notes the time."""
        _wait()
        self._time = time.perf_counter()

    def synchronize(self) -> None:
        """Waits for the device."""
        _wait()

    def wait(self, stream: Any = None) -> None:
        """Nothing to do: there is one stream."""

    def query(self) -> bool:
        """Whether the work before the event is done; always so."""
        return True

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to the other.

        Raises RuntimeError unless both were made with ``enable_timing`` and recorded.
        """
        if not (self._enabled and end_event._enabled):
            raise RuntimeError("Both events must be created with argument 'enable_timing=True'.")
        if self._time is None or end_event._time is None:
            raise RuntimeError("Both events must be recorded before calculating elapsed time.")
        return 1000 * (end_event._time - self._time)
