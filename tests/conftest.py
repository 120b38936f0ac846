"""Shared fixtures, and the rule that GPU tests are skipped, visibly, where there is no GPU."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test marked ``gpu`` with the reason for which there is no device."""
    if item.get_closest_marker("gpu") is None:
        return
    from tilegrad import _C, cuda

    if not cuda.is_available():
        pytest.skip(f"no CUDA device: {_C.cuda_unavailable_reason()}")
