"""Prints the megabytes that training steps of ResNet-18 need at their peak beyond the import.

    memory.py tilegrad|torch

A process of its own: the peak that the system keeps cannot be reset.
"""

from __future__ import annotations

import importlib
import resource
import sys
from pathlib import Path


def resident() -> float:
    """Megabytes resident now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise OSError("this system does not tell the resident memory")


def main(name: str, steps: int = 3) -> float:
    from cases.networks import resnet18
    from cases.train_networks import residual

    m = importlib.import_module(name)
    m.set_num_threads(1)
    (m.ones(8, 8) @ m.ones(8, 8)).sum()  # what the first operation loads
    before = resident()
    step = residual(resnet18, 16)(m, lambda x: x)
    for _ in range(steps):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before


if __name__ == "__main__":
    print(main(sys.argv[1]))
