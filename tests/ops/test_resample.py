"""The table of resampling: what it refuses; values are tested by tests/nn/test_resampling.py."""

from __future__ import annotations

import pytest

import tilegrad as tg
from tilegrad import _C


def resample(x, begin, index, weight, dim=0):
    table = (tg.tensor(part, dtype=tg.int64) for part in (begin, index))
    return _C.resample(x, dim, *table, tg.tensor(weight, dtype=x.dtype))


def test_weights_and_places() -> None:
    y = resample(tg.tensor([1.0, 10.0, 100.0]), [0, 2, 2, 3], [0, 2, 1], [1.0, 2.0, 3.0])
    assert y.tolist() == [201.0, 0.0, 30.0]


@pytest.mark.host("the table is the library's own: checked where the host can read it")
@pytest.mark.parametrize(
    ("begin", "index"),
    [
        ([0, 1], [3]),
        ([0, 1], [-1]),
        ([0, 2], [0]),
        ([1, 1], [0]),
        ([0, 2, 1], [0]),
        ([0, -1, 1], [0]),
    ],
)
def test_a_table_that_leaves_the_tensor(begin: list, index: list) -> None:
    with pytest.raises(IndexError, match="resample: expected a table of places from 0 to 2"):
        resample(tg.ones(3), begin, index, [1.0])


def test_other_complaints() -> None:
    with pytest.raises(IndexError):
        resample(tg.ones(3), [0, 1], [0], [1.0], dim=1)
    with pytest.raises(NotImplementedError, match="int64"):
        resample(tg.ones(3, dtype=tg.int64), [0, 1], [0], [1])
    with pytest.raises(RuntimeError, match="one size"):
        resample(tg.ones(3), [0, 1], [0], [1.0, 2.0])
