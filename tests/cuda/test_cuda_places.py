"""Ways to name a device: numbers, ``with device(...)`` blocks, memory formats on the way."""

from __future__ import annotations

import threading

import pytest

import tilegrad as tg
from support import check_error

pytestmark = pytest.mark.gpu
CARD = tg.device("cuda", 0)


def test_a_number_is_a_card():
    assert tg.device(0) == CARD == tg.device(index=0)
    x = tg.ones(2, dtype=tg.float64)
    assert x.to(0).device == x.to(device=0).device == x.cuda(0).device == CARD
    there = x.to(0, tg.float32, True)
    assert there.dtype is tg.float32 and there.device == CARD
    net = tg.nn.Linear(2, 3)
    assert net.to(0) is net and net.weight.device == CARD and net.to("cpu").to(device=0) is net
    assert net.to(0, tg.float64).bias.dtype is tg.float64
    assert tg.nn.Linear(2, 3, device=0).weight.device == CARD
    assert net.cpu().to_empty(device=0).weight.device == CARD
    check_error(RuntimeError, "device", lambda: tg.device(77))
    check_error(RuntimeError, "at least 0, got -1", lambda: tg.device(-1))
    check_error(TypeError, "device", lambda: tg.device(True))
    check_error(TypeError, "device", lambda: tg.device(0.5))
    check_error(RuntimeError, "must be cuda device, got cpu", lambda: x.cuda("cpu"))


def test_with_device_makes_tensors_there():
    numbers = tg.ones(2).numpy()
    with tg.device("cuda") as device:
        assert device == CARD == tg.get_default_device()
        made = [tg.ones(2), tg.tensor([1.0]), tg.randn(2), tg.arange(3), tg.empty(1), tg.eye(2),
                tg.nn.Linear(2, 2).weight, tg.hann_window(3), tg.as_tensor([1])]  # fmt: skip
        assert all(x.device == CARD for x in made)
        assert tg.from_numpy(numbers).device.type == "cpu"  # shares the array's memory
        assert tg.zeros(1, device="cpu").device.type == "cpu"
        assert tg.ones_like(tg.zeros(1, device="cpu")).device.type == "cpu"
        with tg.device("cpu"):
            assert tg.ones(2).device.type == "cpu"
        assert tg.ones(2).device == CARD
        other = []
        thread = threading.Thread(target=lambda: other.append(tg.ones(1).device.type))
        thread.start(), thread.join()
        assert other == ["cpu"]  # a block is about its thread
    assert tg.ones(2).device.type == "cpu" == tg.get_default_device().type
    with pytest.raises(ValueError, match="left"), tg.device(0):
        raise ValueError("left")
    assert tg.ones(2).device.type == "cpu"
    tg.set_default_device(0)
    try:
        assert tg.tensor(1.0).device == CARD
        with tg.device("cpu"):
            assert tg.tensor(1.0).device.type == "cpu"
    finally:
        tg.set_default_device(None)


def test_memory_format_on_the_way_to_a_card():
    x = tg.randn(2, 3, 4, 5)
    there = x.cuda(memory_format=tg.channels_last)
    assert there.device == CARD and there.is_contiguous(memory_format=tg.channels_last)
    assert tg.equal(there.cpu(), x)
    assert x.cuda(None, True).device == CARD
