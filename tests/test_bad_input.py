"""Every public callable with hostile arguments: it works or raises a documented exception.

The calls run in child processes, so that a crash is seen as a failure, and with their output
caught, so that nothing may print.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

AUDIT = Path(__file__).with_name("bad_input.py")


@pytest.mark.parametrize(
    "group", ["functions", "methods", "functional", "layers", "optimizers", "rest"]
)
def test_hostile_arguments(group: str) -> None:
    result = subprocess.run(
        [sys.executable, str(AUDIT), group],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, f"exit {result.returncode}: {result.stderr[-4000:]}"
    lines = result.stdout.splitlines()
    assert lines and lines[-1].startswith("checked"), result.stdout[-4000:]
    assert int(lines[-1].split()[1]) > 1000
    assert lines[:-1] == [], "\n".join(lines[:60])
