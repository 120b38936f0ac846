"""TILEGRAD_CUDA=AUTO|ON|OFF|EMULATED at configure time: the outcome, its reason, and the errors."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CMAKE = shutil.which("cmake", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
CMAKES = sorted({path for path in (CMAKE, shutil.which("cmake"), "/usr/bin/cmake")
                 if path and Path(path).exists()})  # fmt: skip
NVCC = shutil.which("nvcc")
DRIVER = Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()

pytestmark = pytest.mark.skipif(CMAKE is None, reason="needs cmake")

# The part of CMakeLists.txt that decides, and what it hands on.
PROJECT = f"""
cmake_minimum_required(VERSION 3.25)
project(probe LANGUAGES CXX)
set(TILEGRAD_CUDA AUTO CACHE STRING "")
include("{ROOT.as_posix()}/cuda/detect.cmake")
message(STATUS "have=${{TILEGRAD_HAVE_CUDA}} state=${{TILEGRAD_CUDA_STATE}}")
message(STATUS "architectures=${{TILEGRAD_CUDA_ARCHITECTURES}}")
"""


def configure(folder: Path, state: str | None, **environment: str) -> tuple[int, str]:
    """The exit status and the output, its line breaks turned into spaces."""
    (folder / "CMakeLists.txt").write_text(PROJECT)
    command = [CMAKE, "-S", str(folder), "-B", str(folder / "build")]
    if state is not None:
        command.append(f"-DTILEGRAD_CUDA={state}")
    result = subprocess.run(
        command,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return result.returncode, re.sub(r"\s+", " ", result.stdout + result.stderr)


def test_off_skips_cuda_and_says_so(tmp_path):
    status, output = configure(tmp_path, "OFF")
    assert status == 0
    assert "tilegrad: CUDA off (TILEGRAD_CUDA=OFF)" in output
    assert "have=OFF state=off" in output and "architectures= " in output + " "


def test_emulated_needs_neither_nvcc_nor_driver_and_is_not_taken_for_a_card(tmp_path):
    status, output = configure(tmp_path, "EMULATED", CUDACXX="/bin/false")
    assert status == 0
    assert "tilegrad: CUDA emulated (TILEGRAD_CUDA=EMULATED: kernels run on the host" in output
    assert "have=OFF state=emulated" in output and "architectures= " in output + " "


@pytest.mark.skipif(DRIVER, reason="this machine has an NVIDIA driver")
@pytest.mark.parametrize("state", ["AUTO", None])
def test_auto_without_a_driver_skips_cuda_whatever_nvcc_there_is(tmp_path, state):
    status, output = configure(tmp_path, state)
    assert status == 0
    assert "CUDA off (TILEGRAD_CUDA=AUTO and no NVIDIA driver on the building machine)" in output
    assert "have=OFF state=off" in output


@pytest.mark.skipif(not DRIVER, reason="this machine has no NVIDIA driver")
def test_auto_with_a_driver_builds_for_the_card_at_hand_if_nvcc_works(tmp_path):
    status, output = configure(tmp_path, "AUTO")
    assert status == 0
    if NVCC is None:
        assert "CUDA off (TILEGRAD_CUDA=AUTO and no working nvcc" in output
    else:
        assert "CUDA on (TILEGRAD_CUDA=AUTO, nvcc" in output
        assert re.search(r"architectures=(native|[\d;real-]*90a-real[\d;real-]*) ", output + " ")


@pytest.mark.skipif(not DRIVER, reason="this machine has no NVIDIA driver")
def test_auto_with_a_driver_but_a_broken_nvcc_skips_cuda(tmp_path):
    status, output = configure(tmp_path, "AUTO", CUDACXX="/bin/false")
    assert status == 0
    assert "CUDA off (TILEGRAD_CUDA=AUTO and no working nvcc" in output


@pytest.mark.skipif(NVCC is None, reason="needs nvcc")
def test_on_builds_the_release_architectures(tmp_path):
    status, output = configure(tmp_path, "ON")
    assert status == 0, output
    assert re.search(r"CUDA on \(TILEGRAD_CUDA=ON, nvcc [\d.]+\)", output)
    assert "have=ON state=on" in output
    assert re.search(r"architectures=\d+a?-real;[\d;real-]*\d+ ", output + " ")
    assert "90a-real" in output  # Hopper's own instructions are in no other code


KERNELS = f"""
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
add_subdirectory("{ROOT.as_posix()}/cuda" cuda)
"""


# The oldest version that pyproject.toml allows knows nvcc of today less well than a new one does.
@pytest.mark.skipif(NVCC is None, reason="needs nvcc")
@pytest.mark.parametrize("cmake", CMAKES)
def test_each_cmake_at_hand_asks_nvcc_for_the_standard(tmp_path, cmake):
    version = subprocess.run([cmake, "--version"], capture_output=True, text=True, check=True)
    if tuple(map(int, re.findall(r"\d+", version.stdout)[:2])) < (3, 25):
        pytest.skip("older than what a build needs")
    (tmp_path / "CMakeLists.txt").write_text(PROJECT + KERNELS)
    build = tmp_path / "build"
    command = [cmake, "-S", str(tmp_path), "-B", str(build), "-DTILEGRAD_CUDA=ON"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    commands = json.loads((build / "compile_commands.json").read_text())
    kernels = [c["command"] for c in commands if c["file"].endswith(".cu")]
    assert len(kernels) > 30
    for compiled in kernels:
        assert re.findall(r"-std=\S+", compiled) == ["-std=c++20"]
        assert "sm_90a" in compiled


@pytest.mark.parametrize("compiler", ["/bin/false", "/nonexistent/nvcc"])
def test_on_without_a_working_nvcc_is_an_error(tmp_path, compiler):
    status, output = configure(tmp_path, "ON", CUDACXX=compiler)
    assert status != 0
    assert "TILEGRAD_CUDA=ON but no working nvcc was found (set CUDACXX to its path)" in output


@pytest.mark.parametrize("state", ["MAYBE", "on", "1", ""])
def test_other_values_are_an_error(tmp_path, state):
    status, output = configure(tmp_path, state)
    assert status != 0
    assert f"TILEGRAD_CUDA={state}: expected AUTO, ON, OFF or EMULATED" in output
