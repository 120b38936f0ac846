"""Fashion-MNIST as Keras gives it."""

from __future__ import annotations

from typing import Any

from ... import datasets

__all__ = ["load_data"]


def load_data() -> Any:
    """``(x_train, y_train), (x_test, y_test)``: images (N, 28, 28) and labels (N), both uint8.

    Raises FileNotFoundError without the files and a network.
    """
    return datasets.fashion_mnist()
