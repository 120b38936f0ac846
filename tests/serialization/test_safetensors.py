"""Safetensors files: the same as ``safetensors.torch`` writes and reads, bfloat16 included."""

from __future__ import annotations

import pytest
import safetensors
import safetensors.torch
import torch

import tilegrad as tg
from support import check_error
from tilegrad.utils import safetensors as ours


def tensors(m):
    return {
        "float": m.arange(6.0).reshape(2, 3),
        "bfloat16": m.tensor([1.5, -2.0], dtype=m.bfloat16),
        "float16": m.tensor([1.5, -2.0], dtype=m.float16),
        "double": m.ones(2, dtype=m.float64),
        "bool": m.tensor([True, False]),
        "bytes": m.tensor([1, 255], dtype=m.uint8),
        "ints": m.tensor([-1], dtype=m.int16),
        "part": m.arange(10)[3:6],
        "scalar": m.tensor(3),
        "empty": m.empty(0, 3),
    }


def same(a, b):
    assert sorted(a) == sorted(b)
    for name in a:
        assert str(a[name].dtype).split(".")[1] == str(b[name].dtype).split(".")[1]
        assert tuple(a[name].shape) == tuple(b[name].shape) and a[name].tolist() == b[name].tolist()


def test_both_ways(tmp_path):
    path = tmp_path / "x.safetensors"
    ours.save_file(tensors(tg), path, {"format": "pt"})
    same(safetensors.torch.load_file(path), tensors(torch))
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata() == {"format": "pt"}
    safetensors.torch.save_file(tensors(torch), path)
    same(ours.load_file(path), tensors(tg))
    assert ours.save(tensors(tg)) == safetensors.torch.save(tensors(torch))


def test_models_with_shared_parameters(tmp_path):
    def make():
        net = tg.nn.Sequential(tg.nn.Linear(3, 3), tg.nn.Linear(3, 3))
        net[1].weight = net[0].weight
        return net

    first, second = make(), make()
    ours.save_model(first, tmp_path / "net")
    assert len(ours.load_file(tmp_path / "net")) == 3
    assert ours.load_model(second, tmp_path / "net") == ([], [])
    assert second[1].weight.tolist() == first[0].weight.tolist()


def test_complaints(tmp_path):
    x = tg.ones(2, 3)
    check_error(ValueError, "contiguous", lambda: ours.save({"x": x.t()}))
    check_error(RuntimeError, "share memory", lambda: ours.save({"x": x, "y": x[1]}))
    check_error(TypeError, "by name", lambda: ours.save({"x": 3}))
    check_error(TypeError, "dict", lambda: ours.save([x]))
    content = ours.save({"x": x})
    for broken in (b"", content[:-1], content + b"0", b"\xff" * 8 + content[8:]):
        with pytest.raises(safetensors.SafetensorError):
            ours.load(broken)
    raw = safetensors.torch.save({"x": torch.ones(2).to(torch.float8_e5m2)})
    check_error(NotImplementedError, "F8_E5M2", lambda: ours.load(raw))
