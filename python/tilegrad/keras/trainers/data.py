"""What ``fit`` reads: arrays, dictionaries, generators, data loaders, as batches of tensors.

A source says how many batches an epoch has (``steps``, None if it cannot know), whether it can be
read again (``again``), and gives the batches of an epoch: tuples of x, y and sample weights, as
long as what was given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

import tilegrad as tg

from .. import tree
from ..config import settings
from ..dtypes import convert_to_tensor, dtype_of

__all__ = ["Arrays", "Source", "Stream", "source_of", "split_off", "unpack"]


def unpack(data: Any) -> tuple[Any, Any, Any]:
    """x, y and sample weights of a batch; None for what is not there.

    Raises ValueError for a tuple of more than three.
    """
    if isinstance(data, list):
        data = tuple(data)
    if not isinstance(data, tuple):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise ValueError(
            "Data is expected to be in format `x`, `(x,)`, `(x, y)`, or `(x, y, sample_weight)`, "
            f"found {len(data)} parts"
        )
    return (*data, *[None] * (3 - len(data)))


class Source:
    """The base class."""

    steps: int | None = None
    batch_size: int | None = None
    again = True

    def epoch(self) -> Iterator[tuple]:
        """The batches of one epoch."""
        raise NotImplementedError

    def on_epoch_end(self) -> None:
        """Called behind each epoch."""


def _as_data(x: Any) -> Any:
    """Arrays as tensors, floating-point ones in ``floatx``."""
    if x is None:
        return None
    if isinstance(x, tg.Tensor):
        made = x.detach()
    elif hasattr(x, "to_numpy"):  # a table or a column of pandas
        made = convert_to_tensor(x.to_numpy())
    else:
        array = np.asarray(x)
        if array.dtype.kind in "OUS":
            if (
                array.dtype.kind == "O"
                and array.size
                and isinstance(array.flat[0], (list, np.ndarray))
            ):
                raise ValueError(
                    "the sequences in the data differ in length; make them equal with "
                    "keras.utils.pad_sequences or one-hot encode them"
                )
            return array
        made = convert_to_tensor(array)
    floatx = dtype_of(settings.floatx)
    if made.dtype.is_floating_point and made.dtype is not floatx:
        made = made.to(floatx)
    return made


def _is_list_of_numbers(x: Any) -> bool:
    while isinstance(x, (list, tuple)) and x:
        x = x[0]
    return isinstance(x, (int, float, str, bool, np.generic))


def _convert(structure: Any) -> Any:
    if isinstance(structure, dict):
        return {key: _convert(value) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)) and not _is_list_of_numbers(structure):
        return type(structure)(_convert(value) for value in structure)
    return _as_data(structure)


class Arrays(Source):
    """Arrays in memory, in order or shuffled. Raises ValueError if their lengths differ."""

    def __init__(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        batch_size: int | None = None,
        shuffle: Any = False,
        class_weight: Any = None,
    ) -> None:
        self.parts = (_convert(x), _convert(y), _convert(sample_weight))
        leaves = [leaf for leaf in tree.flatten(self.parts) if leaf is not None]
        if not leaves:
            raise ValueError("there is no data: x is empty")
        for leaf in leaves:
            if leaf.ndim == 0:
                raise ValueError(
                    "the data must have a first axis, that of the samples; got a number"
                )
        self.size = leaves[0].shape[0]
        if any(leaf.shape[0] != self.size for leaf in leaves):
            sizes = [tree.map_structure(_length, part) for part in self.parts]
            names = ("x", "y", "sample_weight")
            shown = [f"'{name}' sizes: {size}" for name, size in zip(names, sizes, strict=True)]
            if self.parts[2] is None:
                del shown[2]
            raise ValueError(
                "Data cardinality is ambiguous. Make sure all arrays contain the same number of "
                f"samples: {', '.join(shown)}"
            )
        if self.size == 0:
            raise ValueError("there is no data: the arrays have no samples")
        if class_weight is not None:
            x, y, weight = self.parts
            self.parts = (x, y, with_class_weight(y, weight, class_weight))
        self.batch_size = 32 if batch_size is None else int(batch_size)
        if self.batch_size < 1:
            raise ValueError(f"batch_size: expected a positive integer, got {batch_size}")
        self.shuffle = shuffle
        self.steps = math.ceil(self.size / self.batch_size)
        self._width = 3 if self.parts[2] is not None else 2 if self.parts[1] is not None else 1

    def epoch(self) -> Iterator[tuple]:
        used = self.parts[: self._width]
        flat = all(isinstance(part, tg.Tensor) for part in used)
        size, count = self.batch_size or 1, self.size
        if not self.shuffle:
            for start in range(0, count, size):
                stop = min(start + size, count)
                if flat:
                    yield tuple([part[start:stop] for part in used])
                else:
                    yield _mapped(lambda x, a=start, b=stop: x[a:b], used)
            return
        order = self._order()
        for start in range(0, count, size):
            rows = order[start : start + size]
            if flat:
                yield tuple([tg.index_select(part, 0, rows) for part in used])
            else:
                yield _mapped(lambda x, rows=rows: _rows(x, rows), used)

    def _order(self) -> Any:
        if self.shuffle != "batch":
            return tg.randperm(self.size)
        size, whole = self.batch_size or 1, self.size // (self.batch_size or 1)
        batches = tg.randperm(whole).unsqueeze(1) * size + tg.arange(size)
        return tg.cat([batches.reshape(-1), tg.arange(whole * size, self.size)])


def _length(x: Any) -> Any:
    return None if x is None else x.shape[0]


def _rows(x: Any, rows: Any) -> Any:
    return x[rows.numpy()] if isinstance(x, np.ndarray) else tg.index_select(x, 0, rows)


def _mapped(function: Any, parts: tuple) -> tuple:
    return tuple(
        tree.map_structure(lambda x: None if x is None else function(x), part) for part in parts
    )


class Stream(Source):
    """Anything that gives batches one after another: a generator, a data loader, a ``PyDataset``.

    Raises ValueError for batches that are no tuple of one to three parts.
    """

    def __init__(self, data: Iterable, class_weight: Any = None) -> None:
        self.data = data
        self.class_weight = class_weight
        self.again = not hasattr(data, "__next__")
        try:
            self.steps = len(data)  # type: ignore[arg-type]
        except TypeError:
            self.steps = getattr(data, "num_batches", None)
        if self.steps is not None and self.steps < 0:
            self.steps = None

    def epoch(self) -> Iterator[tuple]:
        for batch in self._batches():
            x, y, weight = unpack(batch)
            made: tuple = (_convert(x),)
            if y is not None or weight is not None or self.class_weight is not None:
                made = (*made, _convert(y))
            if self.class_weight is not None:
                weight = with_class_weight(made[1], _convert(weight), self.class_weight)
            if weight is not None:
                made = (*made, _convert(weight))
            yield made

    def _batches(self) -> Iterator:
        data: Any = self.data
        if hasattr(data, "__iter__"):
            for batch in data:  # noqa: UP028 `yield from` would close a generator that may go on
                yield batch
        else:
            for i in range(self.steps or 0):
                yield data[i]

    def on_epoch_end(self) -> None:
        if hasattr(self.data, "on_epoch_end"):
            self.data.on_epoch_end()


def with_class_weight(y: Any, weight: Any, class_weight: dict) -> Any:
    """The sample weights times those of their classes. Raises ValueError for several targets."""
    if isinstance(y, (list, tuple, dict)) or y is None:
        raise ValueError("`class_weight` is only supported for Models with a single output.")
    labels = y
    if labels.ndim > 1 and labels.shape[-1] > 1:
        labels = labels.argmax(-1)
    labels = labels.reshape(labels.shape[0], -1)[:, 0].long()
    table = tg.ones(max(int(labels.max()), max(map(int, class_weight))) + 1)
    for number, value in class_weight.items():
        table[int(number)] = float(value)
    made = table[labels]
    if weight is None:
        return made
    return made * weight.reshape(weight.shape[0], -1)[:, 0]


def source_of(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    batch_size: int | None = None,
    shuffle: Any = False,
    class_weight: Any = None,
) -> Source:
    """The source for what was given as x. Raises ValueError for ``y``, weights or a batch size
    beside something that has them already."""
    if isinstance(x, Source):
        return x
    streaming = (
        not isinstance(x, (tg.Tensor, np.ndarray, list, tuple, dict))
        and not hasattr(x, "__array__")
        and not hasattr(x, "to_numpy")
        and (hasattr(x, "__iter__") or hasattr(x, "__getitem__"))
        and not isinstance(x, str)
    )
    if not streaming:
        if x is None:
            raise ValueError("fit, evaluate and predict need data: argument 'x' is None")
        return Arrays(x, y, sample_weight, batch_size, shuffle, class_weight)
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(
                f"When `x` is a {type(x).__name__}, which gives whole batches, `{name}` should "
                "not be "
                f"passed: let each batch be a tuple (x, y) or (x, y, sample_weight)"
            )
    return Stream(x, class_weight)


def split_off(arrays: Any, share: float) -> tuple[Any, Any]:
    """The first part of every array, and its last: the share that validates.

    Raises ValueError for a share outside (0, 1), for one that leaves either part empty, and for
    what is no array.
    """
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
        raise ValueError(f"`validation_split` must be between 0 and 1, got {share!r}")
    leaves = [x for x in tree.flatten(arrays) if x is not None]
    for leaf in leaves:
        if not hasattr(leaf, "shape"):
            raise ValueError(
                "Argument `validation_split` is only supported for tensors or NumPy arrays. Found "
                f"incompatible type in the input: {type(leaf).__name__}"
            )
    size = leaves[0].shape[0]
    cut = math.floor(size * (1.0 - share))
    if cut in (0, size):
        raise ValueError(
            f"Training data contains {size} samples, which is not sufficient to split it into a "
            f"validation and training set as specified by `validation_split={share}`. Either "
            "provide more data, or a different value for the `validation_split` argument."
        )
    return _mapped(lambda x: x[:cut], arrays), _mapped(lambda x: x[cut:], arrays)
