#!/usr/bin/env python3
"""Puts a CUDA compiler from Python's package index into a folder: no toolkit, no root.

    python cuda/nvcc_from_packages.py build/nvcc
    CUDACXX=$PWD/build/nvcc/bin/nvcc TILEGRAD_CUDA=ON pip install .

The packages hold nvcc and its parts under other names than its own tools expect: libraries lie in
``lib`` instead of ``lib64``, and have version numbers only. The links made here mend that. All
packages must be of one version: parts of different ones do not work together.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

PACKAGES = [
    "nvidia-cuda-nvcc", "nvidia-nvvm", "nvidia-cuda-crt", "nvidia-cuda-runtime", "nvidia-cuda-cccl",
]  # fmt: skip


def install(folder: Path, version: str) -> Path:
    """Installs the packages below ``folder``; returns the toolkit's folder in there."""
    wanted = [f"{name}=={version}.*" for name in PACKAGES]
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target"]
    subprocess.run([*command, str(folder / "packages"), *wanted], check=True)
    found = sorted((folder / "packages/nvidia").glob("*/bin/nvcc"))
    if not found:
        raise FileNotFoundError(f"no nvcc in {folder}: are these packages of CUDA 13 or later?")
    return found[-1].parent.parent


def prepare(toolkit: Path, folder: Path) -> Path:
    """Adds the links, and returns the path of nvcc below ``folder``."""
    libraries = toolkit / "lib"
    if not (toolkit / "lib64").exists():
        (toolkit / "lib64").symlink_to("lib")
    for library in libraries.glob("lib*.so.*"):
        plain = libraries / (library.name.split(".so.")[0] + ".so")
        if not plain.exists():
            plain.symlink_to(library.name)
    for name in ("bin", "lib64", "include", "nvvm"):
        link = folder / name
        if link.is_symlink():
            link.unlink()
        if (toolkit / name).exists():
            link.symlink_to((toolkit / name).resolve())
    nvcc = (toolkit / "bin/nvcc").resolve()
    for tool in nvcc.parent.iterdir():  # pip keeps no permissions of some wheels
        tool.chmod(0o755)
    for tool in toolkit.glob("nvvm/bin/*"):
        tool.chmod(0o755)
    return folder / "bin/nvcc"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where it goes")
    parser.add_argument("--version", default="13.0", help="of CUDA, two numbers")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    toolkit = install(options.folder.resolve(), options.version)
    print(f"CUDACXX={prepare(toolkit, options.folder.resolve())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
