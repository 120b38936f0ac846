"""Streams, events and the current device beside PyTorch's rules."""

from __future__ import annotations

import threading

import pytest

import tilegrad as tg
from support import check_error

pytestmark = pytest.mark.gpu


def test_the_default_stream_is_current_until_another_is():
    default = tg.cuda.default_stream()
    assert tg.cuda.current_stream() == default and default.cuda_stream == 0
    side = tg.cuda.Stream()
    assert side != default and side.device == tg.device("cuda", 0)
    with tg.cuda.stream(side):
        assert tg.cuda.current_stream() == side
        with tg.cuda.stream(None):
            assert tg.cuda.current_stream() == side
        seen = []
        other = threading.Thread(target=lambda: seen.append(tg.cuda.current_stream()))
        other.start()
        other.join()
        assert seen == [default]
    assert tg.cuda.current_stream() == default
    tg.cuda.set_stream(side)
    assert tg.cuda.current_stream() == side
    tg.cuda.set_stream(default)
    assert len({tg.cuda.Stream() for _ in range(40)}) == 32
    assert tg.cuda.Stream(priority=-1).priority == -1 and "cuda:0" in repr(side)
    assert tg.cuda.ExternalStream(side.cuda_stream) == side


def test_work_of_two_streams_is_ordered_by_waiting():
    side = tg.cuda.Stream()
    x = tg.ones(1000, device="cuda")
    side.wait_stream(tg.cuda.current_stream())
    with tg.cuda.stream(side):
        y = (x * 3).sum()
    tg.cuda.current_stream().wait_stream(side)
    y.record_stream(tg.cuda.current_stream())
    assert (y + 1).item() == 3001
    side.synchronize()
    assert side.query() and tg.cuda.current_stream().query()


def test_memory_that_another_stream_uses_waits_for_it():
    side = tg.cuda.Stream()
    tg.cuda.empty_cache()
    x = tg.full((300_000,), 7.0, device="cuda")
    side.wait_stream(tg.cuda.current_stream())
    with tg.cuda.stream(side):
        y = x + 1
    x.record_stream(side)
    del x
    other = tg.zeros(300_000, device="cuda")  # would be the memory of x
    side.synchronize()
    assert y.min().item() == y.max().item() == 8 and other.sum().item() == 0
    check_error(RuntimeError, "CUDA tensor", lambda: tg.ones(2).record_stream(side))


def test_events():
    start, end = tg.cuda.Event(enable_timing=True), tg.cuda.Event(enable_timing=True)
    check_error(RuntimeError, "recorded", lambda: start.elapsed_time(end))
    assert end.query() and end.cuda_event == 0
    start.record()
    tg.ones(1000, device="cuda") + 1
    end.record()
    end.synchronize()
    assert end.query() and 0 <= start.elapsed_time(end) < 10_000 and end.cuda_event
    check_error(RuntimeError, "enable_timing", lambda: tg.cuda.Event().elapsed_time(end))
    side = tg.cuda.Stream()
    mark = side.record_event()
    mark.wait()
    mark.wait(side)
    side.wait_event(tg.cuda.Event())  # never recorded: nothing to wait for


def test_the_device_of_this_thread():
    assert tg.cuda.current_device() == 0
    last = tg.cuda.device_count() - 1
    with tg.cuda.device(last):
        assert tg.cuda.current_device() == last
        assert tg.ones(1, device="cuda").device == tg.device("cuda", last)
    assert tg.cuda.current_device() == 0
    with tg.cuda.device_of(tg.ones(1, device="cuda")):
        assert tg.cuda.current_device() == 0
    check_error(RuntimeError, "does not exist", lambda: tg.cuda.set_device(99))
    check_error(RuntimeError, "does not exist", lambda: tg.cuda.Stream("cuda:99"))
    major, minor = tg.cuda.get_device_capability()
    properties = tg.cuda.get_device_properties("cuda:0")
    assert (properties.major, properties.minor) == (major, minor) and major >= 8
    assert properties.name == tg.cuda.get_device_name() and properties.warp_size == 32
    assert tg.cuda.is_bf16_supported() and tg.cuda.is_initialized()


def test_the_default_device():
    try:
        tg.set_default_device("cuda")
        assert tg.get_default_device() == tg.device("cuda", 0)
        made = [tg.zeros(2), tg.tensor([1.0, 2.0]), tg.arange(3), tg.eye(2), tg.full((2,), 1.0)]
        made += [tg.as_tensor([1.0]), tg.linspace(0, 1, 3), tg.empty(1)]
        assert all(x.is_cuda for x in made) and not tg.ones(1, device="cpu").is_cuda
    finally:
        tg.set_default_device(None)
    assert not tg.zeros(2).is_cuda


def weight_gradient(layer, x, forward_stream, backward_stream):
    """The gradient of the weight, the two passes on streams of their own."""
    layer.zero_grad()
    with tg.cuda.stream(forward_stream):
        loss = layer(x).square().sum()
    with tg.cuda.stream(backward_stream):
        loss.backward()
        return layer.weight.grad.cpu()


@pytest.mark.parametrize("forward_aside", [True, False])
def test_backward_follows_the_streams_of_forward(forward_aside):
    tg.manual_seed(0)
    layer = tg.nn.Linear(16, 16).cuda()
    x = tg.randn(8, 16, device="cuda")
    default, side = tg.cuda.default_stream(), tg.cuda.Stream()
    expected = weight_gradient(layer, x, default, default)
    side.wait_stream(default)
    streams = (side, default) if forward_aside else (default, side)
    for _ in range(3):
        assert weight_gradient(layer, x, *streams).equal(expected)
    assert tg.cuda.current_stream() == default


def test_a_graph_of_several_streams_is_one_sequence_backward():
    x = tg.randn(1000, device="cuda", requires_grad=True)
    first, second = tg.cuda.Stream(), tg.cuda.Stream()
    first.wait_stream(tg.cuda.current_stream())
    with tg.cuda.stream(first):
        y = x * 3
    second.wait_stream(first)
    with tg.cuda.stream(second):
        z = (y * y).sum()
    tg.cuda.current_stream().wait_stream(second)
    (grad,) = tg.autograd.grad(z + x.sum(), x)
    assert grad.allclose(18 * x.detach() + 1)


def test_the_callers_stream_is_back_after_a_failed_backward():
    side = tg.cuda.Stream()
    with tg.cuda.stream(side):
        y = tg.ones(3, device="cuda", requires_grad=True).exp()
        y.register_hook(lambda grad: 1 / 0)
        loss = y.sum()
    with pytest.raises(ZeroDivisionError):
        loss.backward()
    assert tg.cuda.current_stream() == tg.cuda.default_stream()


def test_a_stream_is_a_with_block():
    before = tg.cuda.current_stream()
    first, second = tg.cuda.Stream(), tg.cuda.Stream(priority=-1)
    with first as entered:
        assert entered is first and tg.cuda.current_stream() == first
        x = tg.arange(5, device="cuda") * 2
        with second, first:
            assert tg.cuda.current_stream() == first
        assert tg.cuda.current_stream() == first
        with pytest.raises(ValueError, match="left"), second:
            raise ValueError("left")
        assert tg.cuda.current_stream() == first
    assert tg.cuda.current_stream() == before
    first.synchronize()
    assert x.tolist() == [0, 2, 4, 6, 8]


def test_the_range_of_priorities():
    least, most = tg.cuda.Stream.priority_range()
    assert least == 0 > most
    assert tg.cuda.Stream(priority=most).priority == most
    assert tg.cuda.Stream(priority=most - 9).priority == most
    assert tg.cuda.Stream(priority=least + 9).priority == least


def test_dlpack_orders_the_streams_of_both_sides():
    side = tg.cuda.Stream()
    side.wait_stream(tg.cuda.current_stream())
    with tg.cuda.stream(side):
        there = tg.arange(1000.0, device="cuda") * 2
        capsule = there.__dlpack__(stream=1)
    shared = tg.from_dlpack(capsule)
    assert shared.equal(tg.arange(1000.0, device="cuda") * 2)
    with tg.cuda.stream(side):
        made = tg.arange(1000.0, device="cuda") * 3
        assert (tg.from_dlpack(made) + 1)[-1].item() == 2998  # asked with this thread's stream
    seen = []

    class Owner:
        def __dlpack_device__(self):
            return there.__dlpack_device__()

        def __dlpack__(self, **wishes):
            seen.append(wishes["stream"])
            return there.__dlpack__(**wishes)

    tg.from_dlpack(Owner())
    with tg.cuda.stream(side):
        tg.from_dlpack(Owner())
    assert seen == [1, side.cuda_stream]
