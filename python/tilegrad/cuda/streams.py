"""Streams and events: the order of work on a card.

What is queued on one stream is done in order; streams wait for each other only where they are told
to. Memory that one stream has made and another uses must be reported with
:meth:`Tensor.record_stream`, or outlive the work. Without a device, the default stream and events
that note the host's time stand in, so that one program runs on both.
"""

from __future__ import annotations

import time
from typing import Any

from .. import _C
from ..ops._register import method
from ._index import index_of

__all__ = [
    "Event",
    "ExternalStream",
    "Stream",
    "StreamContext",
    "current_stream",
    "default_stream",
    "is_current_stream_capturing",
    "set_stream",
    "stream",
]


class Stream:
    """A queue of work on a card, one of 32 that are reused in turn.

    In a ``with`` block it is the current stream of this thread, as with :func:`stream`.

    Args:
        device: A ``device``, a string or an index; the current device unless given.
        priority: Negative numbers ask for a stream that goes before others.

    Raises RuntimeError if there is no such device.
    """

    def __init__(self, device: Any = None, priority: int = 0, **place: int) -> None:
        self._index = index_of(device)
        self.priority = -1 if priority < 0 else 0
        self._contexts: list[StreamContext] = []  # with blocks that it is in
        if "handle" in place:
            self.cuda_stream = place["handle"]
        else:
            self.cuda_stream = _C.cuda_stream_from_pool(self._index, priority < 0)

    @staticmethod
    def priority_range() -> tuple[int, int]:
        """The least and the most urgent priority: 0 and -1."""
        return (0, -1)

    def __enter__(self) -> Stream:
        context = StreamContext(self)
        context.__enter__()
        self._contexts.append(context)
        return self

    def __exit__(self, *exception: Any) -> None:
        self._contexts.pop().__exit__(*exception)

    @property
    def device(self) -> Any:
        """The card of the stream."""
        return _C.device("cuda", self._index)

    @property
    def stream_id(self) -> int:
        """A number that no other stream of the device has."""
        return self.cuda_stream

    @property
    def device_index(self) -> int:
        """The number of the card."""
        return self._index

    def synchronize(self) -> None:
        """Waits until everything in the stream is done; RuntimeError for what failed there."""
        if _C.cuda_device_count() > 0:
            _C.cuda_stream_synchronize(self._index, self.cuda_stream)

    def query(self) -> bool:
        """Whether everything in the stream is done. Raises RuntimeError for what failed there."""
        return _C.cuda_device_count() == 0 or _C.cuda_stream_query(self._index, self.cuda_stream)

    def wait_event(self, event: Event) -> None:
        """Lets all later work of this stream wait for the event; errors of :meth:`Event.record`."""
        if event._handle:
            _C.cuda_stream_wait_event(self._index, self.cuda_stream, event._handle)

    def wait_stream(self, stream: Stream) -> None:
        """Lets all later work of this stream wait for what the other one holds now."""
        self.wait_event(stream.record_event())

    def record_event(self, event: Event | None = None) -> Event:
        """Records and returns an event, a new one unless given; errors of :meth:`Event.record`."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Stream):
            return False
        return (self._index, self.cuda_stream) == (other._index, other.cuda_stream)

    def __hash__(self) -> int:
        return hash((self._index, self.cuda_stream))

    def __repr__(self) -> str:
        return f"<tilegrad.cuda.Stream device={self.device} cuda_stream={self.cuda_stream:#x}>"


class ExternalStream(Stream):
    """A stream that another library has made, by the address of its ``cudaStream_t``."""

    def __init__(self, stream_ptr: int, device: Any = None) -> None:
        super().__init__(device, handle=int(stream_ptr))


class Event:
    """A moment in a stream, to be waited for and, with ``enable_timing``, to be timed.

    ``blocking``: the host sleeps while it waits, instead of asking all the time.
    """

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> None:
        self._timed, self._blocking = bool(enable_timing), bool(blocking)
        self._handle = 0
        self._index = 0
        self._time: float | None = None  # where there is no device

    @property
    def cuda_event(self) -> int:
        """The address of the ``cudaEvent_t``; 0 before the event is recorded."""
        return self._handle

    def record(self, stream: Stream | None = None) -> None:
        """Marks the end of what a stream holds now, of the current one unless given.

        Raises RuntimeError if the stream is on another device than at the first time.
        """
        stream = current_stream() if stream is None else stream
        if _C.cuda_device_count() == 0:
            self._time = time.perf_counter()
            return
        if not self._handle:
            self._index = stream.device_index
            self._handle = _C.cuda_event_create(self._index, self._timed, self._blocking)
        elif stream.device_index != self._index:
            raise RuntimeError(
                f"Event device cuda:{self._index} does not match recording stream's device "
                f"cuda:{stream.device_index}."
            )
        _C.cuda_event_record(self._index, self._handle, stream.cuda_stream)

    def wait(self, stream: Stream | None = None) -> None:
        """Lets a stream, the current one unless given, wait for this event."""
        (current_stream() if stream is None else stream).wait_event(self)

    def query(self) -> bool:
        """Whether everything before the event is done; True before it is recorded."""
        return not self._handle or _C.cuda_event_query(self._index, self._handle)

    def synchronize(self) -> None:
        """Waits until everything before the event is done; RuntimeError for what failed."""
        if self._handle:
            _C.cuda_event_synchronize(self._index, self._handle)

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to the other.

        Raises RuntimeError unless both were made with ``enable_timing``, recorded, and have come.
        """
        if not (self._timed and end_event._timed):
            raise RuntimeError("Both events must be created with argument 'enable_timing=True'.")
        if self._time is not None and end_event._time is not None:
            return 1000 * (end_event._time - self._time)
        if not (self._handle and end_event._handle):
            raise RuntimeError("Both events must be recorded before calculating elapsed time.")
        if not (self.query() and end_event.query()):
            raise RuntimeError(
                "Both events must be completed before calculating elapsed time: synchronize first."
            )
        return _C.cuda_event_elapsed(self._index, self._handle, end_event._handle)

    def __del__(self) -> None:
        if getattr(self, "_handle", 0):
            _C.cuda_event_destroy(self._index, self._handle)


def current_stream(device: Any = None) -> Stream:
    """This thread's stream on a device; errors as for :func:`tilegrad.cuda.get_device_name`."""
    index = index_of(device)
    return Stream(index, handle=_C.cuda_current_stream(index))


def default_stream(device: Any = None) -> Stream:
    """The stream on which everything happens unless told otherwise."""
    return Stream(index_of(device), handle=0)


def set_stream(stream: Stream | None) -> None:
    """Makes a stream the current one of this thread on its device; nothing for ``None``."""
    if stream is not None and _C.cuda_device_count() > 0:
        _C.cuda_set_stream(stream.device_index, stream.cuda_stream)


class StreamContext:
    """A ``with`` block in which this thread's work goes to a stream; ``None`` changes nothing."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        if self.stream is not None:
            self._before = current_stream(self.stream.device_index)
            set_stream(self.stream)

    def __exit__(self, *exception: Any) -> None:
        if self.stream is not None:
            set_stream(self._before)


def stream(stream: Stream | None) -> StreamContext:
    """A ``with`` block in which this thread's work goes to a stream; ``None`` changes nothing."""
    return StreamContext(stream)


def is_current_stream_capturing() -> bool:
    """Whether the current stream's work is being written down for a graph."""
    return _C.cuda_is_capturing()


@method()
def record_stream(self: Any, stream: Stream) -> None:
    """Tells the allocator that a stream uses this tensor's memory: when the tensor is gone, the
    memory waits for what that stream holds at that time.

    Raises RuntimeError for a tensor on the CPU, TypeError for what is no stream.
    """
    if not isinstance(stream, Stream):
        raise TypeError(f"record_stream: expected a Stream, got {type(stream).__name__}")
    _C.cuda_record_stream(self, stream.cuda_stream)
