"""Ranges and marks for NVIDIA's profilers: with a library that notes them, and without one."""

from __future__ import annotations

import threading

import pytest

import tilegrad as tg
from support import check_error
from tilegrad.cuda import nvtx


class Recorder:
    """Stands for the library, which takes bytes."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        def call(*args):
            self.calls.append((name, *args))
            return 7

        return call


@pytest.fixture
def library(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(nvtx, "_library", lambda: recorder)
    return recorder


def test_calls_reach_the_library(library):
    with tg.cuda.nvtx.range("step {} of {n}", 3, n=5):
        tg.cuda.nvtx.mark("here")
    assert nvtx.range_push("a") == 7 and nvtx.range_pop() == 7
    nvtx.range_end(nvtx.range_start("b"))
    assert library.calls == [
        ("nvtxRangePushA", b"step 3 of 5"), ("nvtxMarkA", b"here"), ("nvtxRangePop",),
        ("nvtxRangePushA", b"a"), ("nvtxRangePop",),
        ("nvtxRangeStartA", b"b"), ("nvtxRangeEnd", 7),
    ]  # fmt: skip


def test_a_range_is_a_decorator_and_ends_with_an_error(library):
    @nvtx.range("work")
    def work(x):
        return 1 / x

    assert work(2) == 0.5 and work(4) == 0.25
    check_error(ZeroDivisionError, "division", lambda: work(0))
    names = [name for name, *_ in library.calls]
    assert names == ["nvtxRangePushA", "nvtxRangePop"] * 3


def test_without_a_library_depths_are_counted(monkeypatch):
    monkeypatch.setattr(nvtx, "_library", lambda: None)
    assert (nvtx.range_push("a"), nvtx.range_push("b")) == (0, 1)
    depths = []
    thread = threading.Thread(target=lambda: depths.append(nvtx.range_push("other")))
    thread.start(), thread.join()
    assert depths == [0]
    assert (nvtx.range_pop(), nvtx.range_pop()) == (1, 0) and nvtx.range_pop() < 0
    assert nvtx.range_push("again") == 0 and nvtx.range_pop() == 0
    first, second = nvtx.range_start("x"), nvtx.range_start("y")
    assert first != second and nvtx.range_end(second) is None
    assert nvtx.mark("z") is None
    for call in (nvtx.range_push, nvtx.mark, nvtx.range_start):
        check_error(TypeError, "expected a str, got int", lambda call=call: call(3))
    check_error(TypeError, "range_end: expected an int", lambda: nvtx.range_end("x"))


def test_the_profiler_runs_everywhere():
    with tg.cuda.profiler.profile():
        assert tg.cuda.profiler.start() is None
    assert tg.cuda.profiler.stop() is None
