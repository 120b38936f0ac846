"""Every program of the gallery, run small: it ends, draws its figure and reaches what it should."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from real_data import need_mnist, need_shakespeare

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


def test_history(run):
    results = run("history", "--epochs", 12)
    assert results["naive Bayes"] > 0.85
    assert results["decision tree *"] > 0.8
    assert results["logistic regression"] > 0.9
    assert min(results["kernel SVM"], results["convnet"], results["random forest *"]) > 0.95


def test_regression(run):
    results = run("regression", "--epochs", 15, "--folds", 3)
    assert max(results["linear"], results["network"]) < 0.9 * results["mean"]
    assert results["explained"] > 0.3


def test_classification(run):
    results = run("classification", "--epochs", 10)
    assert results["tumours: 2 kinds"] > 0.93
    assert results["wines: 3 kinds"] > 0.85
    assert results["text: 2 kinds"] > 0.9
    assert results["text: 6 kinds"] > 0.7


def test_density(run):
    results = run("density", "--epochs", 4)
    assert results["flow"] < results["Gaussian"] - 0.1
    assert results["inverse error"] < 1e-3


def test_pixels(run):
    results = run("pixels", "--epochs", 8)
    assert results["autoregressive"] < results["independent"] - 2


def test_pixels_depend_on_earlier_ones_alone():
    import tilegrad as tg

    network = load("pixels").masked_network().eval()
    image = tg.bernoulli(tg.full((1, 64), 0.5)).requires_grad_()
    for place in (0, 1, 31, 63):
        (gradient,) = tg.autograd.grad(network(image)[0, place], image)
        assert bool((gradient[0, place:] == 0).all())
        assert place == 0 or bool((gradient[0, :place] != 0).any())


def test_timeseries(run):
    results = run("timeseries", "--epochs", 5)
    assert results["LSTM"] < 0.95 * results["last value"]
    assert results["1-D convnet"] < results["last value"]


def test_convolution(run, monkeypatch):
    with_mnist(monkeypatch)
    assert run("convolution", "--epochs", 1, "--images", 2000)["accuracy"] > 0.8


def test_branches(run):
    results = run("branches", "--epochs", 2, "--pairs", 1000)
    assert min(results["left, three heads"], results["right, three heads"]) > 0.4
    assert 0 < results["sum, one head"] < 1


def test_residual(run):
    results = run("residual", "--epochs", 2, "--blocks", 12)
    assert results["ResNet, 26"] > results["plain, 26"] + 0.2


def test_training(run):
    results = run("training", "--epochs", 4)
    assert (
        results["normalization: training loss: batch"]
        < results["normalization: training loss: none"]
    )
    start = "first weights, 10 layers: training loss: "
    assert results[start + "He: 1.41"] < results[start + "0.3"]


def test_gpt(run):
    pytest.importorskip("tokenizers")
    results = run("gpt", "--steps", 40, "--characters", 150_000)
    assert results["held out"] < results["unigram"]


def test_gpt_reads_shakespeare(run, monkeypatch):
    pytest.importorskip("tokenizers")
    monkeypatch.setenv("TILEGRAD_DATA", str(need_shakespeare()))
    results = run("gpt", "--steps", 3, "--characters", 50_000, "--data", "shakespeare")
    assert results["held out"] < 7.0  # it starts at log 1024 = 6.93


def test_vae(run, monkeypatch):
    with_mnist(monkeypatch)
    results = run("vae", "--epochs", 1, "--images", 1500)
    assert results["16 numbers"] < 240


def test_gan(run, monkeypatch):
    with_mnist(monkeypatch)
    results = run("gan", "--epochs", 1, "--images", 1000)
    assert 0 <= results["sure"] <= 1 and 1 <= results["kinds"] <= 10
