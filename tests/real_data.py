"""Real data sets for tests, where some are at hand: no test downloads any."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "data"


def real_data() -> Path | None:
    """``$TILEGRAD_DATA``, or a folder of data beside the checkout."""
    named = os.environ.get("TILEGRAD_DATA")
    folder = Path(named).expanduser() if named else BESIDE_THE_CHECKOUT
    return folder if folder.is_dir() else None


def need_mnist() -> Path:
    """The folder, if MNIST's 10,000 test images are in it; skips otherwise."""
    from tilegrad.datasets import images

    return _need("MNIST's test images", [images._MNIST[f"t10k-{x}-ubyte"] for x in IDX])


def need_shakespeare() -> Path:
    """The folder, if tiny Shakespeare is in it; skips otherwise."""
    from tilegrad.datasets import text

    return _need("tiny Shakespeare", [text._SHAKESPEARE])


IDX = ("images-idx3", "labels-idx1")


def _need(title: str, wanted: list) -> Path:
    from tilegrad.datasets import files

    folder = real_data()
    with pytest.MonkeyPatch.context() as patch:
        if folder is not None:
            patch.setenv("TILEGRAD_DATA", str(folder))
            if all(files.find(file) for file in wanted):
                return folder
    pytest.skip(f"needs {title} in TILEGRAD_DATA or {BESIDE_THE_CHECKOUT}")
