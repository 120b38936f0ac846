"""``DataLoader``: batches of a dataset, read here or in worker processes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import numpy as np

from ... import _C
from .collate import default_collate, default_convert
from .dataset import IterableDataset, TensorDataset
from .pinning import can_pin, pin_memory
from .sampler import BatchSampler, RandomSampler, SequentialSampler, random_seed

__all__ = ["DataLoader"]


_FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")


_T = TypeVar("_T", covariant=True)


class DataLoader(Generic[_T]):
    """Iterates over a dataset in batches; each ``iter`` is one epoch.

    - ``batch_size``: samples per batch; None gives single samples
    - ``shuffle``: a new random order each epoch, drawn from ``generator`` (default: the global one)
    - ``sampler``, ``batch_sampler``: the order, or the batches, in place of the three above
    - ``num_workers``: processes that read ahead; 0 reads when asked
    - ``collate_fn``: makes a batch from a list of samples, :func:`default_collate` by default
    - ``drop_last``: drop the last batch if it is short
    - ``timeout``: seconds to wait for a worker, 0 for ever
    - ``worker_init_fn``: called with its number in each worker
    - ``prefetch_factor``: batches that each worker reads ahead, 2 by default
    - ``persistent_workers``: keep the processes from one epoch to the next
    - ``pin_memory``: batches are in page-locked memory, from which ``to("cuda",
      non_blocking=True)`` need not wait: tensors, also in mappings, tuples and sequences, and
      objects with a method ``pin_memory()``. Where there is no device they are plain, with a
      warning. ``pin_memory_device`` is accepted

    Given the same seed, the order is PyTorch's. Batches arrive in order, also from workers. Raises
    ValueError for options that contradict each other; an exception in a worker is raised here with
    the worker's traceback.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable | None = None,
        batch_sampler: Iterable | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_worker_options(
            num_workers, timeout, prefetch_factor, persistent_workers, multiprocessing_context
        )
        self.dataset, self.num_workers, self.timeout = dataset, num_workers, timeout
        self.worker_init_fn, self.generator = worker_init_fn, generator
        self.pin_memory, self.pin_memory_device = pin_memory, pin_memory_device
        self.multiprocessing_context = multiprocessing_context
        self.prefetch_factor = 2 if num_workers > 0 and prefetch_factor is None else prefetch_factor
        self.persistent_workers, self.in_order = persistent_workers, in_order
        self._is_stream = isinstance(dataset, IterableDataset)
        self._set_order(batch_size, shuffle, sampler, batch_sampler, drop_last)
        if collate_fn is None:
            collate_fn = default_convert if self.batch_sampler is None else default_collate
        self.collate_fn = collate_fn
        self._workers: Any = None  # kept between epochs if persistent
        self._is_complete = True

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIXED and self.__dict__.get("_is_complete"):
            raise ValueError(
                f"{name} attribute should not be set after {type(self).__name__} is initialized"
            )
        super().__setattr__(name, value)

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self) -> Any:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def _set_order(
        self, batch_size: Any, shuffle: Any, sampler: Any, batch_sampler: Any, drop_last: bool
    ) -> None:
        """Decides the samplers. A stream has neither: it comes as it comes."""
        if self._is_stream:
            for name, value in (
                ("shuffle", shuffle or None),
                ("sampler", sampler),
                ("batch_sampler", batch_sampler),
            ):
                if value is not None:
                    raise ValueError(
                        f"DataLoader with IterableDataset: expected unspecified {name} option, "
                        f"but got {name}={value}"
                    )
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, "
                    "sampler, and drop_last"
                )
            batch_size, drop_last = None, False
        elif batch_size is None and drop_last:
            raise ValueError(
                "batch_size=None option disables auto-batching and is mutually exclusive with "
                "drop_last"
            )
        if sampler is None:
            if self._is_stream:
                sampler = _Endless()
            elif shuffle:
                sampler = RandomSampler(self.dataset, generator=self.generator)
            else:
                sampler = SequentialSampler(self.dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size, self.drop_last = batch_size, drop_last
        self.sampler: Any = sampler
        self.batch_sampler: Any = batch_sampler

    def __iter__(self) -> Iterator[Any]:
        # The order of draws is PyTorch's: the epoch's seed before the sampler's, which is drawn
        # when the first index is asked for. Workers that live on keep the seed of their first.
        order = iter(self.sampler if self.batch_sampler is None else self.batch_sampler)
        seed = random_seed(self.generator) if self._workers is None else self._workers.seed
        pins = bool(self.pin_memory) and can_pin()
        if self.num_workers == 0:
            return self._read_here(order, pins)
        from .worker import WorkerIterator

        return WorkerIterator(self, order, seed, pins)

    def _read_here(self, order: Iterator[Any], pins: bool) -> Iterator[Any]:
        batched = self.batch_sampler is not None
        fetch = make_fetch(self.dataset, batched, self.collate_fn, self.drop_last)
        for indices in order:
            try:
                batch = fetch(indices)
            except EndOfStream:
                return
            yield pin_memory(batch) if pins else batch

    def __len__(self) -> int:
        if self._is_stream:
            size = len(self.dataset)
            if self.batch_size is None:
                return size
            if self.drop_last:
                return size // self.batch_size
            return -(-size // self.batch_size)
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)


def _check_worker_options(
    num_workers: int, timeout: float, prefetch_factor: Any, persistent: bool, context: Any
) -> None:
    if num_workers < 0:
        raise ValueError(
            "num_workers option should be non-negative; use num_workers=0 to disable "
            "multiprocessing."
        )
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing. Let num_workers > "
            "0 to enable multiprocessing, otherwise set prefetch_factor to None."
        )
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError("prefetch_factor option should be non-negative")
    if persistent and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")
    if context is not None and num_workers == 0:
        raise ValueError(
            "multiprocessing_context can only be used with multi-process loading (num_workers > "
            f"0), but got num_workers={num_workers}"
        )
    if isinstance(context, str):
        import multiprocessing  # not before it is needed

        methods = multiprocessing.get_all_start_methods()
        if context not in methods:
            raise ValueError(
                "multiprocessing_context option should specify a valid start method in "
                f"{methods!r}, but got multiprocessing_context={context!r}"
            )


class _Endless:
    """The sampler of a stream: asks for one more, without end."""

    def __iter__(self) -> Iterator[None]:
        return itertools.repeat(None)


class EndOfStream(Exception):
    """A stream has no further batch."""


def make_fetch(
    dataset: Any, batched: bool, collate_fn: Callable[[Any], Any], drop_last: bool
) -> Callable[[Any], Any]:
    """A function from what the sampler yields to what the loader yields."""
    if isinstance(dataset, IterableDataset):
        return _stream_fetch(dataset, batched, collate_fn, drop_last)
    if not batched:
        return lambda index: collate_fn(dataset[index])
    if type(dataset) is TensorDataset and collate_fn is default_collate:
        return lambda indices: _take(dataset, indices)
    whole = getattr(dataset, "__getitems__", None)
    if whole is not None:
        return lambda indices: collate_fn(whole(indices))
    return lambda indices: collate_fn([dataset[i] for i in indices])


def _stream_fetch(
    dataset: Any, batched: bool, collate_fn: Callable[[Any], Any], drop_last: bool
) -> Callable[[Any], Any]:
    samples = iter(dataset)

    def fetch(places: Any) -> Any:
        if not batched:
            for sample in samples:
                return collate_fn(sample)
            raise EndOfStream
        batch = list(itertools.islice(samples, len(places)))
        if not batch or (drop_last and len(batch) < len(places)):
            raise EndOfStream
        return collate_fn(batch)

    return fetch


def _take(dataset: TensorDataset, indices: list[int]) -> Any:
    """The batch of a TensorDataset, read with one indexing per tensor.

    The samples are never made one by one; the result is that of collating them.
    """
    index = _C.from_numpy(np.array(indices, dtype=np.int64))
    return [tensor[index] for tensor in dataset.tensors]
