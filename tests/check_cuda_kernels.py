#!/usr/bin/env python3
"""Compiles the CUDA kernels for the release architectures and looks at what ptxas says.

No kernel may spill registers, none but those listed below may use local memory, and no tensor-core
pipeline may be serialized (ptxas warning C7510): each of these costs several times the run time,
and none of them shows in any result. And what the note at the top of a file says of bytes,
operations and occupancy must be there, the occupancy that of the registers, which is looked at with
the version of nvcc that the notes were made with. Needs nvcc, no card.

    python tests/check_cuda_kernels.py --architectures 80 90a --table

Code for 8.0 is compiled for every dtype, that for other cards for the common ones: what differs
between architectures is registers, and those of float64, which is there for checks, and of narrow
integers count least. Code for both cards from 10.0 on is made from that of 10.0, in one run.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
FLAGS = ["-std=c++20", "-O3", "--expt-relaxed-constexpr", "-Xptxas", "-v", "-fatbin"]
FLAGS += [f"-I{ROOT / 'cuda'}", f"-I{ROOT / 'csrc'}", "-DTILEGRAD_WITH_CUDA"]
FLAGS += ["-DTILEGRAD_CUDA_SM_90A"]  # as in a release: Hopper's kernels are empty elsewhere
COMMON_DTYPES = ["-DTILEGRAD_CUDA_COMMON_DTYPES"]
EVERY_DTYPE_FOR = "80"
# Compiled together: the way to what ptxas gets, half of the time, is gone once.
FAMILY = {"100": "100", "120": "100"}

# Functions whose reduction of huge arguments keeps a table of digits in local memory; only such
# arguments reach it.
MAY_USE_LOCAL_MEMORY = re.compile(r"(sin|cos|tan)_of")
# Kernels of float64, which is there for checks: around a division or a root, a call on the card,
# values are saved. In mangled names a template's argument double is a d.
MAY_SPILL = re.compile(r"I(Li\d+E)?d[EJN]")
# What every note says, of the kernel with most registers, those of float64 left out.
OCCUPANCY = re.compile(
    r"[Uu]p to (\d+) registers, (\d+) blocks? of (\d+) threads on a multiprocessor"
)
BYTES = re.compile(r"\bbytes\b|KiB")
OPERATIONS = re.compile(r"operation|multiplication|addition|comparison|division|arithmetic")
NOTED_WITH = "13.0"  # another nvcc gives kernels a few registers more or less
NOTED_FOR = ("80", "90a")
# Of a multiprocessor, and how registers are given to threads.
MOST_THREADS, MOST_REGISTERS, REGISTER_STEP = 2048, 65536, 8
MOST_SHARED_BYTES = 48 << 10  # that a kernel's own variables may take, on every card


class Kernel(NamedTuple):
    """What ptxas reports of one kernel."""

    source: str
    architecture: str
    name: str  # mangled
    registers: int
    shared_bytes: int
    stack_bytes: int
    spilled_bytes: int


def parse(source: str, text: str) -> list[Kernel]:
    """The kernels in the output of ``ptxas -v``."""
    found = []
    for block in re.split(r"Compiling entry function ", text)[1:]:
        name = re.match(r"'(\S+)' for 'sm_(\w+)'", block)
        stack = re.search(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", block
        )
        used = re.search(r"Used (\d+) registers", block)
        shared = re.search(r"(\d+) bytes smem", block)
        if not (name and stack and used):
            raise ValueError(f"{source}: cannot read this output of ptxas:\n{block}")
        found.append(
            Kernel(
                source,
                name[2],
                name[1],
                int(used[1]),
                int(shared[1]) if shared else 0,
                int(stack[1]),
                int(stack[2]) + int(stack[3]),
            )
        )
    return found


def compile_one(
    nvcc: str, source: Path, architectures: list[str], flags: list[str]
) -> tuple[list[Kernel], list[str]]:
    """The kernels of a source file for one family, and what is wrong with them."""
    first = FAMILY.get(architectures[0], architectures[0])
    code = ",".join(f"sm_{name}" for name in architectures)
    target = f"-gencode=arch=compute_{first},code=[{code}]"
    with tempfile.TemporaryDirectory() as folder:
        output = ["-o", f"{folder}/fatbin"]
        command = [nvcc, *FLAGS, *flags, target, str(source), *output]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    text, where = result.stdout + result.stderr, str(source.relative_to(ROOT))
    if result.returncode != 0:
        return [], [f"{where}, {code}: does not compile:\n{text}"]
    kernels = parse(source.name, text)
    return kernels, complaints_about(kernels, text, where)


def jobs_of(
    sources: list[Path], architectures: list[str]
) -> list[tuple[Path, list[str], list[str]]]:
    """What is to be compiled: files, architectures, flags."""
    families: dict[str, list[str]] = {}
    for name in architectures:
        families.setdefault(FAMILY.get(name, name), []).append(name)
    return [
        (path, members, [] if first == EVERY_DTYPE_FOR else COMMON_DTYPES)
        for path in sources
        for first, members in families.items()
    ]


def complaints_about(kernels: list[Kernel], text: str, where: str) -> list[str]:
    """One line for each fault."""
    complaints = [
        f"{where}: {line.strip()}"
        for line in text.splitlines()
        if "C7510" in line or "arning" in line
    ]
    for kernel in kernels:
        about = f"{where}, sm_{kernel.architecture}: {kernel.name}"
        if kernel.shared_bytes > MOST_SHARED_BYTES:
            complaints.append(f"{about} has {kernel.shared_bytes} bytes shared: it cannot start")
        if MAY_SPILL.search(kernel.name):
            continue
        if kernel.spilled_bytes:
            complaints.append(f"{about} spills {kernel.spilled_bytes} bytes")
        elif kernel.stack_bytes and not MAY_USE_LOCAL_MEMORY.search(kernel.name):
            complaints.append(f"{about} has {kernel.stack_bytes} bytes local memory")
    return complaints


def note_of(text: str) -> str:
    """The comment at the top of a source, in one line."""
    lines = itertools.takewhile(lambda line: line.startswith("//"), text.splitlines())
    return " ".join(line[2:].strip() for line in lines)


def complaints_about_note(note: str, kernels: list[Kernel], where: str) -> list[str]:
    """What the note leaves out, or does not say as the kernels of all architectures are."""
    complaints = []
    if not BYTES.search(note):
        complaints.append(f"{where}: the note says nothing of bytes")
    if not OPERATIONS.search(note):
        complaints.append(f"{where}: the note says nothing of operations")
    said = OCCUPANCY.search(note)
    if not said:
        return [*complaints, f"{where}: the note says no occupancy like {OCCUPANCY.pattern!r}"]
    registers, blocks, threads = map(int, said.groups())
    used = max(k.registers for k in kernels if not MAY_SPILL.search(k.name))
    given = -(-used // REGISTER_STEP) * REGISTER_STEP
    fit = min(MOST_THREADS // threads, MOST_REGISTERS // (given * threads))
    if (registers, blocks) != (given, fit):
        complaints.append(
            f"{where}: the note says {registers} registers and {blocks} blocks, and the kernels "
            f"take {given}, so that {fit} fit"
        )
    return complaints


def release_of(nvcc: str) -> str:
    """The version of the compiler, like 13.0."""
    told = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"release (\d+\.\d+)", told)
    return found[1] if found else "unknown"


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--architectures", nargs="+", default=["80", "90a", "100", "120"])
    parser.add_argument("--stems", nargs="*", help="files of cuda/ops; default: all")
    parser.add_argument("--table", action="store_true", help="print registers and shared memory")
    options = parser.parse_args()
    sources = sorted((ROOT / "cuda" / "ops").glob("*.cu"))
    if options.stems:
        sources = [path for path in sources if path.stem in options.stems]
    jobs = jobs_of(sources, options.architectures)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda job: compile_one(options.nvcc, *job), jobs))
    kernels = [kernel for found, _ in results for kernel in found]
    complaints = [line for _, lines in results for line in lines]
    if set(NOTED_FOR) <= set(options.architectures) and release_of(options.nvcc) == NOTED_WITH:
        for path in sources:
            own = [k for k in kernels if k.source == path.name and k.architecture in NOTED_FOR]
            where = str(path.relative_to(ROOT))
            complaints += (
                complaints_about_note(note_of(path.read_text()), own, where) if own else []
            )
    if options.table:
        for k in sorted(kernels):
            print(f"{k.source:20} sm_{k.architecture:4} {k.registers:4} registers "
                  f"{k.shared_bytes:6} bytes shared  {k.name}")  # fmt: skip
    print(*complaints, sep="\n")
    print(f"{len(kernels)} kernels in {len(jobs)} compilations, {len(complaints)} complaints")
    return 1 if complaints or not kernels else 0


if __name__ == "__main__":
    sys.exit(main())
