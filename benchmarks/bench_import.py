"""What ``import tilegrad`` adds to ``import numpy``, and the size of the installed package.

Bytecode is kept and there before the first measured run, as in an installed package.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = """
import time
import numpy
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""


def added_seconds(module: str, rounds: int = 9) -> float:
    """The median time of importing ``module`` in a fresh interpreter that has NumPy already."""
    command = [sys.executable, "-c", PROGRAM.format(module=module)]
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as folder:
        environment["PYTHONPYCACHEPREFIX"] = folder
        runs = [
            float(subprocess.check_output(command, text=True, env=environment))
            for _ in range(rounds + 1)
        ]
    return statistics.median(runs[1:])


def installed_megabytes() -> float:
    import tilegrad

    folder = Path(tilegrad.__file__).parent
    return sum(f.stat().st_size for f in folder.rglob("*") if f.suffix in (".py", ".so")) / 1e6


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    for name in ("tilegrad", "tilegrad.nn, tilegrad.optim", "torch"):
        print(f"import {name}: {added_seconds(name) * 1e3:.0f} ms after NumPy (goal for us: 40)")
    print(f"installed: {installed_megabytes():.1f} MB")
