"""The two committed lists: ``out_of_scope.txt`` and ``not_done.txt``.

One line is ``<kind> <entry>  # <reason>``; the kinds are

    operator   value and gradient of every float32 sample of an entry of PyTorch's ``op_db``
    complex    the same of the first complex64 samples, where PyTorch takes complex numbers
    error      its error inputs: the same type of exception
    form       its other forms: method, in-place method, aliases
    module     forward and backward of every sample of an entry of ``module_db``
    optimizer  steps and states for every sample of an entry of ``optim_db``

An entry that is listed and passes fails its test, so the lists only get shorter.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
KINDS = ("operator", "complex", "error", "form", "module", "optimizer")
LISTS = ("out_of_scope", "not_done")

Entry = tuple[str, str]


@functools.cache
def read(name: str) -> dict[Entry, str]:
    """The lines of one list: (kind, entry) to reason. Raises ValueError for a malformed line."""
    found: dict[Entry, str] = {}
    for number, line in enumerate((HERE / f"{name}.txt").read_text().splitlines(), 1):
        match = re.fullmatch(r"(\w+) (\S+)  # (\S.*)", line)
        if match is None or match[1] not in KINDS or (match[1], match[2]) in found:
            raise ValueError(f"{name}.txt:{number}: malformed or repeated: {line}")
        found[match[1], match[2]] = match[3]
    return found


def write(name: str, entries: dict[Entry, str]) -> None:
    """The list, sorted."""
    lines = [f"{kind} {entry}  # {entries[kind, entry]}\n" for kind, entry in sorted(entries)]
    (HERE / f"{name}.txt").write_text("".join(lines))
    read.cache_clear()


def listed(kind: str, entry: str) -> str | None:
    """The reason for which an entry is expected to fail, if any."""
    for name in LISTS:
        if (kind, entry) in read(name):
            return f"{name}: {read(name)[kind, entry]}"
    return None


def reason(error: BaseException) -> str:
    """The first line of a failure, short."""
    text = str(error).strip().splitlines()
    first = text[0] if text else type(error).__name__
    if not isinstance(error, AssertionError) and not first.startswith("tilegrad has no"):
        first = f"{type(error).__name__}: {first}"
    return re.sub(r"\s+", " ", first)[:110]


def hold_to_list(kind: str, entry: str, run: Callable[[], None]) -> None:
    """Runs a check: it must pass, or be listed and fail."""
    expected = listed(kind, entry)
    try:
        run()
    except Exception:
        if expected is None:
            raise
        return
    assert expected is None, f"{kind} {entry} passes: take it off the list ({expected})"
