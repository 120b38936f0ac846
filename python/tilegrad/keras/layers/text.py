"""``TextVectorization``: texts as rows of word numbers, or as bags of words."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from typing import Any

import numpy as np

import tilegrad as tg

from ..registry import own_module
from .categories import Lookup, flat_items

__all__ = ["TextVectorization"]

_STANDARDS = ("lower_and_strip_punctuation", "lower", "strip_punctuation")
_PUNCTUATION = re.compile(f"[{re.escape(string.punctuation)}]")


class TextVectorization(Lookup):
    """Texts as rows of word numbers, 0 being padding and 1 unknown words.

    ``standardize``: ``"lower_and_strip_punctuation"``, ``"lower"``, ``"strip_punctuation"``, None
    or a function; ``split``: ``"whitespace"``, ``"character"``, None or a function; ``ngrams``:
    also groups of that many words. Raises ValueError for other words and without a vocabulary.
    """

    _unknown = "[UNK]"

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: Any = "lower_and_strip_punctuation",
        split: Any = "whitespace",
        ngrams: Any = None,
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False,
        vocabulary: Any = None,
        idf_weights: Any = None,
        sparse: bool = False,
        ragged: bool = False,
        encoding: str = "utf-8",
        **kwargs: Any,
    ) -> None:
        if ragged:
            raise ValueError("TextVectorization: ragged tensors are not supported (ragged=True)")
        self.standardize, self.split = None, None
        for name, value, words in (
            ("standardize", standardize, _STANDARDS),
            ("split", split, ("whitespace", "character")),
        ):
            if value is not None and not callable(value) and value not in words:
                raise ValueError(f"TextVectorization: unknown {name} {value!r}")
        super().__init__(max_tokens, 1, "", "[UNK]", vocabulary, idf_weights, False, output_mode,
                         pad_to_max_tokens, sparse, encoding, **kwargs)  # fmt: skip
        self.standardize, self.split = standardize, split
        self.ngrams = tuple(range(1, ngrams + 1)) if isinstance(ngrams, int) else ngrams
        self.output_sequence_length = output_sequence_length

    def adapt(  # type: ignore[override]
        self, data: Any, batch_size: Any = None, steps: int | None = None
    ) -> None:
        """Finds the words of the texts, the most frequent first. Of things that give batches,
        ``steps`` are looked at; ``batch_size`` changes nothing."""
        super().adapt(data, steps)

    def _split_text(self, text: str) -> list[str]:
        if callable(self.standardize):
            text = self.standardize(text)
        elif self.standardize is not None:
            if "lower" in self.standardize:
                text = text.lower()
            if "strip" in self.standardize:
                text = _PUNCTUATION.sub("", text)
        if callable(self.split):
            words = list(self.split(text))
        elif self.split is None:
            words = [text]
        else:
            words = text.split() if self.split == "whitespace" else list(text)
        if not self.ngrams:
            return words
        return [" ".join(words[i : i + n]) for n in self.ngrams for i in range(len(words) - n + 1)]

    def _rows(self, data: Any) -> Iterable[list[Any]]:
        for item in flat_items(data):
            for text in item if isinstance(item, list) else [item]:
                yield self._split_text(str(text))

    def call(self, inputs: Any) -> Any:
        if not self._words:
            raise ValueError("TextVectorization has no vocabulary: call adapt(texts) first")
        single = isinstance(inputs, str)
        texts = [inputs] if single else np.asarray(inputs).reshape(-1).tolist()
        rows = [[self._place(word) for word in self._split_text(text)] for text in texts]
        if self.output_mode != "int":
            made = tg.stack([self._encoded(row, np.empty(len(row))) for row in rows])
            return made[0] if single else made
        length = self.output_sequence_length or max(map(len, rows), default=0)
        table = np.zeros((len(rows), length), "int64")
        for line, row in zip(table, rows, strict=True):
            line[: len(row)] = row[:length]
        made = tg.from_numpy(table)
        return made[0] if single else made

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for name in ("num_oov_indices", "mask_token", "oov_token", "invert"):
            del config[name]
        return {
            **config,
            "standardize": self.standardize,
            "split": self.split,
            "ngrams": self.ngrams,
            "output_sequence_length": self.output_sequence_length,
        }


own_module(globals())
