"""How tests run the programs of ``examples/``."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from real_data import need_mnist

__all__ = ["EXAMPLES", "load", "run", "with_mnist"]

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def load(name: str) -> Any:
    """The program as a module of its own."""
    specification = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., dict[str, float]]:
    """Runs ``examples/<name>.py`` with arguments; its figure must be there in the end."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")

    def call(name: str, *arguments: object) -> dict[str, float]:
        results = load(name).main(["--out", str(tmp_path), *map(str, arguments)])
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
        return results

    return call


@pytest.fixture
def with_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the program find MNIST; skips where it is not at hand."""
    monkeypatch.setenv("TILEGRAD_DATA", str(need_mnist()))
