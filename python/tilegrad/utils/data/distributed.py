"""``DistributedSampler``: the share of one of several processes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeVar

from .sampler import Sampler

__all__ = ["DistributedSampler"]


_T = TypeVar("_T", covariant=True)


class DistributedSampler(Sampler[_T]):
    """The indices of one of ``num_replicas`` processes, the ``rank``-th, in PyTorch's order.

    The data is shuffled with ``seed`` and the epoch, see :meth:`set_epoch`, and all processes get
    equally many indices: some twice, or with ``drop_last`` some not. Raises ValueError for a rank
    outside ``num_replicas``; without them the process group is asked, which ValueError says if
    there is none.
    """

    def __init__(
        self,
        dataset: Any,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        from ... import distributed

        self.num_replicas = distributed.get_world_size() if num_replicas is None else num_replicas
        self.rank = distributed.get_rank() if rank is None else rank
        if not 0 <= self.rank < self.num_replicas:
            raise ValueError(
                f"Invalid rank {self.rank}, rank should be in the interval "
                f"[0, {self.num_replicas - 1}]"
            )
        self.dataset, self.shuffle, self.seed = dataset, shuffle, seed
        self.drop_last, self.epoch = drop_last, 0
        size = len(dataset)
        uneven = drop_last and size % self.num_replicas
        kept = size - self.num_replicas if uneven else size
        self.num_samples = math.ceil(kept / self.num_replicas)
        self.total_size = self.num_samples * self.num_replicas

    def __iter__(self) -> Iterator[int]:
        from ...ops.random import Generator, randperm

        size = len(self.dataset)
        if self.shuffle:
            generator = Generator().manual_seed(self.seed + self.epoch)
            indices = randperm(size, generator=generator).tolist()
        else:
            indices = list(range(size))
        while not self.drop_last and 0 < len(indices) < self.total_size:
            indices += indices[: self.total_size - len(indices)]
        return iter(indices[self.rank : self.total_size : self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Makes the next iteration shuffle in the order of that epoch."""
        self.epoch = epoch
