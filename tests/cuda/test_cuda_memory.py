"""Memory of a device: what is counted, a full card, pinned copies, forks."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import tilegrad as tg
from support import check_error

pytestmark = pytest.mark.gpu
MIB = 2**20


def test_counts_follow_tensors():
    tg.cuda.empty_cache()
    tg.cuda.reset_peak_memory_stats()
    before, reserved = tg.cuda.memory_allocated(), tg.cuda.memory_reserved()
    x = tg.empty(1000, device="cuda")  # 4000 bytes in units of 512
    assert tg.cuda.memory_allocated() == before + 4096
    y = tg.empty(3 * MIB, dtype=tg.uint8, device="cuda")
    peak = tg.cuda.max_memory_allocated()
    assert peak == tg.cuda.memory_allocated() == before + 4096 + 3 * MIB
    del x, y
    assert tg.cuda.memory_allocated() == before and tg.cuda.max_memory_allocated() == peak
    assert tg.cuda.max_memory_reserved() >= tg.cuda.memory_reserved() >= reserved
    tg.cuda.reset_peak_memory_stats()
    assert tg.cuda.max_memory_allocated() == before
    stats = tg.cuda.memory_stats()
    assert stats["allocated_bytes.all.current"] == before
    assert str(before) in tg.cuda.memory_summary()
    free, total = tg.cuda.mem_get_info()
    assert 0 < free <= total == tg.cuda.get_device_properties().total_memory


def test_counts_have_the_names_of_pytorch():
    tg.cuda.empty_cache()
    tg.cuda.reset_accumulated_memory_stats()
    before = tg.cuda.memory_stats()
    kinds = ("allocation", "segment", "active", "inactive_split", "allocated_bytes",
             "reserved_bytes", "active_bytes", "inactive_split_bytes",
             "requested_bytes")  # fmt: skip
    pools, counts = ("all", "small_pool", "large_pool"), ("current", "peak", "allocated", "freed")
    assert {f"{k}.{p}.{c}" for k in kinds for p in pools for c in counts} < set(before)
    assert list(before) == sorted(before) and before["allocation.all.allocated"] == 0
    x = tg.empty(1000, dtype=tg.uint8, device="cuda")
    y = tg.empty(3 * MIB + 5, dtype=tg.uint8, device="cuda")
    del y
    now = tg.cuda.memory_stats()
    more = {name: now[name] - before[name] for name in now}
    assert more["allocation.all.allocated"] == 2 and more["allocation.all.freed"] == 1
    assert more["allocated_bytes.small_pool.current"] == 1024
    assert more["requested_bytes.small_pool.current"] == 1000
    assert now["requested_bytes.large_pool.freed"] == 3 * MIB + 5
    assert now["allocated_bytes.large_pool.allocated"] == 3 * MIB + 512
    assert more["active_bytes.all.current"] == 1024
    peak = before["active_bytes.all.current"] + 3 * MIB + 1536
    assert now["active_bytes.all.peak"] >= peak
    assert now["num_device_alloc"] == more["segment.all.allocated"] >= 1
    nested = tg.cuda.memory_stats_as_nested_dict()
    assert nested["requested_bytes"]["large_pool"]["freed"] == 3 * MIB + 5
    del x
    tg.cuda.reset_accumulated_memory_stats()
    assert tg.cuda.memory_stats()["requested_bytes.all.freed"] == 0
    assert tg.cuda.memory_stats()["num_ooms"] == 0


def test_a_full_card_is_an_error_with_the_numbers():
    _, total = tg.cuda.mem_get_info()
    kept = tg.ones(5, device="cuda")
    for size in (total + 1, 2**45, 2**62):
        with pytest.raises(tg.cuda.OutOfMemoryError, match=r"Tried to allocate .*iB\. GPU 0 has"):
            tg.empty(size, dtype=tg.uint8, device="cuda")
    assert issubclass(tg.cuda.OutOfMemoryError, RuntimeError)
    assert tg.OutOfMemoryError is tg.cuda.OutOfMemoryError
    assert (kept + 1).sum().item() == 10
    assert tg.cuda.memory_stats()["num_ooms"] >= 3


def test_what_is_cached_makes_room_for_another_size():
    free, _ = tg.cuda.mem_get_info()
    if free > 20 * 2**30:
        pytest.skip("too much memory to fill for a test")
    del_me = tg.empty(free // 2, dtype=tg.uint8, device="cuda")
    del del_me
    retries = tg.cuda.memory_stats()["num_alloc_retries"]
    x = tg.empty(free * 3 // 4, dtype=tg.uint8, device="cuda")
    assert tg.cuda.memory_stats()["num_alloc_retries"] == retries + 1
    del x
    tg.cuda.empty_cache()


@pytest.mark.parametrize("shape", [(5,), (300, 40), ()])
def test_pinned_memory(shape):
    x = tg.from_numpy(np.random.default_rng(0).standard_normal(shape))
    pinned = x.pin_memory()
    assert pinned.is_pinned() and not x.is_pinned() and pinned.pin_memory() is pinned
    np.testing.assert_array_equal(pinned.numpy(), x.numpy())
    there = pinned.to("cuda", non_blocking=True)
    back = (there * 2).to("cpu", non_blocking=True)
    assert back.is_pinned()
    tg.cuda.synchronize()
    np.testing.assert_array_equal(back.numpy(), x.numpy() * 2)
    into = tg.empty(shape, dtype=tg.float64).pin_memory()
    into.copy_(there, non_blocking=True)
    tg.cuda.synchronize()
    np.testing.assert_array_equal(into.numpy(), x.numpy())
    check_error(RuntimeError, "pin_memory", lambda: there.pin_memory())


def test_copies_that_need_not_wait_are_right_after_the_wait():
    side = tg.cuda.Stream()
    x = tg.arange(100_000, dtype=tg.float32).pin_memory()
    with tg.cuda.stream(side):
        there = x.to("cuda", non_blocking=True)
        done = side.record_event()
        twice = there * 2
        of_integers = there.to(tg.int64)
        back = of_integers.to("cpu", non_blocking=True)
    tg.cuda.current_stream().wait_event(done)
    assert (there - tg.arange(100_000, dtype=tg.float32, device="cuda")).abs().max().item() == 0
    side.synchronize()
    assert back.tolist() == list(range(100_000)) and twice[-1].item() == 199_998


def test_pageable_memory_may_be_reused_at_once():
    x = tg.ones(1000)
    side = tg.cuda.Stream()
    with tg.cuda.stream(side):
        there = x.to("cuda", non_blocking=True)
        x.fill_(2)
        assert there.sum().item() == 1000


@pytest.mark.parametrize("strides", ["contiguous", "transposed", "sliced", "expanded"])
def test_copies_of_any_layout(strides):
    array = np.arange(60.0).reshape(3, 4, 5)
    x = {
        "contiguous": lambda m: m,
        "transposed": lambda m: m.permute(2, 0, 1),
        "sliced": lambda m: m[:, 1::2, ::3],
        "expanded": lambda m: m[:, :1, :1].expand(3, 4, 5),
    }[strides](tg.from_numpy(array))
    there = x.to("cuda")
    assert there.tolist() == x.tolist()
    if strides == "transposed":
        assert there.stride() == x.stride()  # dense memory keeps its order
    for dtype in (tg.float32, tg.int32, tg.float16, tg.bfloat16, tg.bool, tg.complex64):
        assert there.to(dtype).cpu().tolist() == x.to(dtype).tolist()
        assert x.to("cuda", dtype).cpu().tolist() == x.to(dtype).tolist()
        assert there.to("cpu", dtype).tolist() == x.to(dtype).tolist()
    target = tg.zeros(5, 4, 3, device="cuda").transpose(0, 2)
    if x.shape == target.shape:
        target.copy_(x)
        assert target.tolist() == x.tolist()


def in_child(queue) -> None:
    try:
        tg.ones(2, device="cuda")
    except RuntimeError as error:
        queue.put(str(error))
    else:
        queue.put("no error")
    queue.put((tg.ones(3) + 1).tolist())


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_told():
    x = tg.ones(3, device="cuda")
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=in_child, args=(queue,))
    child.start()
    assert "Cannot re-initialize CUDA in forked subprocess" in queue.get()
    assert queue.get() == [2, 2, 2]  # the CPU goes on
    child.join()
    assert child.exitcode == 0 and x.sum().item() == 3


def test_every_block_can_be_the_cards_own():
    """For tools that look for accesses out of bounds."""
    code = """
        import tilegrad as tg
        x = tg.ones(1000, device="cuda")
        y = (x @ x).item()
        del x
        print(y, tg.cuda.memory_reserved())
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={**os.environ, "TILEGRAD_NO_CUDA_MEMORY_CACHING": "1"},
        check=True,
    )
    assert run.stdout.split() == ["1000.0", "0"]
