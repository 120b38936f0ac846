"""Data sets as Keras gives them: the same arrays from the same files."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from test_datasets import folder, lists, npz, place
from tilegrad.datasets import tables, text
from tilegrad.keras import datasets

__all__ = ["folder"]


@pytest.fixture
def texts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Small files in the formats of IMDB, Reuters and California housing."""
    random = np.random.RandomState(0)

    def some(count: int) -> np.ndarray[Any, Any]:
        rows = [random.randint(1, 40, random.randint(2, 9)).tolist() for _ in range(count)]
        return lists(*rows)

    films = {"x_train": some(20), "x_test": some(10)}
    labels = {"y_train": random.randint(0, 2, 20), "y_test": random.randint(0, 2, 10)}
    made = {
        "imdb": (text, "_IMDB", npz(**films, **labels)),
        "reuters": (text, "_REUTERS", npz(x=some(30), y=random.randint(0, 46, 30))),
        "california_housing": (tables, "_HOUSING", npz(x=random.rand(700, 8), y=random.rand(700))),
    }
    paths = {}
    for name, (module, constant, content) in made.items():
        file = place(folder, getattr(module, constant), content)
        monkeypatch.setattr(module, constant, file)
        paths[name] = folder / file.name
    return paths


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("imdb", {}),
        ("imdb", {"num_words": 20, "skip_top": 5, "seed": 7}),
        ("imdb", {"maxlen": 6, "oov_char": None, "num_words": 30}),
        ("imdb", {"start_char": None, "index_from": 0}),
        ("reuters", {}),
        ("reuters", {"num_words": 25, "test_split": 0.35, "maxlen": 7, "skip_top": 4}),
        ("reuters", {"start_char": None, "index_from": 5, "oov_char": None, "skip_top": 9}),
        ("california_housing", {}),
        ("california_housing", {"version": "small", "test_split": 0.1, "seed": 3}),
    ],
)
def test_the_same_arrays_as_keras(texts, monkeypatch, name, arguments):
    importlib.import_module("oracle")  # skips without Keras
    theirs = importlib.import_module(f"keras.src.datasets.{name}")
    monkeypatch.setattr(theirs, "get_file", lambda *_, **__: str(texts[name]))
    expected = theirs.load_data(**arguments)
    actual = getattr(datasets, name).load_data(**arguments)
    for ours, keras_part in zip(actual, expected, strict=True):
        for array, wanted in zip(ours, keras_part, strict=True):
            assert array.dtype == wanted.dtype and len(array) == len(wanted)
            assert array.tolist() == wanted.tolist()


def test_reviews_open_with_a_mark_and_hide_rare_words(texts):
    (x_train, y_train), (x_test, _) = datasets.imdb.load_data(num_words=20)
    assert len(x_train) == len(y_train) == 20 and len(x_test) == 10
    assert all(row[0] == 1 for row in x_train)
    words = {word for row in x_train for word in row[1:]}
    assert words <= {2, *range(4, 20)}


def test_images_lie_channels_last(monkeypatch):
    random = np.random.RandomState(0)
    parts = tuple(
        (random.randint(0, 256, (n, 3, 32, 32)).astype(np.uint8), np.arange(n, dtype=np.uint8))
        for n in (4, 2)
    )
    monkeypatch.setattr(importlib.import_module("tilegrad.datasets"), "cifar10", lambda: parts)
    (x_train, y_train), (x_test, y_test) = datasets.cifar10.load_data()
    assert x_train.shape == (4, 32, 32, 3) and y_train.shape == (4, 1)
    assert x_test.shape == (2, 32, 32, 3) and y_test.tolist() == [[0], [1]]
    np.testing.assert_array_equal(x_train[1, :, :, 2], parts[0][0][1, 2])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: datasets.cifar100.load_data("medium"), ValueError, "'fine' or 'coarse'"),
        (lambda: datasets.california_housing.load_data("tiny"), ValueError, "'small' or 'large'"),
        (lambda: datasets.california_housing.load_data(test_split=1), ValueError, "got 1"),
        (lambda: datasets.imdb.load_data(maxlen=1), ValueError, "no text is shorter than 1"),
        (datasets.boston_housing.load_data, NotImplementedError, "as many houses"),
    ],
)
def test_what_is_refused(texts, call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_reuters_topics():
    names = datasets.reuters.get_label_names()
    assert len(names) == len({*names}) == 46
    keras = importlib.import_module("oracle").theirs
    assert names == keras.datasets.reuters.get_label_names()
