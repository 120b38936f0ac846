"""Reuters' news as Keras gives them: lists of word numbers, 46 topics."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import datasets
from ._arrange import number_words, shuffled

__all__ = ["get_label_names", "get_word_index", "load_data"]

_TOPICS = """
cocoa grain veg-oil earn acq wheat copper housing money-supply coffee sugar trade reserves ship
cotton carcass crude nat-gas cpi money-fx interest gnp meal-feed alum oilseed gold tin
strategic-metal livestock retail ipi iron-steel rubber heat jobs lei bop zinc orange pet-chem dlr
gas silver wpi hog lead
"""


def load_data(
    path: str = "reuters.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    test_split: float = 0.2,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
) -> Any:
    """``(x_train, y_train), (x_test, y_test)``, the last ``test_split`` of the shuffled news.

    The other arguments and errors are those of ``imdb.load_data``.
    """
    news = shuffled(*datasets.reuters(), np.random.RandomState(seed))
    ((x, y),) = number_words(
        "reuters", [news], num_words, skip_top, maxlen, start_char, oov_char, index_from
    )
    cut = int(len(x) * (1 - test_split))
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])


def get_word_index(path: str = "reuters_word_index.json") -> dict[str, int]:
    """The rank of every word, without ``index_from``."""
    return datasets.reuters_word_index()


def get_label_names() -> tuple[str, ...]:
    """The 46 topics, in the order of the labels."""
    return tuple(_TOPICS.split())
