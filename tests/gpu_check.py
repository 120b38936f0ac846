#!/usr/bin/env python3
"""Everything that a card can tell, in one command of under ten minutes: ``make gpu-check``.

Builds from the source tree for the card at hand, runs the C++ tests labelled ``gpu``, the Python
tests with ``--device cuda``, compute-sanitizer over a short set, and the benchmarks beside PyTorch;
writes the table to ``docs/gpu.md``. Needs nvcc, CMake, Ninja, pybind11, pytest and PyTorch, and no
network: what a machine lacks is brought in ``build/gpu-tools`` (``make gpu-tools``). Each part has
a share of the time, and one that fails does not keep the next from running.

``--dry`` does the same on the emulated device of a build with TILEGRAD_CUDA=EMULATED, with tiny
sizes and the short set, so that no mistake in it is found on a card first.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "build/gpu-tools"
# What compute-sanitizer runs: a few of each kind of kernel, since it slows them down tenfold.
SHORT = "*Where*:*Softmax*:*Matmul*:*LayerNorm*:*CrossEntropy*:*Reduce*"
# Whatever moves to the card: the folders of tests/conftest.py, and the tests marked gpu.
CARD_TESTS = [f"tests/{name}" for name in ("cuda", "ops", "optim", "autograd", "test_cuda.py")]
DRY_TESTS = "tests/ops/test_where.py"


class Check:
    """The parts, their logs and their outcomes."""

    def __init__(self, dry: bool, minutes: float, logs: Path) -> None:
        self.dry, self.logs = dry, logs
        self.end = time.monotonic() + 60 * minutes
        self.failed: list[str] = []
        self.left_out: list[str] = []
        logs.mkdir(parents=True, exist_ok=True)
        self.build = ROOT / ("build/emulated" if dry else "build/gpu")
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(self.build / "python"), str(TOOLS)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
        }

    def run(self, name: str, command: list[str], seconds: float, **environment: str) -> bool:
        """One part, with at most so many seconds; its output goes to a log, its end to stdout."""
        left = min(seconds, self.end - time.monotonic())
        begin, log = time.monotonic(), self.logs / f"{name}.log"
        outcome = "not run: no time left"
        if left > 0:
            with log.open("w") as output:
                try:
                    status = subprocess.run(
                        command, cwd=ROOT, env={**self.environment, **environment},
                        stdout=output, stderr=subprocess.STDOUT, timeout=left, check=False,
                    ).returncode  # fmt: skip
                    outcome = "ok" if status == 0 else f"exit status {status}"
                except subprocess.TimeoutExpired:
                    outcome = f"stopped after {left:.0f} s"
                except OSError as error:
                    outcome = str(error)
        print(f"{name:22} {time.monotonic() - begin:6.1f} s  {outcome}", flush=True)
        if outcome != "ok":
            self.failed.append(name)
            if log.exists():
                print("".join(f"    {line}\n" for line in log.read_text().splitlines()[-25:]))
        return outcome == "ok"

    # --- the parts ---

    def configure(self) -> bool:
        command = [
            "cmake", "-S", ".", "-B", str(self.build), "-DCMAKE_BUILD_TYPE=Release",
            f"-DTILEGRAD_CUDA={'EMULATED' if self.dry else 'AUTO'}", "-DTILEGRAD_BUILD_TESTS=ON",
            f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11()}",
        ]  # fmt: skip
        if shutil.which("ninja"):
            command += ["-G", "Ninja"]
        if not self.dry:
            command.append(f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={self.build}/python/tilegrad")
        if (TOOLS / "googletest").is_dir():
            command.append(f"-DFETCHCONTENT_SOURCE_DIR_GOOGLETEST={TOOLS / 'googletest'}")
        return self.run("configure", command, 90)

    def compile(self) -> bool:
        if not self.dry:
            link_package(self.build / "python/tilegrad")
        command = ["cmake", "--build", str(self.build), "--parallel", str(os.cpu_count() or 1)]
        return self.run("build", command, 300 if not self.dry else 3000)

    def python_tests(self) -> None:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--device",
            "cuda",
            "-p",
            "no:cacheprovider",
        ]
        command += [DRY_TESTS] if self.dry else CARD_TESTS
        if not self.dry and has_module("xdist"):
            command += ["-n", "4"]  # processes share the card
        self.run("pytest", command, 180)

    def other_tests(self) -> None:
        """The rest of the suite, which stays on the CPU, if there is time for it."""
        left = self.end - time.monotonic()
        if self.dry or left < 90:
            self.left_out.append("pytest-rest")
            return
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
        command += [f"--ignore={path}" for path in CARD_TESTS]
        if has_module("xdist"):
            command += ["-n", "auto"]
        self.run("pytest-rest", command, left)

    def cpp_tests(self) -> None:
        label = "cuda-emulated" if self.dry else "gpu"
        command = ["ctest", "--test-dir", str(self.build), "-L", label, "--output-on-failure"]
        command += ["-R", "cuda.(where|runtime)"] if self.dry else ["-j", "4"]
        self.run("ctest", command, 120)

    def sanitizer(self) -> None:
        program = [str(self.build / "tests/cpu_tests"), f"--gtest_filter={SHORT}"]
        tool = shutil.which("compute-sanitizer")
        for check in ("memcheck", "racecheck"):
            command = [tool, "--tool", check, "--error-exitcode", "9"] if tool else []
            if not tool and not self.dry:
                print(f"{check:22} not run: there is no compute-sanitizer here")
                self.left_out.append(check)
                continue
            self.run(check, [*command, *program], 60, TILEGRAD_TEST_DEVICE="cuda",
                     TILEGRAD_NO_CUDA_MEMORY_CACHING="1")  # fmt: skip

    def benchmarks(self) -> None:
        output = self.logs / "gpu.md" if self.dry else ROOT / "docs/gpu.md"
        command = [sys.executable, "benchmarks/gpu_suite.py", "--output", str(output)]
        command += ["--json", str(self.logs / "gpu.json")]
        left = self.end - time.monotonic()
        command += ["--dry"] if self.dry else ["--seconds", f"{min(1.5, max(0.3, left / 90)):.2f}"]
        self.run("benchmarks", command, max(left, 60))
        if output.exists():
            print(output.read_text())


def has_module(name: str) -> bool:
    command = [sys.executable, "-c", f"import {name}"]
    environment = {**os.environ, "PYTHONPATH": str(TOOLS)}
    return (
        subprocess.run(command, capture_output=True, check=False, env=environment).returncode == 0
    )


def card_problem() -> str:
    """Why the driver offers no card; empty if it does."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "an NVIDIA driver (there is no libcuda.so.1)"
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return "an NVIDIA card that the driver can use (cuInit fails)"
    return "" if count.value else "an NVIDIA card (the driver finds none)"


def find_nvcc() -> str | None:
    given = os.environ.get("CUDACXX")
    return given if given and Path(given).exists() else shutil.which("nvcc")


def lacking(dry: bool) -> list[str]:
    """What the check needs and this machine does not have."""
    card = [] if dry else [card_problem(), "" if find_nvcc() else "nvcc (in PATH or CUDACXX)"]
    tools = {
        "CMake": shutil.which("cmake"),
        "pybind11": pybind11(),
        "pytest": has_module("pytest"),
        "NumPy": has_module("numpy"),
        "PyTorch": has_module("torch"),
    }
    return [*filter(None, card), *(name for name, found in tools.items() if not found)]


def pybind11() -> str:
    """The folder of pybind11's CMake files, of this Python or of build/gpu-tools."""
    folder = TOOLS / "pybind11/share/cmake/pybind11"
    if folder.is_dir():
        return str(folder)
    command = [sys.executable, "-m", "pybind11", "--cmakedir"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def link_package(folder: Path) -> None:
    """The Python files beside the _C that is built there."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (ROOT / "python/tilegrad").iterdir():
        target = folder / path.name
        if path.suffix != ".so" and path.name != "__pycache__" and not target.exists():
            target.symlink_to(path)


def main() -> int:
    """Returns the exit status: 0 if every part went well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dry", action="store_true", help="on the emulated device, tiny")
    parser.add_argument("--minutes", type=float, help="for all of it; 9.5, or 60 with --dry")
    parser.add_argument(
        "--parts", nargs="*", help="some of: ctest pytest sanitizer benchmarks rest"
    )
    options = parser.parse_args()
    if missing := lacking(options.dry):
        print("This machine lacks " + ", ".join(missing) + ".")
        print("Tools can be brought in build/gpu-tools (`make gpu-tools`, with a network); `make")
        print("gpu-check DRY=1` needs no card and no nvcc: it runs on an emulated device.")
        return 2
    minutes = options.minutes or (60 if options.dry else 9.5)  # nobody waits for a card there
    check = Check(options.dry, minutes, ROOT / "build/gpu-check")
    if not (check.configure() and check.compile()):
        return 1
    parts = {
        "ctest": check.cpp_tests,
        "pytest": check.python_tests,
        "sanitizer": check.sanitizer,
        "benchmarks": check.benchmarks,
        "rest": check.other_tests,
    }
    for name in options.parts or parts:
        parts[name]()
    left_out = f" ({', '.join(check.left_out)} left out)" if check.left_out else ""
    failed = "failed: " + ", ".join(check.failed) if check.failed else "all parts went well"
    print(failed + left_out)
    return int(bool(check.failed))


if __name__ == "__main__":
    sys.exit(main())
