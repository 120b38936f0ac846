"""Every case of ``cases/`` against PyTorch: one thread pinned to a processor, then all processors.

Each run is a process of its own. In it a case's programs (ours, PyTorch's, for images PyTorch's
with channels-last) take turns in rounds; times are medians over rounds, the ratio is the median
over rounds of the better PyTorch time divided by ours: above 1 we are faster. Writes
``docs/kernels-amd-avx2.md`` and ``.png``, named after processor and instruction set; a case that we
cannot run yet says so.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from report import Result, markdown, plot
from timing import compare_many

SECONDS = {"full": 3.5, "quick": 0.5}  # per case
REST = 0.02  # seconds between two programs with several threads: see rounds_in_turns
DOCS = Path(__file__).parent.parent / "docs"


def measure(case: Any, machine: Any, seconds: float) -> Result:
    """One case, in this process."""
    import torch

    import tilegrad as tg

    def channels_last(x: Any) -> Any:
        return x.to(memory_format=torch.channels_last)

    result = Result(case.name, goal=case.goal, large=case.large)
    try:
        tg.manual_seed(0)
        programs = [case.make(tg, lambda x: x)]
        programs[0]()
    except (AttributeError, NotImplementedError, RuntimeError, TypeError) as error:
        result.missing = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        return result
    torch.manual_seed(0)
    programs.append(case.make(torch, lambda x: x))
    if case.images:
        programs.append(case.make(torch, channels_last))
    rest = REST if machine.clock is time.perf_counter else 0.0
    times = compare_many(programs, seconds, machine.clock, rest)
    machine.probe()
    medians = [statistics.median(t) for t in times]
    result.ours, result.torch = medians[0], medians[1]
    result.channels_last = medians[2] if case.images else None
    best = min(range(1, len(times)), key=medians.__getitem__)
    result.ratio = statistics.median(b / a for a, b in zip(times[0], times[best], strict=True))
    result.flops, result.bytes = case.flops, case.bytes
    return result


def work(arguments: argparse.Namespace) -> None:
    """The child process: measures all cases and writes the results as JSON."""
    from machine import Machine, pin_to_one

    if arguments.worker == 1:
        pin_to_one()
    import torch

    import tilegrad as tg
    from cases import all_cases

    tg.set_num_threads(arguments.worker)
    torch.set_num_threads(arguments.worker)
    # Alone on its thread, a program is timed by what it uses of the processor, whoever else runs.
    machine = Machine(time.process_time if arguments.worker == 1 else time.perf_counter)
    seconds = SECONDS["quick" if arguments.quick else "full"]
    results = []
    for case in all_cases():
        if arguments.only and arguments.only not in case.name:
            continue
        results.append(measure(case, machine, seconds))
        print(f"{arguments.worker} threads: {results[-1].line()}", file=sys.stderr, flush=True)
    for result in results:  # with the best of all probes
        result.set_shares(machine.flops, machine.bandwidth)
    data = {
        "flops": machine.flops,
        "bandwidth": machine.bandwidth,
        "isa": tg.config()["isa"],
        "torch": torch.__version__,
        "results": [vars(result) for result in results],
    }
    Path(arguments.output).write_text(json.dumps(data))


def run_worker(threads: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """The results of a child process with this many threads."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "results.json"
        command = [sys.executable, __file__, "--worker", str(threads), "--output", str(output)]
        command += ["--quick"] * arguments.quick + ["--only", arguments.only or ""]
        subprocess.run(command, check=True)
        data = json.loads(output.read_text())
    data["results"] = [Result(**values) for values in data["results"]]
    return data


def peak_memory() -> dict[str, float]:
    """Megabytes that a training step of ResNet-18 needs at its peak, in processes of their own."""
    script = Path(__file__).parent / "memory.py"
    return {
        module: float(subprocess.check_output([sys.executable, str(script), module]))
        for module in ("tilegrad", "torch")
    }


def processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short run, with noisier figures")
    parser.add_argument("--only", help="cases whose name contains this; writes no files")
    parser.add_argument("--threads", type=int, help="one run with this many threads; no files")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--output", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return work(arguments)
    counts = [arguments.threads] if arguments.threads else sorted({1, processors()})
    runs = {threads: run_worker(threads, arguments) for threads in counts}
    whole = not arguments.only and not arguments.threads
    text = markdown(runs, peak_memory() if whole else None)
    print(text)
    if whole:
        from machine import kind

        name = f"kernels-{kind()}"
        (DOCS / f"{name}.md").write_text(text)
        plot(runs, DOCS / f"{name}.png")
    return None


if __name__ == "__main__":
    main()
