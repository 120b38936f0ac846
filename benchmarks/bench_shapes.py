"""Other shapes than the suite's beside PyTorch, one thread pinned, a short time for each.

Measures like ``suite.py``; writes ``docs/shapes-amd-avx2.md``, or the like for another processor,
with the losses named first.
"""

from __future__ import annotations

import argparse
import datetime
import math
import platform
import sys
from pathlib import Path

from report import Result, duration

SECONDS = 0.3  # per case
DOCS = Path(__file__).parent.parent / "docs"


def markdown(found: dict[str, list[Result]], kind: str, conditions: str) -> str:
    """The page: how often we are ahead, the losses, then a table per group."""
    results = [r for group in found.values() for r in group if r.ratio is not None]
    losses = sorted((r for r in results if r.ratio < 1), key=lambda r: r.ratio)
    mean = math.exp(sum(math.log(r.ratio) for r in results) / max(1, len(results)))
    lines = [
        "# Other shapes beside PyTorch",
        "",
        f"Written by `make bench`, like [kernels-{kind}.md](kernels-{kind}.md), with shorter runs:",
        "small, odd, uneven and deep shapes of the same kinds. The ratio is the better PyTorch",
        "time (default layout or channels-last) divided by ours: below 1 we are slower, and what",
        "stops us there is in [limits.md](limits.md).",
        "",
        conditions,
        "",
        f"{len(results) - len(losses)} of {len(results)} cases are at least as fast as PyTorch's;"
        f" the geometric mean of the ratios is {mean:.2f}.",
        "",
    ]
    if losses:
        lines += ["Slower: " + "; ".join(f"{r.name} ({r.ratio:.2f})" for r in losses) + ".", ""]
    for group, cases in found.items():
        lines += [f"## {group}", "", "| case | tilegrad | PyTorch | channels-last | ratio |"]
        lines.append("|---|---|---|---|---|")
        lines += [_row(r) for r in cases]
        lines.append("")
    return "\n".join(lines)


def _row(r: Result) -> str:
    if r.ours is None or r.ratio is None:
        return f"| {r.name} | missing: {r.missing} | | | |"
    times = " | ".join(duration(t) for t in (r.ours, r.torch, r.channels_last))
    ratio = f"**{r.ratio:.2f}**" if r.ratio >= 1 else f"{r.ratio:.2f}"
    return f"| {r.name} | {times} | {ratio} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="cases whose name contains this; writes no file")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each case")
    arguments = parser.parse_args()
    from machine import Machine, kind, pin_to_one, processor

    pin_to_one()
    import time

    import torch

    import tilegrad as tg
    from shapes import all_shapes
    from suite import measure

    tg.set_num_threads(1)
    torch.set_num_threads(1)
    machine = Machine(time.process_time)
    found: dict[str, list[Result]] = {}
    for group, cases in all_shapes().items():
        chosen = [case for case in cases if not arguments.only or arguments.only in case.name]
        for case in chosen:
            found.setdefault(group, []).append(measure(case, machine, arguments.seconds))
            print(found[group][-1].line(), file=sys.stderr, flush=True)
    today = datetime.date.today().isoformat()
    conditions = (
        f"{processor()} ({platform.system()}), {tg.config()['isa']}, PyTorch {torch.__version__}, "
        f"Python {platform.python_version()}, one thread, {today}."
    )
    text = markdown(found, kind(), conditions)
    print(text)
    if not arguments.only:
        (DOCS / f"shapes-{kind()}.md").write_text(text)


if __name__ == "__main__":
    main()
