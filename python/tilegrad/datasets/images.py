"""Images with labels: MNIST, Fashion-MNIST, CIFAR-10, CIFAR-100."""

from __future__ import annotations

import gzip
import math
import tarfile
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from .files import DataFile, find, locate

__all__ = [
    "CIFAR10_LABELS",
    "FASHION_MNIST_LABELS",
    "cifar10",
    "cifar100",
    "fashion_mnist",
    "mnist",
    "mnist_10k",
]

Array: TypeAlias = np.ndarray
Parts: TypeAlias = tuple[tuple[Array, Array], tuple[Array, Array]]

FASHION_MNIST_LABELS = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
CIFAR10_LABELS = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip


def _idx_files(folder: str, mirrors: tuple[str, ...], *known: tuple[str, int, str]) -> Any:
    return {
        name: DataFile(
            f"{folder}/{name}.gz", f"sha256:{sha}", size, tuple(f"{m}/{name}.gz" for m in mirrors)
        )
        for name, size, sha in known
    }


_MNIST = _idx_files(
    "mnist",
    (
        "https://storage.googleapis.com/cvdf-datasets/mnist",
        "https://ossci-datasets.s3.amazonaws.com/mnist",
    ),
    (
        "train-images-idx3-ubyte",
        9_912_422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    (
        "train-labels-idx1-ubyte",
        28_881,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    (
        "t10k-images-idx3-ubyte",
        1_648_877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    (
        "t10k-labels-idx1-ubyte",
        4_542,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
)
_FASHION = _idx_files(
    "fashion-mnist",
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
    ),
    (
        "train-images-idx3-ubyte",
        26_421_880,
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    (
        "train-labels-idx1-ubyte",
        29_515,
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
    (
        "t10k-images-idx3-ubyte",
        4_422_102,
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    ),
    (
        "t10k-labels-idx1-ubyte",
        5_148,
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
)
# The binary archives: the ones for Python are pickles, which could run code.
_CIFAR10 = DataFile(
    "cifar/cifar-10-binary.tar.gz",
    "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    170_052_171,
    ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
)
_CIFAR100 = DataFile(
    "cifar/cifar-100-binary.tar.gz",
    "sha256:58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    168_513_733,
    ("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",),
)


def mnist() -> Parts:
    """Handwritten digits: ``(train_images, train_labels), (test_images, test_labels)``.

    60,000 and 10,000 images of 28 x 28 pixels (uint8, 0 to 255), labels 0 to 9 (uint8). Raises
    FileNotFoundError without the files and a network. Source: LeCun, Cortes and Burges, 1998.
    """
    try:
        return _idx_parts(_MNIST, "MNIST")
    except FileNotFoundError as error:
        if all(find(_MNIST[f"t10k-{part}-ubyte"]) for part in ("images-idx3", "labels-idx1")):
            raise FileNotFoundError(
                f"{error}; its 10,000 test images are there: mnist_10k() splits them into a "
                "training and a test part"
            ) from None
        raise


def mnist_10k(test: int = 2000, seed: int = 0) -> Parts:
    """MNIST's 10,000 test images alone, a sixth of the download, split for training and testing.

    ``test`` images drawn by ``seed`` are held out, the same for everybody. Dtypes as ``mnist``'s.
    Raises ValueError unless 0 < test < 10000, FileNotFoundError as ``mnist``.
    """
    if not 0 < test < 10_000:
        raise ValueError(f"mnist_10k: argument 'test': expected 1 to 9999 images, got {test}")
    images = _read_idx(locate(_MNIST["t10k-images-idx3-ubyte"], "MNIST"))
    labels = _read_idx(locate(_MNIST["t10k-labels-idx1-ubyte"], "MNIST"))
    order = np.random.RandomState(seed).permutation(len(images))
    held_out, rest = np.sort(order[:test]), np.sort(order[test:])
    return (images[rest], labels[rest]), (images[held_out], labels[held_out])


def fashion_mnist() -> Parts:
    """Clothes in MNIST's format; ``FASHION_MNIST_LABELS`` names the classes.

    Raises FileNotFoundError without the files and a network. Source: Xiao, Rasul, Vollgraf, 2017.
    """
    return _idx_parts(_FASHION, "Fashion-MNIST")


def cifar10() -> Parts:
    """Small photographs: ``(train_images, train_labels), (test_images, test_labels)``.

    50,000 and 10,000 images (N, 3, 32, 32; uint8), labels 0 to 9 (uint8), named by
    ``CIFAR10_LABELS``. Raises FileNotFoundError without the file and a network. Source:
    Krizhevsky, 2009.
    """
    train = [f"data_batch_{number}.bin" for number in range(1, 6)]
    names = train, ["test_batch.bin"]
    (images, labels), (test_images, test_labels) = _cifar(_CIFAR10, "CIFAR-10", names, 1)
    return (images, labels[:, 0]), (test_images, test_labels[:, 0])


def cifar100(labels: str = "fine") -> Parts:
    """As ``cifar10``, with 100 classes (``"fine"``) in 20 groups (``"coarse"``).

    Raises ValueError for other ``labels``, FileNotFoundError without the file and a network.
    """
    if labels not in ("fine", "coarse"):
        raise ValueError(
            f"cifar100: argument 'labels': expected 'fine' or 'coarse', got {labels!r}"
        )
    column = 1 if labels == "fine" else 0
    names = ["train.bin"], ["test.bin"]
    (images, marks), (test_images, test_marks) = _cifar(_CIFAR100, "CIFAR-100", names, 2)
    return (images, marks[:, column]), (test_images, test_marks[:, column])


def _idx_parts(files: dict[str, DataFile], title: str) -> Parts:
    paths = {name: locate(file, title) for name, file in files.items()}
    train, test = (
        (
            _read_idx(paths[f"{part}-images-idx3-ubyte"]),
            _read_idx(paths[f"{part}-labels-idx1-ubyte"]),
        )
        for part in ("train", "t10k")
    )
    return train, test


def _read_idx(path: Path) -> Array:
    """An array of bytes from LeCun's format: zeros, type 8, rank, sizes, values."""
    with gzip.open(path, "rb") as file:
        content = file.read()
    rank = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    shape = tuple(np.frombuffer(content[4 : 4 + 4 * rank], ">u4").tolist())
    if rank == 0 or len(shape) != rank or len(content) != 4 + 4 * rank + math.prod(shape):
        raise RuntimeError(f"{path}: not an IDX file of bytes")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape).copy()


def _cifar(file: DataFile, title: str, names: tuple[list[str], list[str]], marks: int) -> Parts:
    """Records of ``marks`` label bytes and 3 x 32 x 32 pixels, read inside the archive."""
    path = locate(file, title)
    with tarfile.open(path, "r:gz") as archive:
        found = {member.name.rpartition("/")[2]: member for member in archive if member.isfile()}
        contents = {
            name: archive.extractfile(found[name]).read()  # type: ignore[union-attr]
            for name in (*names[0], *names[1])
            if name in found
        }
    parts = []
    for group in names:
        if not all(len(contents.get(name, b"")) for name in group):
            raise RuntimeError(f"{path}: expected {', '.join(group)} inside")
        records = np.frombuffer(b"".join(contents[name] for name in group), np.uint8)
        records = records.reshape(-1, marks + 3072)
        images = records[:, marks:].reshape(-1, 3, 32, 32).copy()
        parts.append((images, records[:, :marks].copy()))
    return parts[0], parts[1]
