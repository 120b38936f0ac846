"""How Keras arranges data sets: channels last, shuffled by a seed, words numbered."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import config

__all__ = ["as_configured", "number_words", "shuffled", "split"]


def as_configured(parts: Any) -> Any:
    """Images in the configured data format, and labels as a column."""
    last = config.image_data_format() == "channels_last"
    return tuple((x.transpose(0, 2, 3, 1) if last else x, y[:, None]) for x, y in parts)


def shuffled(x: Any, y: Any, random: np.random.RandomState) -> tuple[Any, Any]:
    """Both in one order drawn from ``random``."""
    order = np.arange(len(x))
    random.shuffle(order)
    return x[order], y[order]


def split(name: str, x: Any, y: Any, test_split: float, seed: int) -> Any:
    """Shuffled, the last ``test_split`` for the test. Raises ValueError outside [0, 1)."""
    if not 0 <= test_split < 1:
        raise ValueError(
            f"{name}.load_data: argument 'test_split': expected 0 <= test_split < 1, "
            f"got {test_split}"
        )
    x, y = shuffled(x, y, np.random.RandomState(seed))
    cut = int(len(x) * (1 - test_split))
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])


def number_words(
    name: str,
    parts: list[tuple[Any, Any]],
    num_words: int | None,
    skip_top: int,
    maxlen: int | None,
    start_char: int | None,
    oov_char: int | None,
    index_from: int,
) -> Any:
    """Texts of ranks as texts of numbers; see ``imdb.load_data``."""
    start = [] if start_char is None else [start_char]
    numbered = []
    for texts, labels in parts:
        rows = [start + [rank + index_from for rank in text] for text in texts]
        if maxlen:
            kept = [i for i, row in enumerate(rows) if len(row) < maxlen]
            if not kept:
                raise ValueError(
                    f"{name}.load_data: argument 'maxlen': no text is shorter than {maxlen}"
                )
            rows, labels = [rows[i] for i in kept], labels[kept]
        numbered.append((rows, labels))
    most = num_words or max(max(row) for rows, _ in numbered for row in rows)

    def limit(row: list[int]) -> list[int]:
        if oov_char is None:
            return [word for word in row if skip_top <= word < most]
        return [word if skip_top <= word < most else oov_char for word in row]

    return tuple((_as_array([limit(row) for row in rows]), y) for rows, y in numbered)


def _as_array(rows: list[list[int]]) -> Any:
    array = np.empty(len(rows), object)
    array[:] = rows
    return array
