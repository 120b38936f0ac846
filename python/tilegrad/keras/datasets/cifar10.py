"""CIFAR-10 as Keras gives it."""

from __future__ import annotations

from typing import Any

from ... import datasets
from ._arrange import as_configured

__all__ = ["load_data"]


def load_data() -> Any:
    """``(x_train, y_train), (x_test, y_test)``: images (N, 32, 32, 3), labels (N, 1), uint8.

    With ``image_data_format`` "channels_first" images are (N, 3, 32, 32). Raises FileNotFoundError
    without the file and a network.
    """
    return as_configured(datasets.cifar10())
