"""Tables: California's house prices, and what ships inside scikit-learn."""

from __future__ import annotations

import importlib
from typing import Any, TypeAlias

import numpy as np

from .files import DataFile, locate

__all__ = ["breast_cancer", "california_housing", "diabetes", "digits", "iris", "wine"]

Array: TypeAlias = np.ndarray

_HOUSING = DataFile(
    "tables/california_housing.npz",
    "sha256:1a2e3a52e0398de6463aebe6f4a8da34fb21fbb6b934cf88c3425e766f2a1a6f",
    743_530,
    ("https://storage.googleapis.com/tensorflow/tf-keras-datasets/california_housing.npz",),
)


def california_housing() -> tuple[Array, Array]:
    """20,640 districts with 8 features each, and the median value of a house there in dollars.

    Income, age of houses, rooms, bedrooms, population, household size, latitude, longitude, from
    the census of 1990. Raises FileNotFoundError without the file and a network. Source: Pace and
    Barry, 1997, as prepared for Keras.
    """
    with np.load(locate(_HOUSING, "California housing"), allow_pickle=False) as arrays:
        return arrays["x"], arrays["y"]


def digits() -> tuple[Array, Array]:
    """1,797 handwritten digits: images (N, 8, 8; float32 from 0 to 16) and labels (N; int64).

    Ships inside scikit-learn; raises ImportError without it.
    """
    bunch = _bundled("digits")
    return bunch.images.astype(np.float32), bunch.target.astype(np.int64)


def iris() -> tuple[Array, Array]:
    """150 flowers: 4 lengths in cm (float32), one of 3 kinds (int64). Errors as ``digits``."""
    return _table("iris")


def wine() -> tuple[Array, Array]:
    """178 wines: 13 measurements (float32), one of 3 growers (int64). Errors as ``digits``."""
    return _table("wine")


def breast_cancer() -> tuple[Array, Array]:
    """569 tumours: 30 measurements (float32); malignant 0, benign 1 (int64).

    Errors as ``digits``.
    """
    return _table("breast_cancer")


def diabetes() -> tuple[Array, Array]:
    """442 patients: 10 normalized measurements, their illness a year later (both float32).

    Errors as ``digits``.
    """
    features, target = _table("diabetes")
    return features, target.astype(np.float32)


def _table(name: str) -> tuple[Array, Array]:
    bunch = _bundled(name)
    return bunch.data.astype(np.float32), bunch.target.astype(np.int64)


def _bundled(name: str) -> Any:
    """scikit-learn's own copy. Raises ImportError without scikit-learn."""
    try:
        package = importlib.import_module("sklearn.datasets")
    except ImportError as error:
        raise ImportError(
            f"{name} ships inside scikit-learn: pip install scikit-learn", name="sklearn"
        ) from error
    return getattr(package, f"load_{name}")()
