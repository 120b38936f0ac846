"""What one process accepts of PyTorch's world: groups of one, wrappers, switches, recomputation."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check, check_error, randn
from tilegrad import distributed
from tilegrad.utils.checkpoint import (
    checkpoint,
    checkpoint_sequential,
    get_device_states,
    set_device_states,
)

# --- groups of one process ------------------------------------------------------------------------


@pytest.fixture
def group():
    distributed.init_process_group("gloo")
    yield
    distributed.destroy_process_group()


def test_collectives_of_one_process(group):
    x, y = tg.ones(2), tg.zeros(2)
    distributed.all_reduce(x)
    assert distributed.all_reduce(x, async_op=True).wait() and x.tolist() == [1, 1]
    distributed.all_gather([y], x)
    assert y.tolist() == [1, 1]
    z = tg.zeros(2)
    distributed.all_gather_into_tensor(z, x)
    distributed.scatter(y, [tg.full((2,), 3.0)])
    assert z.tolist() == [1, 1] and y.tolist() == [3, 3]
    objects: list[Any] = [None]
    distributed.all_gather_object(objects, {"a": 1})
    assert objects == [{"a": 1}]
    distributed.broadcast(x, 0)
    distributed.barrier()
    assert (distributed.get_rank(), distributed.get_world_size()) == (0, 1)
    assert distributed.get_backend() == "gloo" and distributed.new_group([0]).size() == 1


def test_groups_that_cannot_be_made(group, monkeypatch):
    check_error(ValueError, "twice", distributed.init_process_group)
    check_error(ValueError, "rank 1", lambda: distributed.broadcast(tg.ones(1), 1))
    check_error(ValueError, "cannot send", lambda: distributed.send(tg.ones(1), 1))
    check_error(ValueError, "1 process", lambda: distributed.all_gather([], tg.ones(1)))
    distributed.destroy_process_group()
    try:
        check_error(
            NotImplementedError, "got 2", lambda: distributed.init_process_group(world_size=2)
        )
        monkeypatch.setenv("WORLD_SIZE", "4")
        check_error(NotImplementedError, "got 4", distributed.init_process_group)
        check_error(ValueError, "not been initialized", distributed.get_rank)
        check_error(
            ValueError, "initialized", lambda: tg.nn.parallel.DistributedDataParallel(tg.nn.ReLU())
        )
    finally:
        monkeypatch.delenv("WORLD_SIZE")
        distributed.init_process_group()


def test_differentiable_collectives_of_one_process(group):
    from tilegrad.distributed import nn

    x = tg.tensor([1.0, 2.0], requires_grad=True)
    gathered, collected = nn.all_gather(x), nn.gather(x)
    exchanged = nn.all_to_all([tg.zeros(2)], [x])
    assert len(gathered) == len(collected) == len(exchanged) == 1
    results = [
        gathered[0],
        collected[0],
        exchanged[0],
        nn.all_reduce(x),
        nn.broadcast(x, 0),
        nn.reduce(x, 0),
        nn.scatter([x]),
        nn.reduce_scatter(tg.zeros(2), [x]),
        nn.all_to_all_single(tg.zeros(2), x),
    ]
    for result in results:
        assert result.tolist() == x.tolist() and result.data_ptr() != x.data_ptr()
    sum((result * (i + 1)).sum() for i, result in enumerate(results)).backward()
    assert x.grad.tolist() == [45.0, 45.0]
    check_error(ValueError, "rank 1", lambda: nn.broadcast(x, 1))
    check_error(ValueError, "2 entries", lambda: nn.scatter([x, x]))


def test_differentiable_collectives_need_a_group():
    from tilegrad.distributed.nn.functional import all_reduce

    check_error(ValueError, "initialized", lambda: all_reduce(tg.ones(2)))


def test_wrappers_pass_calls_on(group):
    layer = tg.nn.Linear(2, 3)
    x = tg.ones(1, 2)
    for wrap in (tg.nn.parallel.DistributedDataParallel, tg.nn.parallel.DataParallel):
        wrapped = wrap(layer)
        assert list(wrapped.state_dict()) == ["module.weight", "module.bias"]
        there = x.to(layer.weight.device)  # where there is a device, DataParallel uses it
        assert wrapped(x).tolist() == layer(there).tolist()
        assert wrapped.module is layer
    ddp = tg.nn.parallel.DistributedDataParallel(layer)
    with ddp.no_sync():
        assert not ddp.require_backward_grad_sync
    assert ddp.require_backward_grad_sync
    check_error(
        NotImplementedError, "one device", lambda: tg.nn.parallel.DataParallel(layer, [0, 1])
    )


# --- recomputation -------------------------------------------------------------------------------


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoint(reentrant):
    def function(m, x, w):
        def part(a, b):
            return m.tanh(a @ b), (a * 2).sum()

        y, z = m.utils.checkpoint.checkpoint(part, x, w, use_reentrant=reentrant)
        return (y * y).sum() * z

    check(function, randn(3, 4), randn(4, 4, seed=1))


def test_checkpoint_computes_twice_and_keeps_nothing():
    calls, kept = [], []

    def part(x):
        calls.append(tg.is_grad_enabled())
        y = tg.exp(x)
        kept.append(y.grad_fn)
        return y

    x = tg.ones(3, requires_grad=True)
    y = checkpoint(part, x)
    assert calls == [False] and kept == [None]
    y.sum().backward()
    assert calls == [False, True] and x.grad.tolist() == y.tolist()
    with tg.no_grad():
        assert not checkpoint(part, x).requires_grad


def test_checkpoint_draws_the_same_numbers_again():
    def part(x):
        return x * tg.rand(5)

    tg.manual_seed(0)
    x = tg.ones(5, requires_grad=True)
    y = checkpoint(part, x)
    state = tg.get_rng_state()
    y.sum().backward()
    assert x.grad.tolist() == y.tolist()  # the factors of the first run
    assert tg.get_rng_state().tolist() == state.tolist()


def test_device_states_without_a_card():
    devices, states = get_device_states(tg.ones(2), 3, None)
    assert (devices, states) == torch.utils.checkpoint.get_device_states(torch.ones(2), 3, None)
    set_device_states(devices, states)


def test_checkpoint_of_parameters_alone_and_of_sequences():
    layers = tg.nn.Sequential(*[tg.nn.Linear(3, 3) for _ in range(5)])
    x = tg.ones(2, 3)
    layers(x).sum().backward()
    expected = [p.grad.clone() for p in layers.parameters()]
    for run in (
        lambda: checkpoint(layers, x),
        lambda: checkpoint_sequential(layers, 2, x),
        lambda: checkpoint_sequential(list(layers), 5, x),
    ):
        layers.zero_grad()
        run().sum().backward()
        for p, grad in zip(layers.parameters(), expected, strict=True):
            np.testing.assert_allclose(p.grad.numpy(), grad.numpy(), rtol=1e-6)
    check_error(ValueError, "segments", lambda: checkpoint_sequential(layers, 9, x))
    check_error(TypeError, "function", lambda: checkpoint(3, x))


# --- switches ------------------------------------------------------------------------------------


def test_switches_remember():
    tg.use_deterministic_algorithms(True, warn_only=True)
    assert tg.are_deterministic_algorithms_enabled() and tg.get_deterministic_debug_mode() == 1
    tg.set_deterministic_debug_mode("error")
    assert not tg.is_deterministic_algorithms_warn_only_enabled()
    tg.use_deterministic_algorithms(False)
    assert tg.get_deterministic_debug_mode() == 0
    tg.set_float32_matmul_precision("high")
    assert tg.get_float32_matmul_precision() == "high" and tg.backends.cuda.matmul.allow_tf32
    tg.set_float32_matmul_precision("highest")
    assert not tg.backends.cuda.matmul.allow_tf32
    tg.backends.cuda.matmul.allow_tf32 = True
    assert tg.backends.cuda.matmul.allow_tf32 is True
    tg.backends.cuda.matmul.allow_tf32 = False
    check_error(ValueError, "highest", lambda: tg.set_float32_matmul_precision("low"))
    assert tg.get_default_device() == tg.device("cpu") and tg.set_default_device("cpu") is None
    with tg.backends.cudnn.flags(enabled=False, benchmark=True):
        assert tg.backends.cudnn.benchmark and not tg.backends.cudnn.enabled
    assert not tg.backends.cudnn.benchmark and not tg.backends.cudnn.is_available()
    with tg.backends.cuda.sdp_kernel(enable_math=False):
        assert not tg.backends.cuda.math_sdp_enabled()
    assert tg.backends.cuda.math_sdp_enabled() and not tg.backends.mps.is_available()


def test_convolutions_are_tf32_only_where_asked_for():
    cudnn = tg.backends.cudnn
    assert cudnn.allow_tf32 is False
    with cudnn.flags(enabled=True, allow_tf32=True):
        assert cudnn.allow_tf32 is True and not tg.backends.cuda.matmul.allow_tf32
        with cudnn.flags():
            assert cudnn.allow_tf32 is False
        assert cudnn.allow_tf32 is True
    assert cudnn.allow_tf32 is False
    check_error(TypeError, "expected a bool, got int", lambda: setattr(cudnn, "allow_tf32", 1))


def test_small_numbers_are_flushed_where_asked():
    small = tg.full((100_000,), 1e-38)
    try:
        if not tg.set_flush_denormal(True):
            pytest.skip("this processor computes with small numbers only")
        assert not (small * 0.5).any()
    finally:
        assert tg.set_flush_denormal(False) in (True, False)
    assert (small * 0.5 > 0).all()
    check_error(TypeError, "expected a bool", lambda: tg.set_flush_denormal(1))


def test_compile_and_script_return_what_they_get():
    layer = tg.nn.Linear(2, 2)
    assert tg.compile(layer) is layer and tg.jit.script(layer) is layer

    @tg.compile(mode="max-autotune")
    def f(x):
        return x + 1

    @tg.jit.script
    def g(x):
        return x + 1

    assert f(1) == g(1) == 2 and tg.jit.trace(layer, tg.ones(1, 2)) is layer
    check_error(TypeError, "compile", lambda: tg.compile(3))
    check_error(NotImplementedError, "state_dict", lambda: tg.jit.save(layer, io.BytesIO()))


def test_cuda_without_a_device():
    tg.cuda.manual_seed_all(3)
    with tg.cuda.device(0), tg.cuda.stream(tg.cuda.current_stream()):
        pass
    start, end = tg.cuda.Event(enable_timing=True), tg.cuda.Event(enable_timing=True)
    start.record()
    end.record()
    assert start.elapsed_time(end) >= 0 and tg.accelerator.is_available() == tg.cuda.is_available()
    check_error(RuntimeError, "enable_timing", lambda: tg.cuda.Event().elapsed_time(end))
    check_error(RuntimeError, "'cuda:3'", lambda: tg.cuda.set_device(3))
    assert tg.random.get_rng_state().numel() and tg.version.cuda is None
    tg.manual_seed(1)
    with tg.random.fork_rng():
        first = tg.rand(1).item()
    assert tg.rand(1).item() == first


def test_every_tensor_is_strided():
    x = tg.ones(2)
    assert x.layout is tg.strided and x.is_cpu and not x.is_sparse and not x.is_quantized
    assert repr(tg.sparse_coo).endswith("sparse_coo")


# --- names and files -----------------------------------------------------------------------------


def test_pytorchs_module_names():
    from tilegrad.nn.modules.batchnorm import _BatchNorm
    from tilegrad.nn.modules.conv import Conv2d
    from tilegrad.nn.modules.rnn import LSTM

    from tilegrad.nn.modules import Linear, utils

    assert Linear is tg.nn.Linear and Conv2d is tg.nn.Conv2d and LSTM is tg.nn.LSTM
    assert issubclass(tg.nn.BatchNorm2d, _BatchNorm)
    for name in ("_single", "_pair", "_triple", "_quadruple"):
        theirs = getattr(torch.nn.modules.utils, name)
        assert getattr(utils, name)(3) == theirs(3) and getattr(utils, name)([1]) == theirs([1])
    with pytest.raises(AttributeError, match="NoSuchLayer"):
        tg.nn.modules.conv.NoSuchLayer  # noqa: B018


def test_downloads(tmp_path, monkeypatch):
    source = io.BytesIO()
    torch.save({"x": torch.ones(2)}, source)
    content = source.getvalue()
    digest = hashlib.sha256(content).hexdigest()[:8]
    name = f"net-{digest}.pth"
    (tmp_path / name).write_bytes(content)
    (tmp_path / "net-00000000.pth").write_bytes(content)
    home = tmp_path / "home"
    url = (tmp_path / name).as_uri()
    state = tg.hub.load_state_dict_from_url(url, str(home), progress=False, check_hash=True)
    assert state["x"].tolist() == [1, 1] and (home / name).exists()
    check_error(
        RuntimeError,
        "invalid hash value",
        lambda: tg.hub.load_state_dict_from_url(
            (tmp_path / "net-00000000.pth").as_uri(), str(home), progress=False, check_hash=True
        ),
    )
    assert sorted(p.name for p in home.iterdir()) == [name]
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert tg.hub.get_dir() == str(tmp_path / "torch" / "hub")
    check_error(NotImplementedError, "clone it", lambda: tg.hub.load("a/b", "c"))


def test_what_the_backends_say():
    assert tg.backends.cpu.get_cpu_capability() == str(tg.config()["isa"]).upper()
    assert tg.backends.cuda.is_built() == (tg.config()["cuda"] == "on")
