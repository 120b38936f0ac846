"""Data sets: downloads from a server on this machine that misbehaves, formats, what ships here."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from real_data import need_mnist, need_shakespeare
from tilegrad import datasets
from tilegrad.datasets import download as downloads
from tilegrad.datasets import files, images, text
from tilegrad.datasets.download import download
from tilegrad.datasets.files import DataFile

CONTENT = np.random.RandomState(0).bytes(3_000_000)


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Server(ThreadingHTTPServer):
    """Serves one file; ``cut`` breaks the first connections off after so many bytes each."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.cut: list[int] = []
        self.ranges = True  # whether it can continue a download
        self.status = 200
        self.pause = 0.0  # seconds between pieces
        self.asked: list[str | None] = []  # the Range of each request
        self.url = f"http://127.0.0.1:{self.server_port}/numbers.bin"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients of these tests go away; that is no news."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        content, start = self.server.content, 0
        if wanted and self.server.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + self.server.cut.pop(0) if self.server.cut else len(content)
        for at in range(start, min(end, len(content)), 100_000):
            self.wfile.write(content[at : min(at + 100_000, end)])
            time.sleep(self.server.pause)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TILEGRAD_DATA", str(tmp_path))
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_download_arrives_whole_and_alone(server, tmp_path, capsys):
    target = tmp_path / "deep" / "numbers.bin"
    download(server.url, target, sha256(CONTENT))
    assert target.read_bytes() == CONTENT
    assert names(tmp_path) == ["numbers.bin"]
    assert capsys.readouterr().err == "downloading numbers.bin from 127.0.0.1\n"


def test_a_broken_connection_is_continued(server, tmp_path):
    server.cut = [1_000_000, 700_000]
    target = tmp_path / "numbers.bin"
    download(server.url, target, sha256(CONTENT))
    assert target.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000000-", "bytes=1700000-"]


def test_what_has_arrived_stays_for_the_next_time(server, tmp_path):
    server.cut = [400_000] * downloads.ATTEMPTS
    target = tmp_path / "numbers.bin"
    with pytest.raises(ConnectionError, match="ended after 1200000 of 3000000 bytes"):
        download(server.url, target, sha256(CONTENT))
    assert names(tmp_path) == ["numbers.bin.part"]
    download(server.url, target, sha256(CONTENT))
    assert server.asked[-1] == "bytes=1200000-"
    assert target.read_bytes() == CONTENT
    assert names(tmp_path) == ["numbers.bin"]


def test_a_server_that_cannot_continue_starts_over(server, tmp_path):
    server.cut, server.ranges = [1_000_000], False
    target = tmp_path / "numbers.bin"
    download(server.url, target, sha256(CONTENT))
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("rest", [b"x" * 1000, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 1)])
def test_a_wrong_beginning_is_thrown_away(server, tmp_path, rest):
    (tmp_path / "numbers.bin.part").write_bytes(rest)
    target = tmp_path / "numbers.bin"
    download(server.url, target, sha256(CONTENT))
    assert target.read_bytes() == CONTENT
    assert server.asked[-1] is None


def test_a_whole_beginning_needs_no_bytes(server, tmp_path):
    (tmp_path / "numbers.bin.part").write_bytes(CONTENT)
    download(server.url, tmp_path / "numbers.bin", sha256(CONTENT))
    assert server.asked == ["bytes=3000000-"]
    assert names(tmp_path) == ["numbers.bin"]


def test_another_file_than_expected_is_refused(server, tmp_path):
    server.content = b"<html>please log in</html>"
    with pytest.raises(RuntimeError, match=r"numbers.bin sent a file with sha256:.* expected"):
        download(server.url, tmp_path / "numbers.bin", sha256(CONTENT))
    assert server.asked == [None]
    assert names(tmp_path) == []


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (503, downloads.ATTEMPTS)])
def test_only_errors_that_may_pass_are_tried_again(server, tmp_path, status, requests):
    server.status = status
    with pytest.raises(OSError, match=str(status)):
        download(server.url, tmp_path / "numbers.bin", sha256(CONTENT))
    assert len(server.asked) == requests
    assert names(tmp_path) == []


def start_download(server: Server, target: Path) -> subprocess.Popen[bytes]:
    program = (
        "import sys; from pathlib import Path; from tilegrad.datasets.download import download; "
        "download(sys.argv[1], Path(sys.argv[2]), sys.argv[3])"
    )
    command = [sys.executable, "-c", program, server.url, str(target), sha256(CONTENT)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def test_two_processes_download_once(server, tmp_path):
    server.pause = 0.03
    target = tmp_path / "numbers.bin"
    both = [start_download(server, target) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert server.asked == [None]
    assert target.read_bytes() == CONTENT
    assert names(tmp_path) == ["numbers.bin"]


def test_a_killed_process_leaves_no_half_file(server, tmp_path):
    server.pause = 0.1
    target = tmp_path / "numbers.bin"
    part = tmp_path / "numbers.bin.part"
    process = start_download(server, target)
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert not target.exists()
    have = part.stat().st_size
    assert 0 < have < len(CONTENT)
    server.pause = 0.0
    download(server.url, target, sha256(CONTENT))
    assert server.asked == [None, f"bytes={have}-"]
    assert target.read_bytes() == CONTENT


def test_a_file_is_found_by_its_hash_wherever_it_lies(folder):
    file = DataFile("some/numbers.bin", sha256(b"right"), 5, (), also=("other.bin",))
    assert files.find(file) is None
    for place, content in (("numbers.bin", b"wrong"), ("a/numbers.bin", b"also wrong")):
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_bytes(content)
    assert files.find(file) is None
    (folder / "b" / "c").mkdir(parents=True)
    (folder / "b/c/other.bin").write_bytes(b"right")
    assert files.locate(file, "numbers") == folder / "b/c/other.bin"


def test_a_second_mirror_is_tried(server, folder):
    gone = server.url.replace(str(server.server_port), "1")
    file = DataFile("some/numbers.bin", sha256(CONTENT), len(CONTENT), (gone, server.url))
    assert files.locate(file, "numbers") == folder / "some/numbers.bin"
    assert files.locate(file, "numbers").read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_offline_one_sentence_says_what_to_do(server, folder, monkeypatch):
    server.status = 404
    file = DataFile("some/numbers.bin", sha256(CONTENT), len(CONTENT), (server.url,))
    with pytest.raises(FileNotFoundError) as caught:
        files.locate(file, "numbers")
    message = str(caught.value)
    assert message.startswith(f"numbers: numbers.bin (3.0 MB) is not in {folder} and could not be")
    assert f"fetch {server.url} and save it as {folder / 'some/numbers.bin'}, or set" in message
    assert "\n" not in message


def test_a_damaged_file_is_named_and_kept(folder):
    file = DataFile("some/numbers.bin", sha256(CONTENT), len(CONTENT), ())
    (folder / "some").mkdir()
    (folder / "some/numbers.bin").write_bytes(b"notes of my own")
    with pytest.raises(RuntimeError, match=r"numbers.bin is damaged or another file .* delete it"):
        files.locate(file, "numbers")
    assert (folder / "some/numbers.bin").read_bytes() == b"notes of my own"


def test_the_cache_folder_is_the_platforms(monkeypatch):
    monkeypatch.delenv("TILEGRAD_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.setattr(sys, "platform", "linux")
    assert datasets.data_folder() == Path("/somewhere/tilegrad")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert datasets.data_folder() == Path.home() / ".cache/tilegrad"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert datasets.data_folder() == Path.home() / "Library/Caches/tilegrad"
    monkeypatch.setenv("TILEGRAD_DATA", "~/data")
    assert datasets.data_folder() == Path.home() / "data"


# --- formats: small files of ours, with their own hashes ---


def place(folder: Path, file: DataFile, content: bytes) -> DataFile:
    path = folder / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return DataFile(file.name, sha256(content), len(content), ())


def idx(array: np.ndarray[Any, Any]) -> bytes:
    sizes = np.array(array.shape, ">u4").tobytes()
    return gzip.compress(bytes((0, 0, 8, array.ndim)) + sizes + array.tobytes())


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_images_in_lecuns_format(folder, monkeypatch, name):
    table = {"mnist": "_MNIST", "fashion_mnist": "_FASHION"}[name]
    random = np.random.RandomState(0)
    arrays = {
        file: random.randint(0, 256, (7, 28, 28) if "images" in file else 7).astype(np.uint8)
        for file in getattr(images, table)
    }
    placed = {
        file: place(folder, known, idx(arrays[file]))
        for file, known in getattr(images, table).items()
    }
    monkeypatch.setattr(images, table, placed)
    (train_x, train_y), (test_x, test_y) = getattr(datasets, name)()
    np.testing.assert_array_equal(train_x, arrays["train-images-idx3-ubyte"])
    np.testing.assert_array_equal(train_y, arrays["train-labels-idx1-ubyte"])
    np.testing.assert_array_equal(test_x, arrays["t10k-images-idx3-ubyte"])
    np.testing.assert_array_equal(test_y, arrays["t10k-labels-idx1-ubyte"])
    train_x[0] = 0  # ours to change


@pytest.mark.parametrize("content", [b"", b"\0\0\x08", b"\0\0\x08\x01\0\0\0\x05abc", b"text"])
def test_a_strange_idx_file_is_refused(tmp_path, content):
    (tmp_path / "x.gz").write_bytes(gzip.compress(content))
    with pytest.raises(RuntimeError, match="not an IDX file"):
        images._read_idx(tmp_path / "x.gz")


def test_mnist_without_its_training_half_names_the_other(folder, monkeypatch):
    digits = np.zeros((10_000, 2, 2), np.uint8)
    digits[:, 0, 0] = np.arange(10_000) % 251
    labels = np.arange(10_000) % 10
    halves = {
        name: DataFile(file.name, file.digest, file.bytes, ("http://127.0.0.1:1/gone.gz",))
        for name, file in images._MNIST.items()
    }
    for name, array in (("t10k-images-idx3-ubyte", digits), ("t10k-labels-idx1-ubyte", labels)):
        halves[name] = place(folder, halves[name], idx(array.astype(np.uint8)))
    monkeypatch.setattr(images, "_MNIST", halves)
    with pytest.raises(FileNotFoundError, match=r"mnist_10k\(\) splits them"):
        datasets.mnist()
    (train_x, train_y), (test_x, test_y) = datasets.mnist_10k()
    assert (train_x.shape, test_x.shape) == ((8000, 2, 2), (2000, 2, 2))
    both = np.concatenate([train_x, test_x])[:, 0, 0]
    np.testing.assert_array_equal(np.bincount(both), np.bincount(digits[:, 0, 0]))
    np.testing.assert_array_equal(np.bincount(test_y) + np.bincount(train_y), [1000] * 10)
    np.testing.assert_array_equal(datasets.mnist_10k()[1][0], test_x)
    with pytest.raises(ValueError, match=r"argument 'test': expected 1 to 9999 images, got 10000"):
        datasets.mnist_10k(test=10_000)


def archive(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return content.getvalue()


def test_cifar_archives_are_read_in_place(folder, monkeypatch):
    random = np.random.RandomState(0)
    ten = {f"data_batch_{i}.bin": random.bytes(3 * 3073) for i in range(1, 6)}
    ten["test_batch.bin"] = random.bytes(2 * 3073)
    content = archive({f"cifar-10-batches-bin/{name}": data for name, data in ten.items()})
    monkeypatch.setattr(images, "_CIFAR10", place(folder, images._CIFAR10, content))
    (train_x, train_y), (test_x, test_y) = datasets.cifar10()
    assert train_x.shape == (15, 3, 32, 32) and test_x.shape == (2, 3, 32, 32)
    assert train_y[4] == ten["data_batch_2.bin"][3073] and test_y[1] == ten["test_batch.bin"][3073]
    assert train_x[4].tobytes() == ten["data_batch_2.bin"][3074 : 2 * 3073]

    hundred = {"train.bin": random.bytes(4 * 3074), "test.bin": random.bytes(3074)}
    content = archive({f"cifar-100-binary/{name}": data for name, data in hundred.items()})
    monkeypatch.setattr(images, "_CIFAR100", place(folder, images._CIFAR100, content))
    (train_x, fine), _ = datasets.cifar100()
    _, (_, coarse) = datasets.cifar100("coarse")
    assert fine[1] == hundred["train.bin"][3075] and coarse[0] == hundred["test.bin"][0]
    assert train_x[0].tobytes() == hundred["train.bin"][2:3074]
    with pytest.raises(ValueError, match="expected 'fine' or 'coarse', got 'medium'"):
        datasets.cifar100("medium")


def lists(*rows: list[int]) -> np.ndarray[Any, Any]:
    made = np.empty(len(rows), object)
    made[:] = rows
    return made


def npz(**arrays: np.ndarray[Any, Any]) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def test_reviews_and_news(folder, monkeypatch):
    words = {"x_train": lists([1, 2], [3]), "x_test": lists([4, 5, 6], [7])}
    labels = {"y_train": np.array([0, 1]), "y_test": np.array([1, 0])}
    content = npz(**words, **labels)
    monkeypatch.setattr(text, "_IMDB", place(folder, text._IMDB, content))
    (train_x, train_y), (test_x, test_y) = datasets.imdb()
    assert train_x.tolist() == [[1, 2], [3]] and test_x[0] == [4, 5, 6]
    assert train_y.tolist() == [0, 1] and test_y.tolist() == [1, 0]
    content = npz(x=lists([5, 1], [2]), y=np.array([45, 3]))
    monkeypatch.setattr(text, "_REUTERS", place(folder, text._REUTERS, content))
    news, topics = datasets.reuters()
    assert news.tolist() == [[5, 1], [2]] and topics.tolist() == [45, 3]
    content = b'{"the": 1, "caf\\u00e9": 2}'
    monkeypatch.setattr(text, "_IMDB_WORDS", place(folder, text._IMDB_WORDS, content))
    assert datasets.imdb_word_index() == {"the": 1, "café": 2}


class Harmful:
    def __reduce__(self) -> Any:
        return os.system, ("false",)


def test_no_data_set_runs_code(folder, monkeypatch):
    harmful = np.empty(1, object)
    harmful[0] = Harmful()
    content = npz(x=harmful, y=np.array([1]))
    monkeypatch.setattr(text, "_REUTERS", place(folder, text._REUTERS, content))
    with pytest.raises(pickle.UnpicklingError, match="system has no place in a data set"):
        datasets.reuters()


def test_old_archives_name_numpys_old_modules(tmp_path):
    content = io.BytesIO()
    array = lists([1, 2], [3])
    facts = {"descr": "|O", "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(content, facts)
    pickled = pickle.dumps(array, protocol=3)
    assert b"numpy._core.multiarray" in pickled
    content.write(pickled.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    with zipfile.ZipFile(tmp_path / "old.npz", "w") as made:
        made.writestr("x.npy", content.getvalue())
    assert text._read_npz(tmp_path / "old.npz", "x")[0].tolist() == [[1, 2], [3]]


def test_house_prices(folder, monkeypatch):
    from tilegrad.datasets import tables

    features = np.random.RandomState(0).rand(5, 8)
    content = npz(x=features, y=np.arange(5.0))
    monkeypatch.setattr(tables, "_HOUSING", place(folder, tables._HOUSING, content))
    x, y = datasets.california_housing()
    np.testing.assert_array_equal(x, features)
    assert y.tolist() == [0, 1, 2, 3, 4]


# --- what ships with installed packages, and the real files where they are at hand ---


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [("digits", (1797, 8, 8), 10), ("iris", (150, 4), 3), ("wine", (178, 13), 3),
     ("breast_cancer", (569, 30), 2), ("diabetes", (442, 10), 0)],
)  # fmt: skip
def test_what_ships_inside_scikit_learn(name, shape, classes):
    features, target = getattr(datasets, name)()
    assert features.shape == shape and features.dtype == np.float32
    assert target.shape == shape[:1]
    if classes:
        assert sorted({*target.tolist()}) == list(range(classes))


def test_the_python_librarys_source():
    source = datasets.python_source(200_000)
    assert len(source) == 200_000
    assert "import" in source and "def " in source
    assert datasets.python_source(100_000) == source[:100_000]
    with pytest.raises(ValueError, match="got -1"):
        datasets.python_source(-1)


def test_the_real_digits(monkeypatch):
    monkeypatch.setenv("TILEGRAD_DATA", str(need_mnist()))
    (train_x, train_y), (test_x, test_y) = datasets.mnist_10k()
    assert (train_x.shape, test_x.shape) == ((8000, 28, 28), (2000, 28, 28))
    whole = np.bincount(train_y) + np.bincount(test_y)
    assert whole.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_the_real_shakespeare(monkeypatch):
    monkeypatch.setenv("TILEGRAD_DATA", str(need_shakespeare()))
    assert datasets.tiny_shakespeare().startswith("First Citizen:\nBefore we proceed")
