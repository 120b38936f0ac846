#!/usr/bin/env python3
"""Checks that nvcc from the package index builds the CUDA kernels: fetches it, lets CMake find it,
compiles the runtime and one kernel for a card and links them, statically, into a program that runs
without one. Needs a network and about 500 MB; no card.

    python tests/check_nvcc_packages.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PROJECT = """
cmake_minimum_required(VERSION 3.25)
project(check LANGUAGES CXX)
set(CMAKE_CXX_STANDARD 20)
set(TILEGRAD_CUDA ON)
set(TILEGRAD_CUDA_RELEASE_ARCHITECTURES "90a-real" CACHE STRING "")
include({root}/cuda/detect.cmake)
find_package(CUDAToolkit REQUIRED)
file(GLOB runtime {root}/cuda/*.cu)
file(GLOB base {root}/csrc/*.cpp)
add_executable(check main.cpp ${{runtime}} ${{base}} {root}/cuda/ops/fill.cu)
target_include_directories(check PRIVATE {root}/cuda {root}/csrc)
target_compile_definitions(check PRIVATE TILEGRAD_WITH_CUDA)
set_target_properties(check PROPERTIES CUDA_STANDARD 20 CUDA_ARCHITECTURES
                                       "${{TILEGRAD_CUDA_ARCHITECTURES}}")
target_compile_options(check PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>)
find_package(Threads REQUIRED)
target_link_libraries(check PRIVATE CUDA::cudart_static Threads::Threads)
"""
PROGRAM = """
#include <cstdio>
#include "runtime.h"
int main() {
  const int count = tilegrad::cuda::device_count();
  std::printf("%d devices: %s\\n", count, tilegrad::cuda::unavailable_reason().c_str());
}
"""


def main() -> int:
    """Returns the exit status."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = ROOT / "cuda/nvcc_from_packages.py"
        found = subprocess.run(
            [sys.executable, str(script), str(folder / "nvcc")],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        nvcc = found.strip().split("CUDACXX=")[1]
        (folder / "CMakeLists.txt").write_text(PROJECT.format(root=ROOT.as_posix()))
        (folder / "main.cpp").write_text(PROGRAM)
        environment = {**os.environ, "CUDACXX": nvcc}
        for command in (
            ["cmake", "-S", name, "-B", f"{name}/build"],
            ["cmake", "--build", f"{name}/build"],
        ):
            subprocess.run(command, check=True, env=environment)
        run = subprocess.run([f"{name}/build/check"], capture_output=True, text=True, check=True)
        libraries = subprocess.run(["ldd", f"{name}/build/check"], capture_output=True, text=True,
                                   check=True).stdout  # fmt: skip
    print(run.stdout.strip())
    if "cuda" in libraries.lower():
        print("the program needs a CUDA library at run time:\n" + libraries)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
