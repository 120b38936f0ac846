"""Runs programs and keeps what they record. As a script it writes that to a file:

python -m tilegrad.run tests/clients/recording.py FILE MODULE
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np


def recorded(module: Any) -> dict[str, np.ndarray]:
    """Every array that a module's programs record, in order, under a name with its number."""
    kept: dict[str, np.ndarray] = {}
    for name, program in module.PROGRAMS.items():

        def record(what: str, value: Any, name: str = name) -> None:
            if isinstance(value, dict):
                for key, part in value.items():
                    record(f"{what} {key}", part)
            elif isinstance(value, (list, tuple)):
                for i, part in enumerate(value):
                    record(f"{what} {i}", part)
            else:
                kept[f"{name}: {len(kept):04d} {what}"] = value.detach().numpy().copy()

        program(record)
    return kept


if __name__ == "__main__":
    np.savez(sys.argv[1], **recorded(importlib.import_module(sys.argv[2])))
