"""Text: Shakespeare, film reviews, news, and the Python library's own source."""

from __future__ import annotations

import json
import os
import pickle
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np

from .files import DataFile, locate

__all__ = [
    "imdb",
    "imdb_word_index",
    "python_source",
    "reuters",
    "reuters_word_index",
    "tiny_shakespeare",
]

Array: TypeAlias = np.ndarray

_KERAS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"
_SHAKESPEARE = DataFile(
    "text/tinyshakespeare.txt",
    "sha256:86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    1_115_394,
    ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",),
    also=("input.txt", "shakespeare.txt"),
)
_IMDB = DataFile(
    "text/imdb.npz",
    "sha256:69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f",
    17_464_789,
    (f"{_KERAS}/imdb.npz",),
)
_IMDB_WORDS = DataFile(
    "text/imdb_word_index.json",
    "md5:bfafd718b763782e994055a2d397834f",
    1_641_221,
    (f"{_KERAS}/imdb_word_index.json",),
)
_REUTERS = DataFile(
    "text/reuters.npz",
    "sha256:d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916",
    2_110_848,
    (f"{_KERAS}/reuters.npz",),
)
_REUTERS_WORDS = DataFile(
    "text/reuters_word_index.json",
    "md5:4d44cc38712099c9e383dc6e5f11a921",
    550_378,
    (f"{_KERAS}/reuters_word_index.json",),
)


def tiny_shakespeare() -> str:
    """1,115,394 characters from Shakespeare's plays. Raises FileNotFoundError without a network."""
    return locate(_SHAKESPEARE, "tiny Shakespeare").read_text()


def python_source(characters: int | None = None) -> str:
    """The source of the Python library itself, tests left out: the first ``characters`` of it.

    It differs a little between versions of Python. Raises ValueError for a negative count,
    FileNotFoundError where the library is installed without its source.
    """
    if characters is not None and characters < 0:
        raise ValueError(f"python_source: argument 'characters': got {characters}")
    library = sysconfig.get_paths()["stdlib"]
    parts: list[str] = []
    length = 0
    for path in _sources(library):
        if characters is not None and length >= characters:
            break
        parts.append(path.read_text(encoding="utf-8", errors="replace"))
        length += len(parts[-1])
    if not parts:
        raise FileNotFoundError(f"python_source: there are no .py files in {library}")
    return "".join(parts)[:characters]


def _sources(library: str) -> Iterator[Path]:
    """The .py files of the library in a fixed order, without tests and what others installed."""
    left_out = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages"}
    for folder, folders, names in os.walk(library):
        folders[:] = sorted(name for name in folders if name not in left_out)
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(".py"))


def imdb() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Film reviews, praising (1) or not (0): ``(train, labels), (test, labels)``.

    25,000 reviews each: arrays of lists of words' ranks by frequency, 1 for the most frequent
    (``imdb_word_index`` has the words), and of labels (int64). Raises FileNotFoundError without
    the file and a network. Source: Maas et al., 2011, as prepared for Keras.
    """
    parts = _read_npz(locate(_IMDB, "IMDB"), "x_train", "y_train", "x_test", "y_test")
    return (parts[0], parts[1]), (parts[2], parts[3])


def imdb_word_index() -> dict[str, int]:
    """The rank of every word in ``imdb``, with its errors."""
    return _read_words(_IMDB_WORDS, "IMDB's words")


def reuters() -> tuple[Array, Array]:
    """11,228 news of 46 topics: lists of words' ranks as in ``imdb``, and topics (int64).

    Raises FileNotFoundError without the file and a network.
    """
    parts = _read_npz(locate(_REUTERS, "Reuters"), "x", "y")
    return parts[0], parts[1]


def reuters_word_index() -> dict[str, int]:
    """The rank of every word in ``reuters``, with its errors."""
    return _read_words(_REUTERS_WORDS, "Reuters' words")


def _read_words(file: DataFile, title: str) -> dict[str, int]:
    words: dict[str, int] = json.loads(locate(file, title).read_text(encoding="utf-8"))
    return words


class _ArrayUnpickler(pickle.Unpickler):
    """Rebuilds arrays of lists of numbers, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np._core.multiarray._reconstruct
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a data set")


def _read_npz(path: Path, *names: str) -> list[Array]:
    """Arrays of an archive. NumPy stores those of lists as pickles, which are not trusted here."""
    with zipfile.ZipFile(path) as archive:
        arrays = []
        for name in names:
            with archive.open(f"{name}.npy") as file:
                arrays.append(_read_array(file))
        return arrays


def _read_array(file: IO[bytes]) -> Array:
    version = np.lib.format.read_magic(file)
    read_header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, fortran, dtype = read_header(file)
    if dtype.hasobject:
        array: Array = _ArrayUnpickler(file).load()
        return array
    values = np.frombuffer(file.read(), dtype)
    return values.reshape(shape, order="F" if fortran else "C").copy()
