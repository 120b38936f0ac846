"""Writes docs/names.md: every supported name, room by room.

    PYTHONPATH=python python tests/names.py

``tests/test_documentation.py`` compares the page with the package.
"""

from __future__ import annotations

import importlib
import types
from pathlib import Path
from typing import Any

import tilegrad as tg

PAGE = Path(__file__).resolve().parent.parent / "docs" / "names.md"
ROOMS = (
    "", "accelerator", "amp", "autograd", "autograd.functional", "backends", "compiler", "cpu",
    "cuda", "cuda.nvtx", "cuda.profiler", "datasets", "distributed", "distributions", "fft",
    "func", "linalg", "multiprocessing", "nn", "nn.functional", "nn.init", "nn.parallel",
    "nn.utils", "nn.utils.parametrizations", "nn.utils.parametrize", "nn.utils.rnn", "optim",
    "optim.lr_scheduler", "optim.swa_utils", "profiler", "random", "serialization",
    "signal.windows", "special", "testing", "utils.checkpoint", "utils.data", "utils.dlpack",
    "utils.safetensors",
)  # fmt: skip
HEADER = """# Supported names

Made by `tests/names.py` from the package. Signatures, dtypes and errors are PyTorch's and stand in
each name's docstring; what differs is listed in [programs.md](programs.md#what-differs), and
[conformance.md](conformance.md) counts how PyTorch's own samples come out.
"""


def names_of(holder: Any) -> list[str]:
    """Public names: those of ``__all__`` where there is one, and no modules."""
    names = getattr(holder, "__all__", None) or dir(holder)
    return sorted(
        name
        for name in {*names}
        if not name.startswith("_") and not isinstance(getattr(holder, name), types.ModuleType)
    )


def section(title: str, names: list[str]) -> str:
    return f"\n## {title}\n\n" + ", ".join(f"`{name}`" for name in names) + "\n"


def page() -> str:
    parts = [HEADER]
    for room in ROOMS:
        path = f"tilegrad.{room}".rstrip(".")
        parts.append(section(path, names_of(importlib.import_module(path))))
        if not room:
            parts.append(section("tilegrad.Tensor", names_of(tg.Tensor)))
        if room == "nn":
            parts.append(section("tilegrad.nn.Module", names_of(tg.nn.Module)))
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
