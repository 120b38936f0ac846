"""Programs of the gallery on networks, run small, and the notebook, cell by cell."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gallery import EXAMPLES, load, run, with_mnist
from real_data import need_shakespeare

__all__ = ["run", "with_mnist"]


def test_branches(run):
    results = run("branches", "--epochs", 1, "--pairs", 5000)
    assert min(results["left, three heads"], results["right, three heads"]) > 0.5


def test_residual(run):
    results = run("residual", "--epochs", 2)
    assert results["ResNet, 56"] > results["plain, 56"] + 0.1


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
    results = run("gpt", "--steps", 30, "--characters", 150_000)
    assert results["held out"] < 6.6  # it starts at log 1024 = 6.93


def test_gpt_reads_shakespeare(run, monkeypatch):
    pytest.importorskip("tokenizers")
    monkeypatch.setenv("TILEGRAD_DATA", str(need_shakespeare()))
    results = run("gpt", "--steps", 6, "--characters", 50_000, "--data", "shakespeare")
    assert results["held out"] < 6.93


def test_vae(run, with_mnist):
    results = run("vae", "--epochs", 1, "--images", 1500)
    assert results["16 numbers"] < 240


def test_gan(run, with_mnist):
    results = run("gan", "--epochs", 2, "--images", 1000)
    assert abs(results["too dark"]) < 0.5  # an untrained generator is 0.7 too dark


def test_digits_are_learned_and_then_loaded(run, tmp_path, capsys):
    pytest.importorskip("tqdm")
    results = run("digits", "--epochs", 5)
    assert results["MLP"] > 0.92 and results["convnet"] > 0.92
    assert "convnet epoch 5/5: loss" in capsys.readouterr().out
    assert load("digits").main(["--out", str(tmp_path)]) == results
    assert capsys.readouterr().out.count("loaded from") == 2
    again = run("digits", "--epochs", 1, "--retrain", "--seed", 1)
    assert again != results


def test_digits_refuses_no_epochs(capsys):
    with pytest.raises(SystemExit):
        load("digits").main(["--epochs", "0"])
    assert "--epochs: expected at least 1, got 0" in capsys.readouterr().err


def test_first_example(run):
    results = run("first_example", "--data", "digits", "--epochs", 4)
    assert results["dense network"] > 0.93 and results["convnet"] > 0.93


def test_first_example_on_mnist(run, with_mnist):
    results = run("first_example", "--epochs", 1, "--images", 8000)
    assert results["dense network"] > 0.8 and results["convnet"] > 0.75


def test_the_notebook_runs_cell_by_cell(capsys):
    matplotlib = pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")
    matplotlib.use("Agg")
    notebook = json.loads((EXAMPLES / "first_example.ipynb").read_text())
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(notebook["cells"]):
        assert not cell.get("outputs"), "the notebook is kept without outputs"
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    matplotlib.pyplot.close("all")
    assert names["test_accuracy"] > 0.96 and names["convnet_accuracy"] > 0.97
    assert "test accuracy of the convnet" in capsys.readouterr().out
