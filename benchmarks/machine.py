"""What the machine can do at best, measured: multiply-adds and memory; and what it is."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tilegrad as tg
from tilegrad import _C


class Machine:
    """The best of all probes so far, for the current number of threads.

    Probes are repeated between the cases: a share should not exceed 1 because the first probe fell
    into a slow moment.
    """

    def __init__(self, clock: Callable[[], float], megabytes: int = 64) -> None:
        self.clock = clock
        size = megabytes * 2**20 // 4  # beyond the caches of most machines
        self._arrays = [tg.ones(size) for _ in range(3)]
        self.flops = self.bandwidth = 0.0
        self.probe(5)

    def probe(self, rounds: int = 1) -> None:
        """Measures both again and keeps what is better than before."""
        tasks = 4 * tg.get_num_threads()
        for _ in range(rounds):
            self.flops = max(self.flops, self._rate(_C.fma_probe, tasks, 50_000))
            for reads_only in (False, True):
                rate = self._rate(_C.memory_probe, *self._arrays, reads_only)
                self.bandwidth = max(self.bandwidth, rate)

    def _rate(self, probe: Callable[..., float], *args: Any) -> float:
        start = self.clock()
        amount = probe(*args)
        return amount / (self.clock() - start)


def processor() -> str:
    """The processor's name as far as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def kind() -> str:
    """The processor's maker and the instruction set in use, as pages are named: ``amd-avx2``."""
    makers = {"AuthenticAMD": "amd", "GenuineIntel": "intel"}
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    maker = next((name for vendor, name in makers.items() if vendor in text), platform.machine())
    return f"{maker}-{tg.config()['isa']}"


def pin_to_one() -> None:
    """Keeps this process on one of its processors, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
