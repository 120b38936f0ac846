"""Files that are truncated, corrupt, oversized or lie: each is an error, never a crash."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
import torch

import tilegrad as tg
from tilegrad.serialization import archive

ERRORS = (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, NotImplementedError)


def saved(modern: bool = True) -> bytes:
    """A small checkpoint of PyTorch's."""
    file = io.BytesIO()
    state = {"x": torch.arange(40.0), "y": [torch.ones(3, dtype=torch.bool), "text"], "z": 1.5}
    torch.save(state, file, _use_new_zipfile_serialization=modern)
    return file.getvalue()


def packed(pickled: bytes, storages: dict[str, bytes] | None = None, **options: Any) -> bytes:
    """An archive around a pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as made:
        made.writestr("a/data.pkl", pickled)
        made.writestr("a/version", "3\n")
        for key, content in (storages or {}).items():
            made.writestr(f"a/data/{key}", content)
    return file.getvalue()


def tensor_pickle(
    elements: Any = 4,
    offset: Any = 0,
    size: Any = (4,),
    stride: Any = (1,),
    kind: str = "FloatStorage",
    key: Any = "0",
    location: Any = "cpu",
) -> bytes:
    """The pickle of one tensor, with any numbers in the places of the right ones."""

    class Name:
        def __init__(self, module: str, name: str) -> None:
            self.text = f"c{module}\n{name}\n".encode()

    def put(value: Any) -> bytes:
        if isinstance(value, Name):
            return value.text
        if isinstance(value, tuple):
            return b"(" + b"".join(map(put, value)) + b"t"
        return pickle.dumps(value, 2)[2:-1]

    reference = put(("storage", Name("torch", kind), key, location, elements)) + b"Q"
    arguments = b"(" + reference + put(offset) + put(size) + put(stride) + put(False) + b"}t"
    return b"\x80\x02" + put(Name("torch._utils", "_rebuild_tensor_v2")) + arguments + b"R."


def load(content: bytes) -> Any:
    return tg.load(io.BytesIO(content))


def test_the_hand_made_pickle_is_right():
    content = struct.pack("<4f", 1, 2, 3, 4)
    assert load(packed(tensor_pickle(), {"0": content})).tolist() == [1, 2, 3, 4]
    assert torch.load(io.BytesIO(packed(tensor_pickle(), {"0": content}))).tolist() == [1, 2, 3, 4]


LIES = {
    "more elements than bytes": {"elements": 5},
    "fewer elements than bytes": {"elements": 3},
    "elements below 0": {"elements": -4},
    "elements that overflow": {"elements": 2**62},
    "elements that are no number": {"elements": "4"},
    "a size beyond the storage": {"size": (5,)},
    "a size that overflows": {"size": (2**62, 2**62)},
    "a size below 0": {"size": (-1,)},
    "a size beyond 64 bits": {"size": (2**70,)},
    "a size that is no number": {"size": (1.5,)},
    "sizes that are no tuple": {"size": 4},
    "too many dimensions": {"size": (1,) * 100, "stride": (1,) * 100},
    "a stride beyond the storage": {"stride": (2,)},
    "a stride that overflows": {"stride": (2**62,)},
    "a stride below 0": {"stride": (-1,), "offset": 3},
    "strides of another number": {"stride": (1, 1)},
    "an offset beyond the storage": {"offset": 1},
    "an offset below 0": {"offset": -1},
    "an offset that overflows": {"offset": 2**62},
    "an offset far beyond an empty view": {"offset": 2**60, "size": (0,)},
    "an unknown dtype": {"kind": "ComplexHalfStorage"},
    "a missing storage": {"key": "7"},
    "a storage outside its folder": {"key": "../data.pkl"},
    "a storage without name": {"key": 0},
    "an unknown device": {"location": "nowhere"},
    "a device that is no name": {"location": 3},
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_about_tensors(lie):
    with pytest.raises(ERRORS):
        load(packed(tensor_pickle(**LIES[lie]), {"0": bytes(16)}))


def test_bools_of_other_bytes_are_true():
    pickled = tensor_pickle(kind="BoolStorage")
    assert load(packed(pickled, {"0": b"\0\1\2\xff"})).tolist() == [False, True, True, True]


def test_misplaced_storages_are_read_all_the_same(tmp_path):
    for shift in range(1, 9):  # archives that do not align
        path = tmp_path / "x.pt"
        path.write_bytes(
            packed(tensor_pickle(), {"pad": bytes(shift), "0": bytes(12) + b"\0\0\x80?"})
        )
        assert tg.load(path, mmap=True).tolist() == [0, 0, 0, 1]


BROKEN_PICKLES = {
    "nothing": b"",
    "no stop": b"\x80\x02}",
    "an empty stack": b"\x80\x02.",
    "a mark for a value": b"\x80\x02(.",
    "no mark": b"\x80\x02t.",
    "a long string": b"\x80\x02X\xff\xff\xff\xff.",
    "a very long string": b"\x80\x04\x8d" + b"\xff" * 8 + b".",
    "a negative length": b"\x80\x02T\xff\xff\xff\xff.",
    "a long integer": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "a huge number": b"I" + b"9" * 100000 + b"\n.",
    "an empty memo": b"\x80\x02h\x05.",
    "a list for a key": b"\x80\x02}]K\x01s.",
    "items of a list": b"\x80\x02]K\x01K\x01s.",
    "appending to a dict": b"\x80\x02}K\x01a.",
    "extending bytes": b"\x80\x02C\x01aK\x01a.",
    "a call of a number": b"\x80\x02K\x01)R.",
    "a call with a list": b"\x80\x02ccollections\nOrderedDict\n]R.",
    "a state for a number": b"\x80\x02K\x01}b.",
    "a state for a dict": b"\x80\x02}}b.",
    "attributes without names": b"\x80\x02ccollections\nOrderedDict\n)R}K\x01K\x02sb.",
    "bytes of a number": b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
    "a set of lists": b"\x80\x02cbuiltins\nset\n(](l(lt\x85R.",
    "a reference to nothing": b"\x80\x02K\x01Q.",
    "an extension": b"\x80\x02\x82\x01.",
    "an instance": b"(ios\nsystem\n.",
    "the old call": b"(cos\nsystem\no.",
    "a text reference": b"P0\n.",
    "a call of a size": b"\x80\x02ctorch\nSize\nK\x01\x85R.",
    "an impossible device": b"\x80\x02ctorch\ndevice\nX\x01\x00\x00\x00x\x85R.",
    "a class of its own": b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.",
    "a submodule": b"\x80\x02ctorch\nnn.functional\n.",
    "dotted names": b"\x80\x04\x8c\x05torch\x8c\x0aos.system.x\x93.",
    "a huge dtype": b"\x80\x02cnumpy\ndtype\nX\x0b\x00\x00\x00S9999999999\x85R.",
    "objects of numpy": b"\x80\x02cnumpy\ndtype\nX\x01\x00\x00\x00O\x85R.",
    "an array larger than its bytes": (
        b"\x80\x02cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
        b"(K\x01J\xff\xff\xff\x7f\x85cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85R\x89C\x00tb."
    ),
}


@pytest.mark.parametrize("case", BROKEN_PICKLES)
def test_broken_pickles(case):
    with pytest.raises(ERRORS):
        load(packed(BROKEN_PICKLES[case]))


def test_a_large_index_of_the_memo_costs_nothing():
    assert load(packed(b"\x80\x02K\x07r\xff\xff\xff\xff.")) == 7


def test_keys_that_hash_forever_are_refused():
    pickled = b"\x80\x02}K\x00" + b"2\x86" * 60 + b"K\x01s."  # ((((0, 0), (0, 0)), ...
    with pytest.raises(pickle.UnpicklingError, match="key of too many elements"):
        load(packed(pickled))


def test_deep_nesting():
    value = load(packed(b"\x80\x02" + b"]" * 100000 + b"a" * 99999 + b"."))
    assert isinstance(value, list)
    depth = 0
    while value:
        value, depth = value[0], depth + 1
    assert depth == 99999


def test_archives_that_are_not_checkpoints():
    good = packed(tensor_pickle(), {"0": bytes(16)})
    assert load(good).shape == (4,)
    cases = {
        "compressed": packed(tensor_pickle(), {"0": bytes(16)}, compression=zipfile.ZIP_DEFLATED),
        "without pickle": packed(b"").replace(b"data.pkl", b"data.pkx"),
    }
    for content in cases.values():
        with pytest.raises(RuntimeError, match="corrupt or not a checkpoint"):
            load(content)
    with pytest.warns(UserWarning, match="Duplicate"):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as made:
            made.writestr("a/data.pkl", b"N.")
            made.writestr("a/data.pkl", b"N.")
    with pytest.raises(RuntimeError, match="two records have one name"):
        load(file.getvalue())


def test_a_bomb_of_overlapping_records():
    """Many entries of the directory that show the same bytes: more content than file."""
    file = io.BytesIO()
    content = bytes(100000)
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("a/data.pkl", tensor_pickle(elements=25000, size=(25000,)))
        made.writestr("a/data/0", content)
        entry = made.getinfo("a/data/0")
        for i in range(1, 50):
            twin = zipfile.ZipInfo(f"a/data/{i}")
            for name in ("file_size", "compress_size", "CRC", "header_offset", "compress_type"):
                setattr(twin, name, getattr(entry, name))
            made.filelist.append(twin)
            made.NameToInfo[twin.filename] = twin
        made._didModify = True
    with pytest.raises(RuntimeError, match="larger than the file"):
        load(file.getvalue())


def test_a_wrong_checksum():
    content = bytearray(packed(tensor_pickle(), {"0": b"0123456789abcdef"}))
    place = content.index(b"0123456789abcdef")
    content[place] ^= 1
    with pytest.raises(RuntimeError, match="checksum of record data/0"):
        load(bytes(content))


def test_torchscript_is_named():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("a/data.pkl", b"N.")
        made.writestr("a/constants.pkl", b"N.")
    with pytest.raises(RuntimeError, match="TorchScript"):
        load(file.getvalue())


def test_the_other_byte_order_is_named():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("a/data.pkl", b"N.")
        made.writestr("a/byteorder", "big" if sys.byteorder == "little" else "little")
    with pytest.raises(RuntimeError, match="byte order"):
        load(file.getvalue())


@pytest.mark.parametrize("modern", [True, False])
def test_every_truncation(modern):
    content = saved(modern)
    for size in range(0, len(content), 7 if modern else 1):
        with pytest.raises(ERRORS):
            load(content[:size])


def fuzz(content: bytes, change: Callable[[random.Random, bytearray], None], rounds: int) -> int:
    """Loads changed copies; returns how many still loaded. Anything but ERRORS escapes."""
    survived = 0
    for seed in range(rounds):
        generator, copy = random.Random(seed), bytearray(content)
        change(generator, copy)
        try:
            value = load(bytes(copy))
            for x in value.values() if isinstance(value, dict) else ():
                if isinstance(x, tg.Tensor) and x.numel() < 10000:
                    x.double().sum().item()  # every element can be read
            survived += 1
        except ERRORS:
            pass
    return survived


def flip(generator: random.Random, content: bytearray) -> None:
    for _ in range(generator.randint(1, 8)):
        content[generator.randrange(len(content))] = generator.randrange(256)


def splice(generator: random.Random, content: bytearray) -> None:
    start, length = generator.randrange(len(content)), generator.randint(1, 60)
    other = generator.randrange(len(content))
    if generator.random() < 0.5:
        content[start : start + length] = content[other : other + generator.randint(0, 60)]
    else:
        del content[start : start + length]


@pytest.mark.parametrize("change", [flip, splice])
@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_random_damage(kind, change):
    assert fuzz(saved(kind == "zip"), change, 1500) < 1500


@pytest.mark.parametrize("change", [flip, splice])
def test_random_damage_within_the_pickle(change):
    """With a right checksum, so that the damage reaches the machine."""
    with zipfile.ZipFile(io.BytesIO(saved())) as made:
        names = {name.partition("/")[2]: made.read(name) for name in made.namelist()}
    survived = 0
    for seed in range(1500):
        generator, pickled = random.Random(seed), bytearray(names["data.pkl"])
        change(generator, pickled)
        storages = {key[5:]: value for key, value in names.items() if key.startswith("data/")}
        survived += fuzz(packed(bytes(pickled), storages), lambda *_: None, 1)
    assert 0 < survived < 1500


def test_random_pickles():
    codes = (
        b"().0123BCGIJKLMNQRTUX]abcdehjlqrstu}\x80\x85\x86\x87\x88\x89\x8a\x8c\x8f\x90\x91\x93\x94"
    )
    words = [
        b"ctorch\nSize\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"cbuiltins\nset\n",
        b"K\x01",
    ]
    for seed in range(5000):
        generator = random.Random(seed)
        parts = [
            generator.choice(words)
            if generator.random() < 0.3
            else bytes([generator.choice(codes)])
            for _ in range(generator.randint(1, 40))
        ]
        with contextlib.suppress(ERRORS):
            load(packed(b"".join(parts) + b"."))


def test_memory_stays_within_the_files_size():
    """Under a limit of memory, files of a few hundred bytes that ask for terabytes."""
    code = (
        "import io, resource, tilegrad as tg\n"
        "from test_broken_files import BROKEN_PICKLES, ERRORS, LIES, packed, tensor_pickle\n"
        "tg.save(tg.ones(2), io.BytesIO())\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))\n"
        "files = [packed(p) for p in BROKEN_PICKLES.values()]\n"
        "files += [packed(tensor_pickle(**lie), {'0': bytes(16)}) for lie in LIES.values()]\n"
        "for content in files:\n"
        "    try: tg.load(io.BytesIO(content))\n"
        "    except ERRORS: continue\n"
        "    raise SystemExit('loaded')\n"
    )
    if sys.platform != "linux":
        pytest.skip("needs /proc")
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]


def test_large_records_use_headers_of_64_bits():
    """The header's size is known before it is written, or the content would not be aligned."""
    content = io.BytesIO()
    archive.write_archive(content, "a", [("data.pkl", b"N."), ("data/0", bytes(100))], "0")
    with zipfile.ZipFile(content) as made:
        for entry in made.infolist():
            header = content.getvalue()[entry.header_offset :][:30]
            name, extra = struct.unpack("<2H", header[26:30])
            assert (entry.header_offset + 30 + name + extra) % 64 == 0
