"""Results of the suite as a Markdown table and as a plot."""

from __future__ import annotations

import datetime
import math
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Result:
    """One case with one number of threads; times in seconds, None where there is none."""

    name: str
    goal: float = 1.0
    large: bool = False
    missing: str = ""  # why we cannot run it
    ours: float | None = None
    torch: float | None = None
    channels_last: float | None = None
    ratio: float | None = None
    flops: float = 0.0
    bytes: float = 0.0
    share: float | None = None  # of the peak that limits it
    share_of: str = ""

    def set_shares(self, flops: float, bandwidth: float) -> None:
        """The share of the machine's rates, from what the case needs at least."""
        if self.ours is None:
            return
        if self.flops:
            self.share, self.share_of = self.flops / self.ours / flops, "FMA"
        elif self.bytes:
            self.share, self.share_of = self.bytes / self.ours / bandwidth, "memory"

    def line(self) -> str:
        """For the log."""
        if self.ours is None or self.ratio is None:
            return f"{self.name}: missing ({self.missing})"
        return f"{self.name}: {duration(self.ours)}, ratio {self.ratio:.2f} (goal {self.goal})"


def duration(seconds: float | None) -> str:
    """Three digits in microseconds or milliseconds."""
    if seconds is None:
        return ""
    value, unit = (seconds * 1e6, "us") if seconds < 1e-3 else (seconds * 1e3, "ms")
    digits = max(0, 2 - math.floor(math.log10(max(value, 1e-9))))
    return f"{value:.{digits}f} {unit}"


def markdown(runs: dict[int, dict[str, Any]], memory: dict[str, float] | None) -> str:
    """The whole page: what was measured where, one table per number of threads, memory."""
    from machine import processor

    first = next(iter(runs.values()))
    today = datetime.date.today().isoformat()
    lines = [
        "# Kernels beside PyTorch's",
        "",
        "Written by `make bench`. Ours and PyTorch's programs are the same code and take turns in",
        "one process; times are medians over rounds, of processor time with one thread. The ratio",
        "is the better PyTorch time (default layout or channels-last) divided by ours: above 1 we",
        "are faster. Shares are of the multiply-adds or of the memory bandwidth that probes in the",
        "same run reach: Winograd's convolutions may exceed 100 %, and so may data in the caches.",
        "",
        f"{processor()} ({platform.system()}), {first['isa']}, PyTorch {first['torch']}, "
        f"Python {platform.python_version()}, {today}.",
        "",
    ]
    single = {r.name: r for r in runs[1]["results"]} if 1 in runs else {}
    for threads, run in runs.items():
        lines += _table(threads, run, single if threads > 1 else {})
    if memory is not None:
        ours, theirs = memory["tilegrad"], memory["torch"]
        lines += [
            "## Peak memory of a ResNet-18 step, batch 16",
            "",
            "Resident memory at its peak beyond that after the import, each in its own process:",
            f"tilegrad {ours:.0f} MB, PyTorch {theirs:.0f} MB.",
            "",
        ]
    return "\n".join(lines)


def _table(threads: int, run: dict[str, Any], single: dict[str, Result]) -> list[str]:
    title = "One thread, pinned" if threads == 1 else f"{threads} threads"
    lines = [
        f"## {title}",
        "",
        f"Peaks: {run['flops'] / 1e9:.0f} GFLOP/s, {run['bandwidth'] / 1e9:.0f} GB/s.",
        "",
        "| case | tilegrad | PyTorch | channels-last | ratio | goal | share of peak |"
        + (" one thread / these |" if single else ""),
        "|---|---|---|---|---|---|---|" + ("---|" if single else ""),
    ]
    for r in run["results"]:
        if r.ours is None:
            lines.append(f"| {r.name} | missing: {r.missing} | | | | {r.goal} | |")
            continue
        share = "" if r.share is None else f"{100 * r.share:.0f} % {r.share_of}"
        ratio = f"**{r.ratio:.2f}**" if r.ratio >= r.goal else f"{r.ratio:.2f}"
        cells = [r.name, duration(r.ours), duration(r.torch), duration(r.channels_last)]
        cells += [ratio, str(r.goal), share]
        if single:
            alone = single.get(r.name)
            known = alone is not None and alone.ours is not None and r.large
            cells.append(f"{alone.ours / r.ours:.2f}" if known else "")
        lines.append("| " + " | ".join(cells) + " |")
    met = sum(r.ratio is not None and r.ratio >= r.goal for r in run["results"])
    return [*lines, "", f"{met} of {len(run['results'])} goals are met (in bold).", ""]


def plot(runs: dict[int, dict[str, Any]], path: Path) -> None:
    """Bars of the ratios, with the goals as marks, on a logarithmic axis."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    threads = list(runs)
    names = [r.name for r in runs[threads[0]]["results"] if r.ratio]
    figure, axes = plt.subplots(figsize=(9, 0.28 * len(names) + 1.5))
    height = 0.8 / len(threads)
    for k, count in enumerate(threads):
        found = {r.name: r for r in runs[count]["results"]}
        places = [-i - k * height for i in range(len(names))]
        ratios = [found[name].ratio or math.nan for name in names]
        label = "one thread" if count == 1 else f"{count} threads"
        axes.barh(places, [r - 1 for r in ratios], height, left=1, label=label)
        if k == 0:
            goals = [found[name].goal for name in names]
            axes.plot(goals, places, "|", color="black", label="goal")
    axes.set_ylim(-len(names) + 0.3, 0.7)
    axes.axvline(1, color="gray", linewidth=0.8)
    axes.set_xscale("log")
    ticks = [0.25, 0.5, 1, 2, 4, 8, 16]
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.set_yticks([-i - height * (len(threads) - 1) / 2 for i in range(len(names))], names)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlabel("PyTorch's time / ours: right of 1 tilegrad is faster")
    axes.legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
