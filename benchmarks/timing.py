"""Paired timings: ours and PyTorch's in one process, in turns, so that noise hits both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

Program = Callable[[], object]
Clock = Callable[[], float]


def per_call(function: Program, calls: int, clock: Clock = time.perf_counter) -> float:
    """Seconds per call over one round."""
    start = clock()
    for _ in range(calls):
        function()
    return (clock() - start) / calls


def compare(
    ours: Program, theirs: Program, rounds: int = 15, budget: float = 0.02
) -> tuple[float, float, float]:
    """Median seconds per call of both, and the median over rounds of theirs / ours.

    Each round times both for about ``budget`` seconds, one directly after the other.
    """
    for function in (ours, theirs):  # warm caches, allocators and code
        for _ in range(20):
            function()
    calls = [max(1, int(budget / per_call(f, 20))) for f in (ours, theirs)]
    mine, others = rounds_in_turns((ours, theirs), calls, rounds)
    ratios = [b / a for a, b in zip(mine, others, strict=True)]
    return statistics.median(mine), statistics.median(others), statistics.median(ratios)


def rounds_in_turns(
    programs: Sequence[Program],
    calls: Sequence[int],
    rounds: int,
    clock: Clock = time.perf_counter,
    rest: float = 0.0,
) -> list[list[float]]:
    """Seconds per call of each program in each round; a round runs all, one after the other.

    OpenMP's threads wait for more work for milliseconds, each at the cost of a processor. Where
    programs use several threads, a ``rest`` of some milliseconds and an untimed call before each
    turn keep one program from paying for the waiting of another.
    """
    times: list[list[float]] = [[] for _ in programs]
    for _ in range(rounds):
        for program, count, found in zip(programs, calls, times, strict=True):
            if rest > 0:
                time.sleep(rest)
                program()
            found.append(per_call(program, count, clock))
    return times


def compare_many(
    programs: Sequence[Program], seconds: float, clock: Clock, rest: float = 0.0
) -> list[list[float]]:
    """The same for programs of any length: about ``seconds`` in all, in 3 to 15 rounds."""
    estimates = []
    for program in programs:
        per_call(program, 2)  # warm caches, allocators and code
        estimates.append(per_call(program, 1))
    calls = [max(1, int(0.02 / max(estimate, 1e-7))) for estimate in estimates]
    one_round = sum(n * t for n, t in zip(calls, estimates, strict=True))
    rounds = max(3, min(15, int(seconds / one_round)))
    return rounds_in_turns(programs, calls, rounds, clock, rest)
