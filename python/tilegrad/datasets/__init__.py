"""Data sets by name, as NumPy arrays in the files' own dtypes.

Images, text and tables from the network are downloaded on first use, checked by their hash and kept
in ``$TILEGRAD_DATA`` or else in the user's cache folder. What ships inside scikit-learn or the
Python library needs no network.
"""

from .files import data_folder
from .images import (
    CIFAR10_LABELS,
    FASHION_MNIST_LABELS,
    cifar10,
    cifar100,
    fashion_mnist,
    mnist,
    mnist_10k,
)
from .tables import breast_cancer, california_housing, diabetes, digits, iris, wine
from .text import (
    imdb,
    imdb_word_index,
    python_source,
    reuters,
    reuters_word_index,
    tiny_shakespeare,
)

__all__ = [
    "CIFAR10_LABELS",
    "FASHION_MNIST_LABELS",
    "breast_cancer",
    "california_housing",
    "cifar10",
    "cifar100",
    "data_folder",
    "diabetes",
    "digits",
    "fashion_mnist",
    "imdb",
    "imdb_word_index",
    "iris",
    "mnist",
    "mnist_10k",
    "python_source",
    "reuters",
    "reuters_word_index",
    "tiny_shakespeare",
    "wine",
]
