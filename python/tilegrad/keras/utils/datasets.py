"""What gives batches: ``PyDataset``, windows of time series, parts of data sets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

import tilegrad as tg

from .. import tree
from ..dtypes import convert_to_numpy, convert_to_tensor
from .batches import Batches

__all__ = ["PyDataset", "Sequence", "split_dataset", "timeseries_dataset_from_array"]


class PyDataset:
    """The base class of data that makes its batches itself: define ``__getitem__(index)``, which
    gives a tuple (x, y) or (x, y, sample_weight), and ``__len__``, the number of batches.

    ``on_epoch_end`` is called behind each epoch. Batches are made in the calling thread:
    ``workers``, ``use_multiprocessing`` and ``max_queue_size`` change nothing.
    """

    def __init__(
        self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10
    ) -> None:
        self.workers, self.use_multiprocessing = workers, use_multiprocessing
        self.max_queue_size = max_queue_size

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: __getitem__ is not defined")

    @property
    def num_batches(self) -> int | None:
        """The number of batches; None if it is not known."""
        try:
            return len(self)  # type: ignore[arg-type]
        except TypeError:
            return None

    def on_epoch_begin(self) -> None:
        """Before each epoch."""

    def on_epoch_end(self) -> None:
        """Behind each epoch."""


Sequence = PyDataset


def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
    format: str = "tf",
) -> Batches:
    """Windows of ``sequence_length`` steps, every ``sampling_rate``-th, that start
    ``sequence_stride`` steps apart, in batches with the targets of their starts (None for none).

    Raises ValueError for indices and sizes that are not positive or too large.
    """
    data = convert_to_numpy(data)
    size = len(data)
    for name, index in (("start_index", start_index), ("end_index", end_index)):
        if index is not None and not 0 <= index <= size:
            raise ValueError(
                f"`{name}` must be between 0 and the length of data, {size}. Received: {index}"
            )
    for name, number in (
        ("sequence_length", sequence_length),
        ("sequence_stride", sequence_stride),
        ("sampling_rate", sampling_rate),
    ):
        if number <= 0 or number >= size:
            raise ValueError(
                f"`{name}` must be higher than 0 and lower than the length of the data. Received: "
                f"{name}={number}, for data of length {size}"
            )
    first, last = start_index or 0, size if end_index is None else end_index
    span = (sequence_length - 1) * sampling_rate
    starts = np.arange(0, last - first - span, sequence_stride)
    if targets is not None:
        starts = starts[starts < len(targets) - first] if len(targets) > first else starts[:0]
        targets = convert_to_numpy(targets)
    source = np.random.default_rng(seed)
    steps = np.arange(sequence_length) * sampling_rate
    per_batch = max(len(starts), 1) if batch_size is None else batch_size

    def make(i: int) -> Any:
        chosen = starts[i * per_batch : (i + 1) * per_batch] + first
        windows = convert_to_tensor(data[chosen[:, None] + steps])
        if targets is None:
            return windows
        return windows, convert_to_tensor(targets[chosen])

    count = math.ceil(len(starts) / per_batch)

    def read() -> Iterator:
        if shuffle:
            source.shuffle(starts)
        return map(make, range(count))

    return Batches(count, read)


def split_dataset(
    dataset: Any,
    left_size: Any = None,
    right_size: Any = None,
    shuffle: bool = False,
    seed: int | None = None,
    **kwargs: Any,
) -> tuple[Batches, Batches]:
    """Arrays, or a structure of them, in two parts, sample by sample.

    Sizes are numbers or shares. Raises ValueError if neither is given.
    """
    if left_size is None and right_size is None:
        raise ValueError("At least one of the `left_size` or `right_size` must be specified.")
    if (
        hasattr(dataset, "__iter__")
        and not hasattr(dataset, "shape")
        and not isinstance(dataset, (tuple, list, dict))
    ):
        dataset = [*dataset]
        dataset = tree.map_structure(lambda *items: np.stack(items), *dataset)
    parts = tree.map_structure(convert_to_numpy, dataset)
    size = len(tree.flatten(parts)[0])

    def counted(given: Any) -> int:
        return round(given * size) if isinstance(given, float) else int(given)

    left = counted(left_size) if left_size is not None else size - counted(right_size)
    right = counted(right_size) if right_size is not None else size - left
    order = np.arange(size)
    if shuffle:
        np.random.default_rng(seed).shuffle(order)

    def samples(chosen: np.ndarray) -> Batches:
        def read() -> Iterator:
            for i in chosen:
                yield tree.map_structure(lambda x, i=i: tg.asarray(x[i]), parts)

        return Batches(len(chosen), read)

    return samples(order[:left]), samples(order[size - right :])
