"""Every program of the gallery, run small: it ends, draws its figure and reaches what it should."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from real_data import need_mnist

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
Main = Callable[[list[str]], dict[str, float]]


def load(name: str) -> Any:
    """The program as a module of its own."""
    specification = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, float]]:
    """Runs ``examples/<name>.py`` with arguments; its figure must be there in the end."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")

    def call(name: str, *arguments: object, figure: str | None = None) -> dict[str, float]:
        results = load(name).main(["--out", str(tmp_path), *map(str, arguments)])
        assert (tmp_path / f"{figure or name}.png").stat().st_size > 5000
        return results

    return call


def with_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEGRAD_DATA", str(need_mnist()))


NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "digits"])
def test_a_program_fits_two_screens_and_explains_itself(name, capsys):
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 150
    with pytest.raises(SystemExit) as ended:
        load(name).main(["--help"])
    assert ended.value.code == 0
    assert "--out" in capsys.readouterr().out


def test_from_scratch(run, monkeypatch):
    with_mnist(monkeypatch)
    assert run("from_scratch", "--epochs", 1)["accuracy"] > 0.94


def test_tensors(run):
    assert run("tensors")["cells"] > 25


def test_geometry(run):
    assert run("geometry", "--steps", 240)["accuracy"] > 0.8


def test_gradients(run):
    results = run("gradients")
    assert results["difference"] < 1e-6
    assert results["learning rate 1"] < 0.3 < min(results[f"learning rate {r}"] for r in (0.05, 4))
    assert results["SGD 0.1, momentum 0.9"] < results["SGD 0.1"]
    assert max(results["RMSProp 0.2"], results["Adam 0.3"]) < results["SGD 0.1"]
