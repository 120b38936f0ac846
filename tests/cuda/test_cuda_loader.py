"""Batches of a DataLoader in page-locked memory."""

from __future__ import annotations

import collections

import numpy as np
import pytest

import tilegrad as tg
from support import as_array, randn

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
]
Point = collections.namedtuple("Point", "x y")


class Sample:
    """A batch of a program's own."""

    def __init__(self, items):
        self.x, self.y = (tg.stack(list(column)) for column in zip(*items, strict=True))

    def pin_memory(self):
        self.x, self.y = self.x.pin_memory(), self.y.pin_memory()
        return self


class Labeled(dict):
    label = "kept"


def as_types(items):
    """A batch of every kind that a loader may yield."""
    x = tg.stack([item[0] for item in items])
    mapping = Labeled(a=x + 1, b=["text", x + 2])
    return [x, Point(x + 3, 5), mapping, (x + 4, None), b"bytes", range(2)]


DATA = [(tg.from_numpy(randn(3, seed=i)), tg.tensor(i)) for i in range(6)]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_pinned(workers):
    loader = tg.utils.data.DataLoader(DATA, batch_size=2, pin_memory=True, num_workers=workers)
    plain = list(tg.utils.data.DataLoader(DATA, batch_size=2))
    assert len(plain) == 3
    for (x, y), (plain_x, plain_y) in zip(loader, plain, strict=True):
        assert x.is_pinned() and y.is_pinned() and not plain_x.is_pinned()
        on_card = x.to("cuda", non_blocking=True)
        np.testing.assert_array_equal(as_array(on_card), as_array(plain_x))
        np.testing.assert_array_equal(as_array(y), as_array(plain_y))


def test_batches_keep_their_types():
    loader = tg.utils.data.DataLoader(DATA, batch_size=2, pin_memory=True, collate_fn=as_types)
    x, point, mapping, pair, text, numbers = next(iter(loader))
    assert x.is_pinned() and type(point) is Point and point.x.is_pinned() and point.y == 5
    assert type(mapping) is Labeled and mapping["a"].is_pinned()
    assert mapping["b"][0] == "text" and mapping["b"][1].is_pinned()
    assert type(pair) is tuple and pair[0].is_pinned() and pair[1] is None
    assert text == b"bytes" and numbers == [0, 1]
    loader = tg.utils.data.DataLoader(DATA, batch_size=3, pin_memory=True, collate_fn=Sample)
    assert all(batch.x.is_pinned() and batch.y.is_pinned() for batch in loader)


def test_single_samples_and_whole_tensors():
    data = tg.utils.data.TensorDataset(tg.from_numpy(randn(5, 2)), tg.arange(5))
    for options in ({"batch_size": None}, {"batch_size": 2}):
        for x, y in tg.utils.data.DataLoader(data, pin_memory=True, **options):
            assert x.is_pinned() and y.is_pinned()
