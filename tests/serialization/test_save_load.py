"""Checkpoints both ways: what PyTorch saves loads here, what is saved here loads in PyTorch."""

from __future__ import annotations

import argparse
import io
import os
import pathlib
import pickle
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check_error, complex_randn

DTYPES = ["float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64"]


def through(source: Any, target: Any, obj: Any, **named: Any) -> Any:
    """Saves with one library and loads with the other."""
    file = io.BytesIO()
    source.save(obj, file)
    file.seek(0)
    return target.load(file, **named)


def same(ours: Any, theirs: Any) -> None:
    """Equal containers, dtypes, layouts, attributes and values; tensors of either library."""
    if isinstance(theirs, (torch.Tensor, tg.Tensor)):
        assert type(ours).__name__ == type(theirs).__name__
        assert str(ours.dtype).split(".")[1] == str(theirs.dtype).split(".")[1]
        for what in ("shape", "stride", "storage_offset", "requires_grad"):
            a, b = getattr(ours, what), getattr(theirs, what)
            a, b = (a(), b()) if callable(a) else (a, b)
            assert (tuple(a) == tuple(b)) if isinstance(a, tuple) else a == b, what
        assert dict(ours.__dict__) == dict(theirs.__dict__)
        np.testing.assert_array_equal(
            ours.detach().double().numpy(), theirs.detach().double().numpy()
        )
    elif isinstance(theirs, dict):
        assert type(ours) is type(theirs) and list(ours) == list(theirs)
        for key in theirs:
            same(ours[key], theirs[key])
    elif isinstance(theirs, (list, tuple)) and type(theirs).__name__ != "Size":
        assert type(ours) is type(theirs) and len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)
    else:
        assert str(ours).split(".")[-1] == str(theirs).split(".")[-1]


def everything(m: Any) -> dict:
    """One object of each kind that a checkpoint holds, made with either library."""
    base = m.arange(12.0).reshape(3, 4)
    layer = m.nn.Linear(2, 3)
    optimizer = m.optim.AdamW(layer.parameters(), lr=0.01)
    layer(m.ones(4, 2)).sum().backward()
    optimizer.step()
    named, tagged = m.nn.Parameter(m.ones(2)), m.ones(2)
    named.note, tagged.tag = "x", 1
    return {
        "state": layer.state_dict(),
        "optimizer": optimizer.state_dict(),
        "parameters": [layer.weight, layer.bias, m.nn.Parameter(m.ones(1), False), named],
        "views": [base, base[:, ::2], base.t(), base[1:, 1:], base[0, 0], base[3:]],
        "leaf": m.ones(2, requires_grad=True),
        "tagged": tagged,
        "expanded": m.ones(1).expand(5),
        "bools": m.tensor([True, False]),
        "dtypes": [m.ones(2, dtype=getattr(m, name)) for name in DTYPES],
        "empty": [m.empty(0), m.empty(2, 0, 3), m.tensor(3), m.tensor(2.5)],
        "words": [m.float32, m.bfloat16, m.device("cpu"), m.ones(2, 3).shape],
        "plain": [1, 2.5, None, True, "ü", b"bytes\xff", (1, (2,)), {3}, 2**70, -5, 1 + 2j],
        "ordered": OrderedDict([("b", 1), ("a", [m.ones(1)])]),
    }


@pytest.mark.parametrize("source, target", [(torch, tg), (tg, torch), (tg, tg)])
def test_everything_both_ways(source, target):
    saved = everything(source)
    loaded = through(source, target, saved, weights_only=True)
    same(loaded, saved)


def test_the_older_format_loads():
    saved = everything(torch)
    file = io.BytesIO()
    torch.save(saved, file, _use_new_zipfile_serialization=False)
    loaded = tg.load(file)
    same(loaded, saved)
    assert loaded["views"][1].data_ptr() == loaded["views"][0].data_ptr()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_protocols(protocol):
    saved = {"x": torch.arange(6), "text": "a" * 300, "raw": b"b" * 300, "set": {1, 2}}
    file = io.BytesIO()
    torch.save(saved, file, pickle_protocol=protocol)
    same(tg.load(file), saved)
    file = io.BytesIO()
    tg.save(tg.load(io.BytesIO(file.getvalue())) if file.getvalue() else saved["set"], file)


@pytest.mark.parametrize("source, target", [(torch, tg), (tg, torch), (tg, tg)])
def test_storages_stay_shared(source, target):
    x = source.zeros(2, 3)
    a, b, c = through(source, target, [x, x.t(), x[1]])
    a.fill_(7)
    assert b.tolist() == [[7, 7]] * 3 and c.tolist() == [7, 7, 7]


def test_aliases_stay_one_object():
    x = tg.ones(2)
    a, b = through(tg, tg, [x, x])
    assert a is b


def test_equal_objects_give_equal_files():
    files = []
    for _ in range(2):
        file = io.BytesIO()
        tg.save({"x": tg.arange(5)}, file)
        files.append(file.getvalue())
    assert files[0] == files[1]


def test_arrays_and_namespaces_of_numpy_and_python():
    saved = {
        "scalar": np.float64(2.5),
        "small": np.float32(1.5),
        "flag": np.bool_(True),
        "array": np.arange(6).reshape(2, 3).T,
        "text": np.array(["ab", "c"]),
        "namespace": argparse.Namespace(lr=0.1, layers=[1, 2]),
        "default": defaultdict(list, a=[1]),
        "counter": Counter("hello"),
        "deque": deque([1, 2], 5),
        "frozen": frozenset({1}),
        "bytes": bytearray(b"ab"),
    }
    for source in (torch, tg):
        loaded = through(source, tg, saved)
        for key, value in saved.items():
            assert type(loaded[key]) is type(value), key
            np.testing.assert_array_equal(loaded[key], value)
        assert loaded["array"].strides == saved["array"].strides
        assert loaded["deque"].maxlen == 5 and loaded["default"].default_factory is list


def test_results_are_saved_as_data():
    loaded = through(tg, tg, tg.ones(2, requires_grad=True) * 3)
    assert loaded.tolist() == [3, 3] and loaded.is_leaf and not loaded.requires_grad


def test_a_state_dict_keeps_its_metadata():
    state = through(torch, tg, torch.nn.BatchNorm1d(2).state_dict())
    assert state._metadata[""] == {"version": 2}
    tg.nn.BatchNorm1d(2).load_state_dict(state)


def test_optimizers_continue_from_pytorch():
    theirs, ours = torch.nn.Linear(3, 2), tg.nn.Linear(3, 2)
    optimizers = [torch.optim.Adam(theirs.parameters()), tg.optim.Adam(ours.parameters())]
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    theirs(torch.from_numpy(x)).square().sum().backward()
    optimizers[0].step()
    state = {"model": theirs.state_dict(), "optimizer": optimizers[0].state_dict()}
    loaded = through(torch, tg, state)
    ours.load_state_dict(loaded["model"])
    optimizers[1].load_state_dict(loaded["optimizer"])
    for m, layer, optimizer in ((torch, theirs, optimizers[0]), (tg, ours, optimizers[1])):
        for _ in range(3):
            optimizer.zero_grad()
            layer(m.from_numpy(x)).square().sum().backward()
            optimizer.step()
    np.testing.assert_allclose(
        ours.weight.detach().numpy(), theirs.weight.detach().numpy(), rtol=1e-5
    )


# --- where tensors go -----------------------------------------------------------------------------


def test_map_location():
    file = io.BytesIO()
    torch.save({"x": torch.ones(2)}, file)
    raw = file.getvalue().replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    seen = []

    def keep(storage: Any, location: str) -> Any:
        seen.append((storage.nbytes(), location))
        return storage

    for location in ("cpu", tg.device("cpu"), {"cpu": "cpu"}, keep, lambda storage, location: None):
        assert tg.load(io.BytesIO(file.getvalue()), location)["x"].tolist() == [1, 1]
    assert seen == [(8, "cpu")]
    assert raw != file.getvalue()
    check_error(
        TypeError, "must return a storage", lambda: tg.load(file, lambda storage, location: 3)
    )


@pytest.mark.skipif(tg.cuda.is_available(), reason="there is a device")
def test_tensors_of_a_missing_device_need_a_map_location():
    state = {"x": torch.ones(2)}
    file = io.BytesIO()
    tagged = torch.serialization.location_tag
    torch.serialization.location_tag = lambda storage: "cuda:0"
    try:
        torch.save(state, file)
    finally:
        torch.serialization.location_tag = tagged
    check_error(RuntimeError, "map_location=torch.device", lambda: tg.load(file))
    for location in ("cpu", {"cuda:0": "cpu"}, lambda storage, location: storage):
        assert tg.load(file, map_location=location)["x"].tolist() == [1, 1]


# --- files ---------------------------------------------------------------------------------------


def test_paths_files_and_pipes(tmp_path):
    x = tg.arange(5)
    for path in (str(tmp_path / "a.pt"), tmp_path / "b.pt"):
        tg.save(x, path)
        assert tg.load(path).tolist() == torch.load(path).tolist() == [0, 1, 2, 3, 4]
    with open(tmp_path / "c.pt", "wb") as file:
        tg.save(x, file)
    with open(tmp_path / "c.pt", "rb") as file:
        assert tg.load(file).tolist() == x.tolist()
    os.mkfifo(tmp_path / "pipe")
    if os.fork() == 0:
        tg.save(x, tmp_path / "pipe")
        os._exit(0)
    with open(tmp_path / "pipe", "rb") as pipe:
        assert tg.load(io.BytesIO(pipe.read())).tolist() == x.tolist()
    os.wait()


def test_mapped_files(tmp_path):
    path = tmp_path / "x.pt"
    for source in (torch, tg):
        source.save({"x": source.arange(1000.0), "y": source.ones(3, dtype=source.int8)}, path)
        loaded = tg.load(path, mmap=True)
        assert loaded["x"].sum().item() == 499500 and loaded["y"].tolist() == [1, 1, 1]
        loaded["x"].fill_(0)  # of this process, not of the file
        assert tg.load(path)["x"].sum().item() == 499500
    assert torch.load(path, mmap=True)["x"].sum() == 499500
    check_error(ValueError, "path", lambda: tg.load(io.BytesIO(), mmap=True))


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.pt"
    tg.save(tg.ones(2), path)
    before = path.read_bytes()

    def fail(*args: Any) -> None:
        raise OSError("no space left")

    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        tg.save(lambda: 1, path)
    monkeypatch.setattr(tg.serialization, "write_archive", fail)
    with pytest.raises(OSError, match="no space"):
        tg.save(tg.zeros(2), path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["x.pt"]


def test_a_process_killed_while_saving_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.pt"
    tg.save(tg.ones(2), path)
    if os.fork() == 0:
        from tilegrad import serialization

        serialization.write_archive = lambda *args: os.kill(os.getpid(), 9)
        tg.save(tg.zeros(1000), path)
        os._exit(0)
    assert os.wait()[1] == 9
    assert tg.load(path).tolist() == [1, 1]


def test_permissions_and_links_are_kept(tmp_path):
    path, link = tmp_path / "x.pt", tmp_path / "link.pt"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    tg.save(tg.ones(2), link)
    assert link.is_symlink() and path.stat().st_mode & 0o777 == 0o640
    assert tg.load(path).tolist() == [1, 1]
    mask = os.umask(0o027)
    try:
        tg.save(tg.ones(2), tmp_path / "new.pt")
    finally:
        os.umask(mask)
    assert (tmp_path / "new.pt").stat().st_mode & 0o777 == 0o640


def test_complaints(tmp_path):
    check_error(TypeError, "argument 'f'", lambda: tg.save(1, 3))
    check_error(TypeError, "argument 'f'", lambda: tg.load(3))
    check_error(FileNotFoundError, "nothing", lambda: tg.load(tmp_path / "nothing"))
    check_error(FileNotFoundError, "no directory", lambda: tg.save(1, tmp_path / "no" / "x"))
    check_error(EOFError, "empty", lambda: tg.load(io.BytesIO()))
    for content in (b"hello world", b"PK\3\4 nothing", bytes(100)):
        check_error(RuntimeError, "checkpoint", lambda: tg.load(io.BytesIO(content)))


# --- what is refused -----------------------------------------------------------------------------


class Custom:
    """A class that no checkpoint may build unasked."""

    def __init__(self) -> None:
        self.x = 1


class Evil:
    """Pickles as a call of a system function."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch /tmp/tilegrad-was-here",)


@pytest.mark.parametrize("named", [{}, {"weights_only": False}, {"weights_only": True}])
def test_nothing_in_a_file_runs(named):
    for evil in (Evil(), {"x": [Evil()]}, print, pathlib.PosixPath("x"), torch.nn.Linear(1, 1)):
        for modern in (True, False):
            file = io.BytesIO()
            torch.save(evil, file, _use_new_zipfile_serialization=modern)
            with pytest.raises(pickle.UnpicklingError, match=r"asks for \w+"):
                tg.load(file, **named)
    assert not os.path.exists("/tmp/tilegrad-was-here")


def test_the_refused_name_is_in_the_message():
    file = io.BytesIO()
    tg.save({"c": Custom()}, file)
    name = f"{Custom.__module__}.Custom"
    check_error(pickle.UnpicklingError, rf"asks for {name}, ", lambda: tg.load(file))
    with tg.serialization.safe_globals([Custom]):
        assert tg.load(file)["c"].x == 1
        assert Custom in tg.serialization.get_safe_globals()
    check_error(pickle.UnpicklingError, "add_safe_globals", lambda: tg.load(file))
    tg.serialization.add_safe_globals([(Custom, name)])
    try:
        assert tg.load(file)["c"].x == 1
    finally:
        tg.serialization.clear_safe_globals()


def test_whole_modules_load_once_they_are_trusted():
    file = io.BytesIO()
    layer = tg.nn.Linear(2, 3)
    tg.save(layer, file)
    check_error(pickle.UnpicklingError, "Linear", lambda: tg.load(file))
    with tg.serialization.safe_globals([tg.nn.Linear]):
        loaded = tg.load(file)
    x = tg.ones(1, 2)
    assert loaded(x).tolist() == layer(x).tolist()


def test_tensors_that_do_not_exist_are_named():
    file = io.BytesIO()
    torch.save(torch.ones(1).to_sparse(), file)
    with pytest.raises(pickle.UnpicklingError, match="sparse"):
        tg.load(file)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_tensors_both_ways(dtype):
    values = complex_randn(3, 4).astype(dtype)
    theirs = torch.from_numpy(values)
    file = io.BytesIO()
    torch.save({"x": theirs.t(), "y": theirs[1]}, file)
    loaded = tg.load(io.BytesIO(file.getvalue()))
    assert loaded["x"].dtype.name == dtype
    np.testing.assert_array_equal(loaded["x"].numpy(), values.T)
    assert tg._C.shares_storage(loaded["x"], loaded["y"])
    file = io.BytesIO()
    tg.save({"x": tg.from_numpy(values).t().requires_grad_()}, file)
    back = torch.load(io.BytesIO(file.getvalue()), weights_only=True)["x"]
    assert back.requires_grad
    np.testing.assert_array_equal(back.detach().numpy(), values.T)
