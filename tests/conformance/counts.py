"""Runs every check, prints what fails, and writes the lists and ``docs/conformance.md``.

``python tests/conformance/counts.py [pattern]`` prints the failures of the entries that match;
``--write`` puts new failures on the list of what is not done, takes off what passes, and writes the
table of counts. Nothing is put on the list of what is out of scope: that is for a person to decide.
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from pathlib import Path

import listing
import modules
import operators
import optimizers
import torch

CHECKS = {
    "operator": (operators.ENTRIES, operators.check_operator),
    "complex": (operators.WITH_COMPLEX, operators.check_complex),
    "error": (operators.WITH_ERRORS, operators.check_errors),
    "form": (operators.WITH_FORMS, operators.check_forms),
    "module": (modules.ENTRIES, modules.check_module),
    "optimizer": (optimizers.ENTRIES, optimizers.check_optimizer),
}
TITLES = {
    "operator": "operators: values and gradients of every float32 sample (`op_db`)",
    "complex": "operators: values and gradients of the first eight complex64 samples (`op_db`)",
    "error": "operators: exceptions for the error inputs (`op_db`)",
    "form": "operators: methods, in-place methods, aliases (`op_db`)",
    "module": "modules: forward and backward (`module_db`)",
    "optimizer": "optimizers: steps, states, schedulers (`optim_db`)",
}
PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"


def table() -> str:
    """The page of counts, from the lists alone: the tests hold every entry to them."""
    lists = {name: listing.read(name) for name in listing.LISTS}
    lines = [
        "# Conformance",
        "",
        f"PyTorch {torch.__version__.partition('+')[0]} brings databases of its operators, modules "
        "and optimizers with",
        "sample inputs. `tests/conformance/` runs them against tilegrad and compares every value,",
        "gradient and exception type with PyTorch's. What is out of scope and what is not done",
        "stands, with the reason, in `tests/conformance/out_of_scope.txt` and `not_done.txt`;",
        "an entry that is listed and passes fails the tests, so the lists only get shorter.",
        "`python tests/conformance/counts.py --write` writes this page.",
        "",
        "| what | entries | out of scope | not done | pass |",
        "|---|---|---|---|---|",
    ]
    for kind, (entries, _) in CHECKS.items():
        out, todo = (sum(key[0] == kind for key in lists[name]) for name in listing.LISTS)
        total = len(entries)
        lines.append(f"| {TITLES[kind]} | {total} | {out} | {todo} | {total - out - todo} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs what the command line asks for."""
    writes = "--write" in sys.argv
    patterns = [re.compile(x) for x in sys.argv[1:] if x[0] != "-"]
    torch.set_num_threads(1)
    out, todo = (dict(listing.read(name)) for name in listing.LISTS)
    start, counts, slow = time.time(), Counter(), []
    for kind, (entries, check) in CHECKS.items():
        for entry in entries:
            if patterns and not any(p.search(f"{kind} {entry}") for p in patterns):
                continue
            key, began = (kind, entry), time.time()
            try:
                check(entry)
            except Exception as error:
                counts[kind, "fails"] += 1
                text = listing.reason(error)
                todo.pop(key, None)
                if key not in out:
                    print(f"{kind} {entry}  # {text}")
                    todo[key] = text
            else:
                counts[kind, "passes"] += 1
                if key in out:
                    print(f"{kind} {entry} is out of scope, and passes")
                    out.pop(key)
                todo.pop(key, None)
            slow.append((time.time() - began, f"{kind} {entry}"))
    print(dict(counts), f"{time.time() - start:.0f} s; slowest:", sorted(slow)[-5:])
    if writes:
        listing.write("out_of_scope", out)
        listing.write("not_done", todo)
        PAGE.write_text(table())


if __name__ == "__main__":
    main()
