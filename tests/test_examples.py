"""Programs of the gallery on foundations, run small: each draws its figure and reaches its goal."""

from __future__ import annotations

import pytest

from gallery import EXAMPLES, load, run, with_mnist

__all__ = ["run", "with_mnist"]

NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_a_program_fits_two_screens_and_explains_itself(name, capsys):
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 150
    with pytest.raises(SystemExit) as ended:
        load(name).main(["--help"])
    assert ended.value.code == 0
    assert "--out" in capsys.readouterr().out


def test_from_scratch(run, with_mnist):
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


def test_convolution(run, with_mnist):
    assert run("convolution", "--epochs", 1, "--images", 2000)["accuracy"] > 0.5
