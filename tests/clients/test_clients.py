"""Whole programs in PyTorch's names give the same numbers, step for step, without being changed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

HERE = Path(__file__).parent


def imported(name: str):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that worker processes and dataclasses find it
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["programs_text", "programs_images", "programs_loops"])
def test_programs(name: str, tmp_path: Path) -> None:
    file = tmp_path / "ours.npz"
    command = [sys.executable, "-m", "tilegrad.run", HERE / "recording.py", file, name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "" and done.stderr == ""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = imported("recording").recorded(imported(name))
    finally:
        torch.set_num_threads(threads)
    with np.load(file) as ours:
        assert ours.files == list(expected)
        for key, theirs in expected.items():
            mine = ours[key]
            assert mine.dtype == theirs.dtype and mine.shape == theirs.shape, key
            if theirs.dtype.kind == "f":
                scale = np.abs(theirs).max(initial=0)
                np.testing.assert_allclose(mine, theirs, 1e-4, 1e-6 + 1e-4 * scale, err_msg=key)
            else:
                np.testing.assert_array_equal(mine, theirs, key)
