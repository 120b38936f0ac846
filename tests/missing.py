"""Writes docs/missing.md: every public name of PyTorch that is missing, with the reason.

    PYTHONPATH=python python tests/missing.py

``tests/test_missing_names.py`` compares the page with the installed PyTorch. A missing name without
a reason fails, and so does a reason without a missing name: the list only gets shorter.
"""

from __future__ import annotations

import importlib
import types
import typing
import warnings
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch

import tilegrad as tg
from missing_reasons import REASONS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "missing.md"
ROOMS = (
    "", "Tensor", "nn", "nn.Module", "nn.functional", "nn.init", "nn.utils", "nn.utils.rnn",
    "nn.utils.parametrize", "nn.utils.parametrizations", "nn.utils.prune", "nn.utils.stateless",
    "nn.parallel", "nn.attention", "optim", "optim.Optimizer", "optim.lr_scheduler",
    "optim.swa_utils", "utils", "utils.data", "utils.checkpoint", "utils.dlpack", "linalg", "fft",
    "special", "signal.windows", "distributions", "distributions.constraints",
    "distributions.transforms", "autograd", "autograd.functional", "autograd.graph",
    "autograd.profiler", "func", "cuda", "cuda.amp", "cuda.comm", "cuda.gds", "cuda.graphs",
    "cuda.green_contexts", "cuda.memory", "cuda.nccl", "cuda.nvtx", "cuda.profiler", "cuda.random",
    "cuda.sparse", "cuda.streams", "cuda.tunable", "cuda.CUDAGraph", "cuda.Event", "cuda.Stream",
    "amp", "cpu", "backends", "backends.cuda",
    "backends.cudnn", "backends.mkldnn", "backends.mps", "backends.openmp", "testing", "random",
    "serialization", "multiprocessing", "distributed", "jit", "hub", "compiler", "accelerator",
    "profiler", "types", "version", "sparse", "nested", "masked", "futures", "overrides",
    "library", "__config__", "__future__",
)  # fmt: skip
HEADER = """# What is missing

Made by `tests/missing.py`: {missing} of the {total} public names in {rooms} rooms of PyTorch
{version}, by reason. `tests/test_missing_names.py` compares this page with the installed PyTorch; a
name without a reason fails, and so does a reason that is no longer needed. Using a missing name
raises AttributeError, which names it. Whole modules that are not looked at: `torch.ao`, `export`,
`fx`, `onnx`, `package`, `quantization`, `xpu`, `mtia`, `mps`.
"""


def _find(package: str, room: str) -> Any:
    """The module or class of that name, or None."""
    path = f"{package}.{room}".rstrip(".")
    try:
        return importlib.import_module(path)
    except ImportError:
        parent, _, last = path.rpartition(".")
        try:
            return getattr(importlib.import_module(parent), last, None)
        except ImportError:
            return None


def _is_public(holder: Any, name: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some names are deprecated
        value = getattr(holder, name, None)
        return _is_own(holder, name, value)


def _is_own(holder: Any, name: str, value: Any) -> bool:
    if name.startswith("_") or isinstance(value, types.ModuleType):
        return False
    if isinstance(holder, type) or hasattr(holder, "__all__"):
        return True
    # A module without __all__: what it has imported from elsewhere is not its own.
    module = getattr(value, "__module__", None)
    foreign = isinstance(module, str) and not module.startswith("torch")
    return not foreign and not isinstance(value, (typing._SpecialForm, bool))


def names_of_torch(room: str) -> list[str]:
    """The public names of a room of PyTorch."""
    holder = _find("torch", room)
    assert holder is not None, room
    names = {*(getattr(holder, "__all__", None) or dir(holder))}
    return sorted(name for name in names if _is_public(holder, name))


def missing_names(room: str) -> list[str]:
    """Those that the same room of ours lacks."""
    ours = _find("tilegrad", room)
    return [name for name in names_of_torch(room) if not hasattr(ours, name)]


def reason_for(room: str, name: str) -> int | None:
    """The number of the first reason that covers a name."""
    for i, (_, rooms) in enumerate(REASONS):
        if any(fnmatchcase(name, pattern) for pattern in rooms.get(room, "").split()):
            return i
    return None


def sorted_by_reason() -> tuple[dict[tuple[int, str], list[str]], list[str]]:
    """The missing names by reason and room, and those without a reason."""
    groups: dict[tuple[int, str], list[str]] = {}
    orphans = []
    for room in ROOMS:
        for name in missing_names(room):
            number = reason_for(room, name)
            if number is None:
                orphans.append(f"{room}.{name}".lstrip("."))
            else:
                groups.setdefault((number, room), []).append(name)
    return groups, orphans


def page() -> str:
    """The page as it should be. Raises ValueError for a name without a reason."""
    groups, orphans = sorted_by_reason()
    if orphans:
        raise ValueError(f"missing without a reason: {', '.join(orphans)}")
    total = sum(len(names_of_torch(room)) for room in ROOMS)
    missing = sum(map(len, groups.values()))
    version = torch.__version__.partition("+")[0]
    parts = [HEADER.format(missing=missing, total=total, rooms=len(ROOMS), version=version)]
    for i, (reason, rooms) in enumerate(REASONS):
        count = sum(len(names) for (number, _), names in groups.items() if number == i)
        parts.append(f"\n## {reason}\n\n{count} names\n")
        for room in rooms:
            if names := groups.get((i, room)):
                listed = ", ".join(f"`{name}`" for name in names)
                parts.append(f"\n- `torch{'.' if room else ''}{room}`: {listed}\n")
    return "".join(parts)


if __name__ == "__main__":
    print(tg.__version__, sorted_by_reason()[1])
    PAGE.write_text(page())
