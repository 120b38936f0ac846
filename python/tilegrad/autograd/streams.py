"""The streams of a backward pass: the work of a node is queued where its forward work was.

There the saved tensors lie, and their memory belongs to that stream. Whenever the stream changes,
the new one waits for the one before, so that the pass is one sequence on the card as well; at its
end the caller's streams wait for all of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _C
from .graph import Node

__all__ = ["StreamFollower"]


class StreamFollower:
    """Makes the stream of each visited node the current one of its card."""

    def __init__(self) -> None:
        self._callers: dict[int, int] = {}  # of the cards whose stream was changed
        self._last: tuple[int, int] | None = None  # card and stream

    def follow(self, node: Node) -> None:
        """What is queued from now on goes where the node's forward work went."""
        if node.card < 0:
            return
        stream, current = node.stream, _C.cuda_current_stream(node.card)
        last = self._last if self._last is not None else (node.card, current)
        if last != (node.card, stream):
            _wait(node.card, stream, *last)
        if stream != current:
            self._callers.setdefault(node.card, current)
            _C.cuda_set_stream(node.card, stream)
        self._last = node.card, stream

    def rejoin(self) -> None:
        """The caller's streams are current again, and wait for what was queued elsewhere."""
        for card, stream in self._callers.items():
            _wait(card, stream, card, _C.cuda_current_stream(card))
            _C.cuda_set_stream(card, stream)
        self._callers.clear()

    def hand_over(self, grads: Iterable[Any]) -> None:
        """Rejoins, for gradients that the caller's streams will use."""
        cards = dict(self._callers)
        self.rejoin()
        for grad in grads:
            if grad.is_cuda and grad.device.index in cards:
                _C.cuda_record_stream(grad, cards[grad.device.index])


def _wait(card: int, stream: int, other_card: int, other_stream: int) -> None:
    """Lets all later work of a stream wait for what another one holds now."""
    event = _C.cuda_event_create(other_card, False, False)
    try:
        _C.cuda_event_record(other_card, event, other_stream)
        _C.cuda_stream_wait_event(card, stream, event)
    finally:
        _C.cuda_event_destroy(other_card, event)
