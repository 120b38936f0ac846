"""Checks by disassembly that the loops of the micro-kernels keep their accumulators in registers.

GCC keeps an array of accumulators in memory unless every loop over it is unrolled, and then stores
all of them in each step, which halves the speed without changing a result. So this looks at every
innermost loop that multiplies and adds vectors in the named functions, and fails where one moves
vectors to or from the stack.

    check_micro_kernels.py OBJECT_FILE... --functions multiply_tile dot_block ...
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator

VECTOR = re.compile(r"%[xyz]mm\d+")
STACK = re.compile(r"\(%rsp|-0x[0-9a-f]+\(%rbp\)")  # without a frame, rbp is any register
MULTIPLY = re.compile(r"^v?(fn?m(add|sub)\d*|mul|dpbf16)p[sd]\b")
JUMP = re.compile(r"^j\w+\s+([0-9a-f]+)")

Instruction = tuple[int, str]


def functions(path: str) -> Iterator[tuple[str, list[Instruction]]]:
    """(demangled name, instructions) of every function of an object file."""
    listing = subprocess.run(
        ["objdump", "-d", "-C", "--no-show-raw-insn", path],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    name, body = "", []
    for line in listing.splitlines():
        if header := re.match(r"^[0-9a-f]+ <(.+)>:$", line):
            if body:
                yield name, body
            name, body = header[1], []
        elif code := re.match(r"^\s*([0-9a-f]+):\s+(\S.*)$", line):
            body.append((int(code[1], 16), code[2]))
    if body:
        yield name, body


def innermost_loops(body: list[Instruction]) -> Iterator[list[Instruction]]:
    """The stretches between a backward jump and its target that hold no other such stretch."""
    spans = []
    for address, text in body:
        jump = JUMP.match(text)
        if jump and int(jump[1], 16) < address:
            spans.append((int(jump[1], 16), address))
    for first, last in spans:
        if not any((first, last) != s and first <= s[0] and s[1] <= last for s in spans):
            yield [i for i in body if first <= i[0] <= last]


def spills(loop: list[Instruction]) -> list[str]:
    """The instructions of a loop that move vectors to or from the stack."""
    return [text for _, text in loop if VECTOR.search(text) and STACK.search(text)]


def multiplies(loop: list[Instruction]) -> int:
    return sum(1 for _, text in loop if MULTIPLY.match(text) and VECTOR.search(text))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("objects", nargs="+")
    parser.add_argument("--functions", nargs="+", required=True)
    arguments = parser.parse_args()
    bad, seen = 0, dict.fromkeys(arguments.functions, 0)
    for path in arguments.objects:
        for name, body in functions(path):
            kernel = next((f for f in arguments.functions if re.search(rf"\b{f}\b", name)), None)
            if kernel is None:
                continue
            for loop in innermost_loops(body):
                if multiplies(loop) < 2:
                    continue
                seen[kernel] += 1
                for text in spills(loop):
                    print(f"{path}: {name}: a vector on the stack in the inner loop: {text}")
                    bad += 1
    for kernel, loops in seen.items():
        print(f"{kernel}: {loops} inner loops")
        if loops == 0:
            print(f"{kernel}: expected at least one loop that multiplies vectors")
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
