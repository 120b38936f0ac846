"""The caching host allocator as Python sees it: alignment, reuse, limits."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import tilegrad as tg
from tilegrad import _C


def in_use() -> int:
    gc.collect()
    return _C.host_memory_stats()["in_use"]


@pytest.mark.parametrize("count", [1, 3, 16, 17, 1000, 100_003, 3_000_000])
@pytest.mark.parametrize("dtype", [tg.uint8, tg.float32, tg.float64])
def test_tensors_start_at_a_cache_line(count, dtype):
    assert tg.empty(count, dtype=dtype).data_ptr() % 64 == 0


def test_a_released_block_is_used_again():
    first = tg.empty(123_457)
    address = first.data_ptr()
    del first
    assert tg.empty(123_456).data_ptr() == address  # the same size class


def test_live_tensors_do_not_share_memory():
    tensors = [tg.full((1000,), float(i)) for i in range(50)]
    assert len({t.data_ptr() for t in tensors}) == 50
    for i, t in enumerate(tensors):
        assert (t.numpy() == i).all()


def test_memory_returns_when_the_last_view_dies():
    before = in_use()
    x = tg.empty(1_000_000)
    assert in_use() >= before + 4_000_000
    view = x[10:20]
    del x
    assert in_use() >= before + 4_000_000
    del view
    assert in_use() == before


def test_memory_returns_when_the_last_array_dies():
    before = in_use()
    array = tg.empty(1_000_000).numpy()
    assert in_use() >= before + 4_000_000
    del array
    assert in_use() == before


def test_a_graph_is_released_with_its_output():
    before = in_use()
    x = tg.ones(100_000, requires_grad=True)
    y = x
    for _ in range(20):
        y = y * 1.5 + x
    del x, y
    assert in_use() == before


def test_the_cache_can_be_emptied():
    _C.host_empty_cache()
    before = _C.host_memory_stats()["cached"]  # small blocks beside others still in use
    del_me = tg.empty(5_000_000)
    del del_me
    assert _C.host_memory_stats()["cached"] >= before + 20_000_000
    _C.host_empty_cache()
    assert _C.host_memory_stats()["cached"] <= before


def test_zero_size_tensors_need_no_memory():
    before = in_use()
    x = tg.empty(0, 1000)
    assert (in_use(), tuple(x.shape), x.numel()) == (before, (0, 1000), 0)


def test_a_request_beyond_all_memory_is_an_error_and_harms_nothing():
    before = in_use()
    for count in (2**50, 2**44 + 1):
        with pytest.raises((MemoryError, RuntimeError), match=r"memory|allocate"):
            tg.empty(count, dtype=tg.float64)
    assert in_use() == before
    np.testing.assert_array_equal((tg.ones(3) + tg.ones(3)).numpy(), [2, 2, 2])


@pytest.mark.parametrize("shape", [(2**62,), (2**32, 2**32), (2**61, 2)])
def test_sizes_that_overflow_are_runtime_errors(shape):
    with pytest.raises(RuntimeError, match="overflows"):
        tg.empty(*shape, dtype=tg.float64)
