"""Numbers and words as categories: CategoryEncoding, Discretization, Hashing, lookups."""

from __future__ import annotations

import itertools
import zlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

import tilegrad as tg

from ..dtypes import convert_to_numpy, convert_to_tensor
from ..registry import own_module
from .layer import Layer

__all__ = [
    "CategoryEncoding",
    "Discretization",
    "Hashing",
    "IntegerLookup",
    "StringLookup",
]

_MODES = ("int", "one_hot", "multi_hot", "count", "tf_idf")


def encode(numbers: Any, size: int, mode: str, weights: Any = None) -> Any:
    """Category numbers (N, ...) as ``"int"``, ``"one_hot"``, ``"multi_hot"`` or ``"count"``."""
    if mode == "int":
        return numbers
    numbers = numbers.to(tg.int64)
    if mode == "one_hot":
        if numbers.ndim > 1 and numbers.shape[-1] == 1:
            numbers = numbers.squeeze(-1)
        return tg.nn.functional.one_hot(numbers, size).to(tg.float32)
    hot = tg.nn.functional.one_hot(numbers, size).to(tg.float32)
    if weights is not None:
        hot = hot * convert_to_tensor(weights).to(tg.float32).unsqueeze(-1)
    axis = -2 if hot.ndim > 1 else 0
    if mode == "multi_hot":
        return tg.amax(hot, dim=axis) if hot.ndim > 1 else hot
    return hot.sum(axis) if hot.ndim > 1 else hot


def refuse_sparse(name: str, sparse: Any) -> None:
    """Raises ValueError for ``sparse=True``, which has no tensors here."""
    if sparse:
        raise ValueError(f"{name}: sparse tensors are not supported (sparse=True)")


class CategoryEncoding(Layer):
    """Category numbers as vectors: ``output_mode`` is ``"multi_hot"``, ``"one_hot"`` or
    ``"count"``.

    Raises ValueError for another mode, and for numbers outside [0, ``num_tokens``).
    """

    _takes_plain_values = True

    def __init__(
        self, num_tokens: int | None = None, output_mode: str = "multi_hot", sparse: bool = False,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        refuse_sparse("CategoryEncoding", sparse)
        if output_mode not in ("count", "one_hot", "multi_hot"):
            raise ValueError(f"Unknown argument for `output_mode`: {output_mode}")
        if num_tokens is None or num_tokens < 1:
            raise ValueError(f"`num_tokens` must be set and at least 1. Received: {num_tokens}")
        self.num_tokens, self.output_mode = num_tokens, output_mode
        self.built = True

    def call(self, inputs: Any, count_weights: Any = None) -> Any:
        inputs = convert_to_tensor(inputs)
        if inputs.numel() and not 0 <= int(inputs.min()) <= int(inputs.max()) < self.num_tokens:
            raise ValueError(
                "Input values must be in the range 0 <= values < num_tokens with "
                f"num_tokens={self.num_tokens}"
            )
        return encode(inputs, self.num_tokens, self.output_mode, count_weights)

    def compute_output_shape(self, input_shape: Any) -> tuple:
        if self.output_mode == "one_hot":
            head = (
                input_shape[:-1] if len(input_shape) > 1 and input_shape[-1] == 1 else input_shape
            )
            return (*head, self.num_tokens)
        return (*input_shape[:-1], self.num_tokens)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_tokens": self.num_tokens,
            "output_mode": self.output_mode,
        }


class Discretization(Layer):
    """Numbers as the numbers of the bins they fall into. The bins are given by ``bin_boundaries``,
    or ``num_bins`` of equal counts are found by :meth:`adapt`. Raises ValueError for neither, and
    for both."""

    def __init__(
        self,
        bin_boundaries: Any = None,
        num_bins: int | None = None,
        epsilon: float = 0.01,
        output_mode: str = "int",
        sparse: bool = False,
        dtype: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        refuse_sparse("Discretization", sparse)
        if (bin_boundaries is None) == (num_bins is None):
            raise ValueError(
                "Exactly one of `num_bins` and `bin_boundaries` must be set. Received: "
                f"num_bins={num_bins}, bin_boundaries={bin_boundaries}"
            )
        if output_mode not in _MODES[:4]:
            raise ValueError(f"Discretization: unknown output_mode {output_mode!r}")
        self.bin_boundaries = None if bin_boundaries is None else [float(b) for b in bin_boundaries]
        self.num_bins, self.epsilon, self.output_mode = num_bins, epsilon, output_mode
        self.built = True

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Finds the boundaries that cut the data, an array or at most ``steps`` batches, into equal
        counts."""
        if not isinstance(data, (np.ndarray, tg.Tensor, list, tuple)):
            data = np.concatenate(
                [np.ravel(convert_to_numpy(batch)) for batch in itertools.islice(data, steps)]
            )
        values = convert_to_numpy(data).reshape(-1)
        shares = np.linspace(0, 1, int(self.num_bins or 1) + 1)[1:-1]
        self.bin_boundaries = [float(b) for b in np.quantile(values, shares)]

    def call(self, inputs: Any) -> Any:
        if self.bin_boundaries is None:
            raise ValueError("Discretization: call adapt(data) first, or give bin_boundaries")
        edges = convert_to_tensor(self.bin_boundaries).to(inputs.dtype)
        found = tg.bucketize(inputs, edges, right=True)
        return encode(found, len(self.bin_boundaries) + 1, self.output_mode)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": self._policy.name,
            "bin_boundaries": self.bin_boundaries,
            "num_bins": self.num_bins if self.bin_boundaries is None else None,
            "epsilon": self.epsilon,
            "output_mode": self.output_mode,
        }


class _OfWords(Layer):
    """What takes text, which is no tensor."""

    _takes_plain_values = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.call(*args, **kwargs)


class Hashing(_OfWords):
    """Words or integers as one of ``num_bins`` numbers, by a checksum; others may share a
    number."""

    def __init__(
        self, num_bins: int, mask_value: Any = None, salt: Any = None, output_mode: str = "int",
        sparse: bool = False, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        refuse_sparse("Hashing", sparse)
        if num_bins <= 0:
            raise ValueError(f"`num_bins` cannot be `None` or non-positive. Received: {num_bins}.")
        self.num_bins, self.mask_value = num_bins, mask_value
        self.salt, self.output_mode = salt, output_mode
        self.built = True

    def call(self, inputs: Any) -> Any:
        words = np.asarray(convert_to_numpy(inputs) if isinstance(inputs, tg.Tensor) else inputs)
        first = 0 if self.mask_value is None else 1
        made = [
            0
            if first and word == self.mask_value
            else zlib.crc32(f"{self.salt}:{word}".encode()) % (self.num_bins - first) + first
            for word in words.reshape(-1).tolist()
        ]
        numbers = tg.from_numpy(np.array(made, dtype="int64").reshape(words.shape))
        return encode(numbers, self.num_bins, self.output_mode)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_bins": self.num_bins,
            "mask_value": self.mask_value,
            "salt": self.salt,
            "output_mode": self.output_mode,
        }


class Lookup(_OfWords):
    """Words as their places in a vocabulary."""

    _unknown: Any
    _padding: Any

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: Any = None,
        oov_token: Any = None,
        vocabulary: Any = None,
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        pad_to_max_tokens: bool = False,
        sparse: bool = False,
        encoding: str = "utf-8",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        refuse_sparse(type(self).__name__, sparse)
        if output_mode not in _MODES:
            raise ValueError(f"{type(self).__name__}: unknown output_mode {output_mode!r}")
        if pad_to_max_tokens and max_tokens is None:
            raise ValueError("If pad_to_max_tokens is True, must set `max_tokens`.")
        self.pad_to_max_tokens, self.encoding = pad_to_max_tokens, encoding
        self.max_tokens, self.num_oov_indices = max_tokens, num_oov_indices
        self.mask_token = mask_token
        self.oov_token = self._unknown if oov_token is None else oov_token
        self.invert, self.output_mode = invert, output_mode
        self._words: list[Any] = []
        self._places: dict[Any, int] = {}
        self._idf: Any = idf_weights
        self.built = True
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, idf_weights)

    def _special(self) -> list[Any]:
        masked = [] if self.mask_token is None or self.output_mode != "int" else [self.mask_token]
        return masked + [self.oov_token] * self.num_oov_indices

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Takes over words, a list or the path of a file with one per line."""
        if isinstance(vocabulary, str):
            with open(vocabulary, encoding=self.encoding) as file:
                vocabulary = file.read().split("\n")
        words = [w.item() if isinstance(w, np.generic) else w for w in vocabulary]
        special = self._special()
        if words[: len(special)] == special:
            words = words[len(special) :]
        if len(set(words)) != len(words):
            raise ValueError(f"{type(self).__name__}: the vocabulary holds a word more than once")
        self._words = [*special, *words]
        self._places = {word: i for i, word in enumerate(self._words) if i >= len(special)}
        if self.mask_token is not None and self.output_mode == "int":
            self._places[self.mask_token] = 0
        self._idf = None if idf_weights is None else np.asarray(idf_weights, "float32")

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Finds the words of the data, the most frequent first. Of things that give batches,
        ``steps`` are looked at."""
        counts: Counter = Counter()
        documents: Counter = Counter()
        total = 0
        whole = steps is None or isinstance(data, (str, np.ndarray, tg.Tensor))
        for row in self._rows(data if whole else itertools.islice(data, steps)):
            counts.update(row)
            documents.update(set(row))
            total += 1
        counts.pop(self.mask_token, None)
        counts.pop("", None)
        ordered = sorted(counts.items(), key=lambda item: item[0], reverse=True)
        ordered.sort(key=lambda item: item[1], reverse=True)
        words = [word for word, _ in ordered]
        if self.max_tokens is not None:
            words = words[: self.max_tokens - len(self._special())]
        self.set_vocabulary(words)
        if self.output_mode == "tf_idf":
            known = [np.log(1 + total / (1 + documents[word])) for word in words]
            average = float(np.mean(known)) if known else 0.0
            self._idf = np.array([average] * len(self._special()) + known, "float32")

    def _rows(self, data: Any) -> Iterable[list[Any]]:
        for item in flat_items(data):
            yield item if isinstance(item, list) else [item]

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """The words in the order of their numbers."""
        return self._words if include_special_tokens else self._words[len(self._special()) :]

    def vocabulary_size(self) -> int:
        """How many words there are, special ones included."""
        return len(self._words)

    def _place(self, word: Any) -> int:
        found = self._places.get(word)
        if found is not None:
            return found
        special = len(self._special()) - self.num_oov_indices
        if self.num_oov_indices == 0:
            raise ValueError(f"{type(self).__name__}: {word!r} is not in the vocabulary")
        if self.num_oov_indices == 1:
            return special
        return special + zlib.crc32(str(word).encode()) % self.num_oov_indices

    def call(self, inputs: Any) -> Any:
        if not self._words:
            raise ValueError(
                f"{type(self).__name__} has no vocabulary: call adapt(data) or "
                "set_vocabulary(words)"
            )
        values = np.asarray(convert_to_numpy(inputs) if isinstance(inputs, tg.Tensor) else inputs)
        if self.invert:
            size = len(self._words)
            flat = [self._words[i] if 0 <= i < size else self.oov_token for i in values.reshape(-1)]
            made: Any = np.array(flat).reshape(values.shape)
            return made if made.dtype.kind in "US" else tg.from_numpy(made)
        return self._encoded([self._place(word) for word in values.reshape(-1).tolist()], values)

    def _encoded(self, places: list[int], like: np.ndarray) -> Any:
        numbers = tg.from_numpy(np.array(places, dtype="int64").reshape(like.shape))
        if self.output_mode != "tf_idf":
            return self._padded(encode(numbers, len(self._words), self.output_mode))
        return self._padded(encode(numbers, len(self._words), "count") * tg.from_numpy(self._idf))

    def _padded(self, vectors: Any) -> Any:
        """Zeros for words that the vocabulary could still hold, if they are wanted."""
        missing = (self.max_tokens or 0) - len(self._words)
        if not self.pad_to_max_tokens or self.output_mode == "int" or missing <= 0:
            return vectors
        return tg.nn.functional.pad(vectors, (0, missing))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "max_tokens": self.max_tokens,
            "num_oov_indices": self.num_oov_indices,
            "mask_token": self.mask_token,
            "oov_token": self.oov_token,
            "vocabulary": self.get_vocabulary(False) or None,
            "idf_weights": None if self._idf is None else np.asarray(self._idf).tolist(),
            "invert": self.invert,
            "output_mode": self.output_mode,
            "pad_to_max_tokens": self.pad_to_max_tokens,
            "encoding": self.encoding,
        }


def flat_items(data: Any) -> Iterable[Any]:
    """Rows of words: of arrays, lists, and things that give batches."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, (np.ndarray, tg.Tensor)):
        values = convert_to_numpy(data)
        yield from values.tolist()
    else:
        for item in data:
            batch: Any = item[0] if isinstance(item, tuple) else item
            if isinstance(batch, (np.ndarray, tg.Tensor)) and batch.ndim > 0:
                yield from convert_to_numpy(batch).tolist()
            else:
                yield batch


class StringLookup(Lookup):
    """Strings as numbers by a vocabulary, given or found by :meth:`adapt`; 0 is for others (and for
    ``mask_token`` if there is one). Raises ValueError without a vocabulary."""

    _unknown = "[UNK]"


class IntegerLookup(Lookup):
    """Integers as numbers by a vocabulary. Raises ValueError without one, and for another
    ``vocabulary_dtype`` than ``"int64"``."""

    _unknown = -1

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: Any = None,
        oov_token: Any = -1,
        vocabulary: Any = None,
        vocabulary_dtype: str = "int64",
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        sparse: bool = False,
        pad_to_max_tokens: bool = False,
        **kwargs: Any,
    ) -> None:
        if vocabulary_dtype != "int64":
            raise ValueError(
                "IntegerLookup: argument 'vocabulary_dtype': expected 'int64', "
                f"got {vocabulary_dtype!r}"
            )
        super().__init__(max_tokens, num_oov_indices, mask_token, oov_token, vocabulary,
                         idf_weights, invert, output_mode, pad_to_max_tokens, sparse,
                         **kwargs)  # fmt: skip


own_module(globals())
