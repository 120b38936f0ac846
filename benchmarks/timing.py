"""Paired timings: ours and PyTorch's in one process, in turns, so that noise hits both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def per_call(function: Callable[[], object], calls: int) -> float:
    """Seconds per call over one round."""
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def compare(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int = 15, budget: float = 0.02
) -> tuple[float, float, float]:
    """Median seconds per call of both, and the median over rounds of theirs / ours.

    Each round times both for about ``budget`` seconds, one directly after the other.
    """
    for function in (ours, theirs):  # warm caches, allocators and code
        for _ in range(20):
            function()
    calls = [max(1, int(budget / per_call(f, 20))) for f in (ours, theirs)]
    mine, others = [], []
    for _ in range(rounds):
        mine.append(per_call(ours, calls[0]))
        others.append(per_call(theirs, calls[1]))
    ratios = [b / a for a, b in zip(mine, others, strict=True)]
    return statistics.median(mine), statistics.median(others), statistics.median(ratios)
