"""CIFAR-100 as Keras gives it."""

from __future__ import annotations

from typing import Any

from ... import datasets
from ._arrange import as_configured

__all__ = ["load_data"]


def load_data(label_mode: str = "fine") -> Any:
    """As ``cifar10.load_data``, with 100 "fine" or 20 "coarse" labels.

    Raises ValueError for another ``label_mode``, FileNotFoundError without the file and a network.
    """
    if label_mode not in ("fine", "coarse"):
        raise ValueError(
            f"cifar100.load_data: argument 'label_mode': expected 'fine' or 'coarse', "
            f"got {label_mode!r}"
        )
    return as_configured(datasets.cifar100(label_mode))
