"""MNIST as Keras gives it."""

from __future__ import annotations

from typing import Any

from ... import datasets

__all__ = ["load_data"]


def load_data(path: str = "mnist.npz") -> Any:
    """``(x_train, y_train), (x_test, y_test)``: images (N, 28, 28) and labels (N), both uint8.

    ``path`` is accepted and unused: the files lie where ``tilegrad.datasets.data_folder()`` says.
    Raises FileNotFoundError without them and a network.
    """
    return datasets.mnist()
