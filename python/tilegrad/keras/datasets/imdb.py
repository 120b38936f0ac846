"""IMDB's film reviews as Keras gives them: lists of word numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import datasets
from ._arrange import number_words, shuffled

__all__ = ["get_word_index", "load_data"]


def load_data(
    path: str = "imdb.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
    **kwargs: Any,
) -> Any:
    """``(x_train, y_train), (x_test, y_test)``: object arrays of lists, and labels 0 or 1.

    Each word is its rank plus ``index_from``; what is outside [skip_top, num_words) becomes
    ``oov_char``, or is left out where that is None; ``start_char`` opens each review; reviews of
    ``maxlen`` words or more are left out. Raises ValueError if none remains, FileNotFoundError
    without the file and a network.
    """
    random = np.random.RandomState(seed)
    parts = [shuffled(x, y, random) for x, y in datasets.imdb()]
    return number_words(
        "imdb", parts, num_words, skip_top, maxlen, start_char, oov_char, index_from
    )


def get_word_index(path: str = "imdb_word_index.json") -> dict[str, int]:
    """The rank of every word, without ``index_from``."""
    return datasets.imdb_word_index()
