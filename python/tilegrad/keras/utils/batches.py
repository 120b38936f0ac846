"""``Batches``: batches that can be gone through again and again, mapped, cut and regrouped."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tilegrad as tg

from .. import tree
from ..dtypes import convert_to_numpy, convert_to_tensor

__all__ = ["Batches", "stacked"]


class Batches:
    """What ``read()`` gives, anew for every epoch; ``count`` is how many batches that are, None if
    it is not known.

    The methods have the names that ``tf.data`` made usual; arguments that only tell it how to work
    in the background (``num_parallel_calls``, ``buffer_size`` of ``prefetch``) change nothing.
    """

    def __init__(self, count: int | None, read: Callable[[], Iterator]) -> None:
        self._count, self._read = count, read

    def __len__(self) -> int:
        if self._count is None:
            raise TypeError("the number of batches is not known")
        return self._count

    @property
    def num_batches(self) -> int | None:
        """The number of batches; None if it is not known."""
        return self._count

    def cardinality(self) -> int:
        """The number of batches; -2 if it is not known, -1 if there is no end."""
        return -2 if self._count is None else self._count

    def __iter__(self) -> Iterator:
        return iter(self._read())

    def take(self, count: int) -> Batches:
        """The first batches; all of them for -1."""
        if count < 0:
            return self
        whole = self._count
        return Batches(
            count if whole is None else min(count, whole),
            lambda: itertools.islice(self._read(), count),
        )

    def skip(self, count: int) -> Batches:
        """All but the first batches."""
        whole = self._count
        return Batches(
            None if whole is None else max(whole - count, 0),
            lambda: itertools.islice(self._read(), count, None),
        )

    def map(self, map_func: Callable[..., Any], *args: Any, **kwargs: Any) -> Batches:
        """``map_func`` of each batch; of its parts, if it is a tuple."""

        def read() -> Iterator:
            for item in self._read():
                yield map_func(*item) if isinstance(item, tuple) else map_func(item)

        return Batches(self._count, read)

    def filter(self, predicate: Callable[..., Any]) -> Batches:
        """The batches of which a function says yes."""

        def read() -> Iterator:
            for item in self._read():
                if bool(predicate(*item) if isinstance(item, tuple) else predicate(item)):
                    yield item

        return Batches(None, read)

    def prefetch(self, buffer_size: Any = None) -> Batches:
        """The same: batches are made when they are asked for."""
        return self

    def cache(self, filename: Any = "") -> Batches:
        """The same, kept in memory once it was gone through."""
        kept: list[Any] = []

        def read() -> Iterator:
            if kept:
                yield from kept[0]
                return
            seen = []
            for item in self._read():
                seen.append(item)
                yield item
            kept.append(seen)

        return Batches(self._count, read)

    def shuffle(
        self, buffer_size: int, seed: int | None = None, reshuffle_each_iteration: bool = True
    ) -> Batches:
        """Batches in random order, drawn from the next ``buffer_size``."""
        source = np.random.default_rng(seed)

        def read() -> Iterator:
            draw = source if reshuffle_each_iteration else np.random.default_rng(seed)
            held: list[Any] = []
            for item in self._read():
                held.append(item)
                if len(held) >= buffer_size:
                    yield held.pop(int(draw.integers(len(held))))
            while held:
                yield held.pop(int(draw.integers(len(held))))

        return Batches(self._count, read)

    def batch(self, batch_size: int, drop_remainder: bool = False, **kwargs: Any) -> Batches:
        """So many elements stacked to one."""
        whole = self._count
        if whole is not None:
            whole = whole // batch_size if drop_remainder else math.ceil(whole / batch_size)

        def read() -> Iterator:
            items = iter(self._read())
            while group := list(itertools.islice(items, batch_size)):
                if len(group) == batch_size or not drop_remainder:
                    yield stacked(group)

        return Batches(whole, read)

    def unbatch(self) -> Batches:
        """Single samples."""

        def read() -> Iterator:
            for item in self._read():
                for i in range(len(tree.flatten(item)[0])):
                    yield tree.map_structure(lambda x, i=i: x[i], item)

        return Batches(None, read)

    def rebatch(self, batch_size: int, drop_remainder: bool = False) -> Batches:
        """The same samples in batches of another size."""
        return self.unbatch().batch(batch_size, drop_remainder)

    def repeat(self, count: int | None = None) -> Batches:
        """The same again and again; without end for None and -1."""
        endless = count is None or count < 0

        def read() -> Iterator:
            for _ in itertools.count() if endless else range(count or 0):
                yield from self._read()

        whole = None if endless or self._count is None else self._count * (count or 0)
        return Batches(whole, read)

    def concatenate(self, dataset: Any) -> Batches:
        """These batches, then those."""
        other = getattr(dataset, "_count", None)
        whole = None if self._count is None or other is None else self._count + other
        return Batches(whole, lambda: itertools.chain(self._read(), iter(dataset)))

    def enumerate(self, start: int = 0) -> Batches:
        """Pairs of a number and a batch."""
        return Batches(self._count, lambda: iter(enumerate(self._read(), start)))

    def as_numpy_iterator(self) -> Iterator:
        """The batches as arrays."""
        for item in self._read():
            yield tree.map_structure(convert_to_numpy, item)


def stacked(items: list[Any]) -> Any:
    """Samples, or structures of them, as one batch: numbers as tensors, text as arrays."""

    def stack(*parts: Any) -> Any:
        if isinstance(parts[0], tg.Tensor):
            return tg.stack(list(parts))
        made = np.stack([np.asarray(part) for part in parts])
        return made if made.dtype.kind in "OUS" else convert_to_tensor(made)

    return tree.map_structure(stack, *items)
