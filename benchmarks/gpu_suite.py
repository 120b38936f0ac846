"""Every case of ``gpu/`` against PyTorch on the same card: one Markdown table.

Ours and PyTorch's programs take turns; each turn is timed by two events around several calls, and
times are medians over turns. The ratio is PyTorch's time divided by ours, the median over turns:
above 1 we are faster. ``--dry`` runs the same programs once with tiny sizes, also on the emulated
device and with PyTorch on the CPU: that every case runs on a card is known before there is one.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gpu
from report import duration

ROOT = Path(__file__).parent.parent
# Dense rates of the data sheets, in floating-point operations per second, and bytes per second.
DATA_SHEETS = {
    "H200": {"fp32": 67e12, "tf32": 494e12, "bf16": 989e12, "memory": 4.8e12},
    "H100": {"fp32": 67e12, "tf32": 494e12, "bf16": 989e12, "memory": 3.35e12},
    "A100": {"fp32": 19.5e12, "tf32": 156e12, "bf16": 312e12, "memory": 2.0e12},
}


class Clock:
    """Seconds of several calls of a program, by the library's events, or the host's where PyTorch
    has no device."""

    def __init__(self, setting: gpu.Setting) -> None:
        self.cuda = setting.m.cuda if setting.device != "cpu" else None

    def __call__(self, program: gpu.Program, calls: int) -> float:
        if self.cuda is None:
            begin = time.perf_counter()
            for _ in range(calls):
                program()
            return (time.perf_counter() - begin) / calls
        start, end = (self.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(calls):
            program()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000 / calls


def measure(case: gpu.Case, settings: list[gpu.Setting], turns: int, seconds: float) -> dict:
    """The times of one case; ``missing`` says why we cannot run it."""
    clocks = [Clock(setting) for setting in settings]
    result: dict[str, Any] = {"name": case.name, "goal": case.goal, "missing": ""}
    programs = []
    try:
        for setting in settings:
            setting.m.manual_seed(0)
            setting.allow_tf32(case.kind == "tf32")
            programs.append(case.make(setting))
            programs[-1]()
            setting.m.cuda.synchronize() if setting.device != "cpu" else None
    except Exception as error:  # a case that fails is a line of the table, not the end of it
        whose = settings[len(programs) - 1 if programs else 0].m.__name__
        result["missing"] = f"{whose}: {type(error).__name__}: {error}".splitlines()[0][:140]
        return result
    if turns == 0:
        return result
    once = [clock(program, 3) for clock, program in zip(clocks, programs, strict=True)]
    calls = [max(1, int(seconds / turns / 2 / max(t, 1e-6))) for t in once]
    times: list[list[float]] = [[], []]
    for _ in range(turns):
        for clock, program, count, found in zip(clocks, programs, calls, times, strict=True):
            found.append(clock(program, count))
    result["ours"], result["torch"] = (statistics.median(t) for t in times)
    result["ratio"] = statistics.median(b / a for a, b in zip(*times, strict=True))
    return result


def peaks(name: str) -> dict[str, float]:
    """The data sheet of a card; empty if it is not listed."""
    return next((rates for key, rates in DATA_SHEETS.items() if key in name), {})


def copy_rate(setting: gpu.Setting) -> float:
    """Bytes per second that PyTorch's own copy of a large tensor reaches."""
    x = setting.randn(setting.size(1 << 28, 1000))
    y = setting.m.empty_like(x)
    y.copy_(x)
    clock = Clock(setting)
    return 2 * 4 * x.numel() / min(clock(lambda: y.copy_(x), 5) for _ in range(5))


def share(case: gpu.Case, seconds: float, rates: dict[str, float], copies: float) -> str:
    if case.flops and case.kind in rates:
        return f"{100 * case.flops / seconds / rates[case.kind]:.0f} % {case.kind}"
    if case.bytes:
        return f"{100 * case.bytes / seconds / copies:.0f} % copy"
    return ""


def rows(results: list[dict], rates: dict[str, float], copies: float) -> list[str]:
    cases = {case.name: case for case in gpu.all_cases()}
    lines = [
        "| case | tilegrad | PyTorch | ratio | goal | share of peak |",
        "|---|---|---|---|---|---|",
    ]
    for r in results:
        if r["missing"] or "ours" not in r:
            lines.append(f"| {r['name']} | {r['missing'] or 'ran'} | | | {r['goal']} | |")
            continue
        ratio = f"**{r['ratio']:.2f}**" if r["ratio"] >= r["goal"] else f"{r['ratio']:.2f}"
        part = share(cases[r["name"]], r["ours"], rates, copies)
        cells = [r["name"], duration(r["ours"]), duration(r["torch"]), ratio, str(r["goal"]), part]
        lines.append("| " + " | ".join(cells) + " |")
    met = sum(r.get("ratio", 0) >= r["goal"] for r in results)
    return [*lines, "", f"{met} of {len(results)} goals are met (in bold)."]


def git_commit() -> str:
    command = ["git", "-c", f"safe.directory={ROOT}", "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def page(results: list[dict], card: str, driver: str, torch: str, copies: float) -> str:
    """The whole page."""
    rates = peaks(card)
    today = datetime.date.today().isoformat()
    lines = [
        "# Kernels on a card beside PyTorch's",
        "",
        "Written by `make gpu-check`. Ours and PyTorch's programs are the same code and take",
        "turns; times are medians by CUDA's events. The ratio is PyTorch's time divided by ours:",
        "above 1 we are faster. Shares are of the card's data sheet, or of the rate at which",
        f"PyTorch copies a gigabyte in the same run ({copies / 1e12:.2f} TB/s).",
        "",
        f"{card}, driver {driver}, PyTorch {torch}, commit {git_commit()}, {today}.",
        "",
        *rows(results, rates, copies),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """The exit status: 1 if a case of ours did not run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry", action="store_true", help="tiny sizes, one call each, no times")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--seconds", type=float, default=1.0, help="per case")
    parser.add_argument("--output", type=Path, help="where the page goes")
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()
    import torch

    import tilegrad as tg

    torch_device = "cuda" if torch.cuda.is_available() else "cpu"
    settings = [
        gpu.Setting(tg, "cuda", options.dry),
        gpu.Setting(torch, torch_device, options.dry),
    ]
    results = []
    for case in gpu.all_cases():
        if options.only in case.name:
            results.append(measure(case, settings, 0 if options.dry else 9, options.seconds))
            print(json.dumps(results[-1]), file=sys.stderr, flush=True)
    copies = copy_rate(settings[1])
    text = page(results, tg.cuda.get_device_name(), _driver(), torch.__version__, copies)
    print(text)
    if options.output:
        options.output.write_text(text)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    return int(any(r["missing"].startswith("tilegrad") for r in results))


def _driver() -> str:
    version = Path("/proc/driver/nvidia/version")
    if version.exists():
        words = version.read_text().split()
        return next((w for w in words if w[0].isdigit() and "." in w), "unknown")
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        return found.stdout.split("\n")[0].strip() or "unknown"
    except OSError:
        return "none"


if __name__ == "__main__":
    sys.exit(main())
