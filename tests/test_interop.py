"""Memory shared with other libraries and processes: DLPack, buffers, storages, queues."""

from __future__ import annotations

import copy
import gc
import hashlib
import multiprocessing
import os
import pickle
import weakref
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check_error, complex_randn
from tilegrad import _C

DTYPES = ["float16", "bfloat16", "float32", "float64", "bool"]
DTYPES += ["uint8", "int8", "int16", "int32", "int64"]


# --- DLPack --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("version", [None, (1, 0), (0, 8)])
def test_dlpack_with_pytorch(dtype, version):
    ours = tg.arange(6).reshape(2, 3).to(getattr(tg, dtype)).t()
    theirs = torch.utils.dlpack.from_dlpack(ours.__dlpack__(max_version=version))
    assert str(theirs.dtype) == f"torch.{dtype}" and theirs.stride() == (1, 3)
    assert theirs.data_ptr() == ours.data_ptr() and theirs.tolist() == ours.tolist()
    back = tg.from_dlpack(theirs)
    assert back.dtype is ours.dtype and back.stride() == (1, 3)
    back[0, 0] = 1
    assert ours[0, 0].item() == theirs[0, 0].item() == 1


def test_dlpack_with_numpy():
    x = tg.arange(6.0).reshape(2, 3)
    array = np.from_dlpack(x)
    x[0, 0] = 5
    assert array[0, 0] == 5 and tg.from_dlpack(array).tolist() == x.tolist()
    assert tg.from_dlpack(np.zeros((0, 3))).shape == (0, 3)
    assert tg.from_dlpack(np.array(2.5)).item() == 2.5
    readonly = np.arange(3)
    readonly.flags.writeable = False
    with pytest.raises(RuntimeError, match="read-only"):
        tg.from_dlpack(readonly).fill_(0)


def test_dlpack_keeps_the_memory_alive():
    class Array(np.ndarray):
        pass

    array = np.arange(1000.0).view(Array)
    watch = weakref.ref(array)
    x = tg.from_dlpack(array)
    del array
    gc.collect()
    assert watch() is not None and x.sum().item() == 499500
    del x
    gc.collect()
    assert watch() is None
    there = torch.from_dlpack(tg.full((1000,), 3.0)[500:])
    others = [tg.full((1000,), 9.0) for _ in range(10)]
    assert (there == 3).all() and len(others) == 10


def test_capsules_are_used_once():
    capsule = tg.ones(2).__dlpack__()
    assert tg.from_dlpack(capsule).tolist() == [1, 1]
    check_error(RuntimeError, "already taken", lambda: tg.from_dlpack(capsule))
    unused = [tg.ones(2).__dlpack__(max_version=v) for v in (None, (1, 0))]
    assert len(unused) == 2  # released with their tensors
    assert tg.utils.dlpack.from_dlpack(tg.utils.dlpack.to_dlpack(tg.ones(2))).tolist() == [1, 1]


def test_dlpack_devices_and_copies():
    x = tg.ones(3)
    assert x.__dlpack_device__() == (1, 0)
    shared, copied = tg.from_dlpack(x, copy=False), tg.from_dlpack(x, copy=True)
    assert shared.data_ptr() == x.data_ptr() != copied.data_ptr()
    assert tg.from_dlpack(x, device="cpu").data_ptr() == x.data_ptr()
    assert np.from_dlpack(x, copy=True)[0] == 1


def test_dlpack_complaints():
    x = tg.ones(2, requires_grad=True)
    check_error(BufferError, "detach", lambda: tg.from_dlpack(x))
    check_error(TypeError, "capsule", lambda: tg.from_dlpack([1]))
    check_error(TypeError, "no dtype", lambda: tg.from_dlpack(np.ones(2, np.uint16)))
    check_error(ValueError, "negative strides", lambda: tg.from_dlpack(np.ones(3)[::-1]))
    check_error(BufferError, "cannot export", lambda: tg.ones(2).__dlpack__(dl_device=(2, 0)))
    check_error(BufferError, "no stream", lambda: tg.ones(2).__dlpack__(stream=3))


# --- buffers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "bfloat16"])
def test_memoryviews(dtype):
    x = tg.arange(6).reshape(2, 3).to(getattr(tg, dtype))
    view = memoryview(x)
    array = np.asarray(view)
    assert array.dtype.name == dtype and view.shape == (2, 3) and not view.readonly
    assert array.tolist() == x.tolist() and bytes(x) == x.numpy().tobytes()
    array[1, 2] = 0
    assert x[1, 2].item() == 0
    assert np.asarray(memoryview(x.t())).tolist() == x.t().tolist()


def test_a_view_outlives_the_tensor():
    x = tg.arange(1000)
    view = memoryview(x)
    x.data = tg.zeros(1)
    del x
    others = [tg.zeros(1000) for _ in range(10)]
    assert view[999] == 999 and len(others) == 10


def test_buffers_that_are_refused():
    check_error(BufferError, "requires grad", lambda: memoryview(tg.ones(2, requires_grad=True)))
    check_error(BufferError, "bfloat16", lambda: memoryview(tg.ones(2).bfloat16()))
    check_error(BufferError, "not contiguous", lambda: hashlib.sha1(tg.ones(2, 3).t()))
    x = tg.from_numpy(np.frombuffer(b"abcd", np.uint8))
    assert memoryview(x).readonly


def test_frombuffer():
    for dtype in DTYPES:
        data = bytearray(range(16)) if dtype != "bool" else bytearray([0, 1] * 8)
        for options in ({}, {"count": 1}, {"offset": 8}, {"offset": 8, "count": 1}):
            ours = tg.frombuffer(data, dtype=getattr(tg, dtype), **options)
            theirs = torch.frombuffer(data, dtype=getattr(torch, dtype), **options)
            assert ours.numel() == theirs.numel()
            np.testing.assert_array_equal(ours.double().numpy(), theirs.double().numpy())
    x = tg.frombuffer(data, dtype=tg.int8)
    data[0] = 9
    assert x[0].item() == 9
    for options in ({"offset": 16}, {"count": 0}, {"count": 5}, {"offset": 1}, {"offset": -4}):
        with pytest.raises(ValueError, match="frombuffer"):
            tg.frombuffer(data, dtype=tg.float32, **options)
    check_error(TypeError, "bytes-like", lambda: tg.frombuffer(3, dtype=tg.int8))
    check_error(TypeError, "dtype", lambda: tg.frombuffer(data, dtype="int8"))
    check_error(ValueError, "must not be 0", lambda: tg.frombuffer(b"", dtype=tg.int8))


def test_asarray():
    array = np.arange(3.0)
    assert tg.asarray(array).data_ptr() == array.ctypes.data
    assert tg.asarray(array, copy=True).data_ptr() != array.ctypes.data
    assert tg.asarray([1, 2]).dtype is tg.int64 and tg.asarray(np.float32(2)).item() == 2
    assert tg.asarray(torch.ones(2)).tolist() == [1, 1]
    x = tg.ones(2, requires_grad=True)
    assert not tg.asarray(x).requires_grad and tg.asarray(x, requires_grad=True) is x
    check_error(ValueError, "alias", lambda: tg.asarray([1], copy=False))
    check_error(ValueError, "alias", lambda: tg.asarray(array, dtype=tg.float32, copy=False))


def test_numpy_two():
    x = tg.arange(3.0)
    assert np.array(x, copy=False).ctypes.data == x.data_ptr()
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    check_error(ValueError, "copy", lambda: x.__array__(np.float64, copy=False))
    check_error(RuntimeError, "detach", lambda: np.asarray(tg.ones(2, requires_grad=True)))


@pytest.mark.parametrize(
    "function",
    [
        lambda x, a: x * a,
        lambda x, a: x / a,
        lambda x, a: x - a,
        lambda x, a: x**a,
        lambda x, a: x == a,
        lambda x, a: np.float64(2) * x,
        lambda x, a: x * np.float32(2),
        lambda x, a: np.add(a, x),
        lambda x, a: np.sin(x),
        lambda x, a: np.maximum(x, 1),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch's __array_wrap__
def test_numpy_operators(function):
    a = np.array([2.0, 1.0, 4.0])
    ours, theirs = function(tg.arange(3.0), a), function(torch.arange(3.0), a)
    assert isinstance(ours, tg.Tensor) and isinstance(theirs, torch.Tensor)
    assert str(ours.dtype).split(".")[1] == str(theirs.dtype).split(".")[1]
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)


def test_arrays_on_the_left_are_refused_as_in_pytorch():
    for m in (tg, torch):
        check_error(TypeError, "numpy.ndarray", lambda: np.ones(3) * m.ones(3))
    x = tg.ones(3, requires_grad=True)
    (x * np.arange(3.0)).sum().backward()
    assert x.grad.tolist() == [0, 1, 2]


# --- storages ------------------------------------------------------------------------------------


def test_storages():
    x = tg.arange(6.0).reshape(2, 3)
    for m, y in ((tg, x), (torch, torch.arange(6.0).reshape(2, 3))):
        storage, typed = y[1].untyped_storage(), y[1].storage() if m is tg else None
        assert storage.nbytes() == 24 and len(storage) == 24 and storage.data_ptr() == y.data_ptr()
        assert typed is None or (
            typed.size() == 6 and typed[5] == 5 and typed.tolist() == [*range(6)]
        )
    x.storage()[0] = 7
    assert x[0, 0].item() == 7 and x.untyped_storage().tolist()[2:4] == [224, 64]
    assert tg.UntypedStorage(8).nbytes() == 8
    assert tg.is_tensor(x) and not tg.is_tensor(x.numpy()) and tg.is_tensor(tg.nn.Parameter(x))
    assert tg.is_storage(x.storage()) and tg.is_storage(x.untyped_storage())
    assert not tg.is_storage(x)
    check_error(TypeError, "number of bytes", lambda: tg.UntypedStorage("x"))
    check_error(RuntimeError, "outside", lambda: _C.storage_view(x, tg.float32, (7,), (1,), 0))


# --- processes -----------------------------------------------------------------------------------


def test_deepcopy_keeps_parameters_and_attributes():
    layer = tg.nn.Linear(2, 2)
    layer.weight.note = [1]
    copied = copy.deepcopy(layer)
    assert copied.weight.note == [1] and copied.weight.note is not layer.weight.note
    assert type(copied.weight) is tg.nn.Parameter and copied.weight.requires_grad


def test_deepcopy_keeps_layouts_and_shared_storages():
    for m in (tg, torch):
        x = m.arange(6.0).reshape(2, 3)
        a, b, c = copy.deepcopy([x, x.t(), x[1:]])
        a.fill_(1)
        assert b.stride() == (1, 3) and c.storage_offset() == 3
        assert b.tolist() == [[1, 1]] * 3 and c.tolist() == [[1, 1, 1]] and x[1, 2].item() == 5


@pytest.mark.parametrize("dtype", DTYPES)
def test_pickles(dtype):
    x = tg.arange(4).to(getattr(tg, dtype)).reshape(2, 2).t()
    for protocol in range(2, 6):
        y = pickle.loads(pickle.dumps(x, protocol))
        assert y.dtype is x.dtype and y.tolist() == x.tolist()


def test_share_memory():
    x = tg.arange(6.0)
    view = x[2:]
    assert not x.is_shared() and x.share_memory_() is x and x.is_shared() and view.is_shared()
    assert x.tolist() == [0, 1, 2, 3, 4, 5] and view.tolist() == [2, 3, 4, 5]
    if os.fork() == 0:
        view.fill_(9)
        os._exit(0)
    os.wait()
    assert x.tolist() == [0, 1, 9, 9, 9, 9]
    assert tg.empty(0).share_memory_().shape == (0,)
    frees = tg.ones(10).share_memory_()
    address = frees.data_ptr()
    del frees
    gc.collect()
    assert not any(y.is_shared() for y in [tg.ones(10)] if y.data_ptr() == address)


def _child(tasks: Any, results: Any) -> None:
    x = tasks.get()
    results.put((x * 2).detach())
    x.detach().fill_(7)
    results.put("done")
    tasks.get()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_queues_share_memory(method):
    import tilegrad.multiprocessing  # registers the way tensors are sent

    context = multiprocessing.get_context(method)
    tasks, results = context.Queue(), context.Queue()
    child = context.Process(target=_child, args=(tasks, results))
    child.start()
    x = tg.nn.Parameter(tg.arange(3.0))
    tasks.put(x)
    assert results.get(timeout=60).tolist() == [0, 2, 4]
    assert results.get(timeout=60) == "done" and x.tolist() == [7, 7, 7] and x.is_shared()
    tasks.put(None)
    child.join(60)
    assert child.exitcode == 0
    with pytest.raises(RuntimeError, match="non-leaf"):
        tilegrad.multiprocessing.reductions.reduce_tensor(x * 2)


def _rank(rank: int, x: Any, fail: bool) -> None:
    if fail and rank == 1:
        raise ValueError("rank one fails")
    x[rank] = rank + 1


def test_spawn():
    from tilegrad import multiprocessing as mp

    x = tg.zeros(3).share_memory_()
    mp.spawn(_rank, args=(x, False), nprocs=3)
    assert x.tolist() == [1, 2, 3]
    with pytest.raises(mp.ProcessRaisedException, match="rank one fails"):
        mp.start_processes(_rank, args=(x, True), nprocs=2, start_method="fork")
    assert mp.get_sharing_strategy() == "file_descriptor"
    check_error(ValueError, "expected", lambda: mp.set_sharing_strategy("pigeons"))


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_memory_is_shared(dtype):
    array = complex_randn(3, 4, dtype=dtype).T
    x = tg.from_numpy(array)
    assert x.numpy().__array_interface__["data"] == array.__array_interface__["data"]
    for shared in (tg.from_dlpack(array), tg.from_dlpack(torch.from_numpy(array))):
        assert shared.data_ptr() == x.data_ptr()
        assert shared.dtype is x.dtype
    assert torch.from_dlpack(x).data_ptr() == x.data_ptr()
    np.testing.assert_array_equal(np.asarray(memoryview(x.t())), array.T)
    assert x[0, 0].item() == array[0, 0] == complex(x[0, 0])
    assert x.tolist() == array.tolist()
