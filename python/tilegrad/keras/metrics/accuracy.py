"""Accuracies: how often predictions are right."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ..dtypes import convert_to_tensor
from ..losses.functions import same_rank
from ..op import ordered
from ..registry import own, own_module
from .metric import MeanMetricWrapper

__all__ = [
    "Accuracy",
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "SparseCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy",
    "TopKCategoricalAccuracy",
]


def _float(x: Any) -> Any:
    return x.to(tg.float32)


def accuracy(y_true: Any, y_pred: Any) -> Any:
    """Whether targets equal predictions."""
    y_true, y_pred = same_rank(convert_to_tensor(y_true), convert_to_tensor(y_pred))
    return _float(y_true.to(y_pred.dtype) == y_pred)


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Any:
    """Whether predictions above the threshold are those whose target is 1."""
    y_true, y_pred = same_rank(convert_to_tensor(y_true), convert_to_tensor(y_pred))
    return _float(y_true.to(y_pred.dtype) == (y_pred > threshold).to(y_pred.dtype))


def categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """Whether the largest prediction is where the target in one-hot form has its largest number."""
    y_pred = convert_to_tensor(y_pred)
    return _float(ordered(y_true).argmax(-1) == y_pred.argmax(-1))


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """Whether the largest prediction is that of the target's class."""
    y_pred, y_true = convert_to_tensor(y_pred), convert_to_tensor(y_true)
    if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
        y_true = y_true.squeeze(-1)
    return _float(y_pred.argmax(-1) == y_true)


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Any:
    """Whether the target, in one-hot form, is among the ``k`` largest predictions."""
    return sparse_top_k_categorical_accuracy(ordered(y_true).argmax(-1), y_pred, k)


def sparse_top_k_categorical_accuracy(
    y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False
) -> Any:
    """Whether the target's class is among the ``k`` largest predictions."""
    from ..ops import in_top_k

    y_pred, y_true = convert_to_tensor(y_pred), convert_to_tensor(y_true)
    shape = y_true.shape
    y_true = y_true.reshape(-1).to(tg.int64)
    y_pred = y_pred.reshape(-1, y_pred.shape[-1])
    if from_sorted_ids:
        found = (y_true.unsqueeze(-1) == y_pred[:, :k]).any(-1)
    else:
        found = in_top_k(y_true, y_pred, k)
    made = _float(found)
    return made.reshape(shape) if len(shape) > 1 else made


class Accuracy(MeanMetricWrapper):
    """How often predictions equal targets."""

    def __init__(self, name: str = "accuracy", dtype: Any = None) -> None:
        super().__init__(accuracy, name, dtype)


class BinaryAccuracy(MeanMetricWrapper):
    """How often predictions are on the right side of ``threshold``. Raises ValueError for one
    outside (0, 1)."""

    def __init__(
        self, name: str = "binary_accuracy", dtype: Any = None, threshold: float = 0.5
    ) -> None:
        if threshold is not None and not 0 < threshold < 1:
            raise ValueError(
                "Invalid value for argument `threshold`. Expected a value in interval (0, 1). "
                f"Received: threshold={threshold}"
            )
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)


class CategoricalAccuracy(MeanMetricWrapper):
    """How often the largest prediction is the right one, for targets in one-hot form."""

    def __init__(self, name: str = "categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(categorical_accuracy, name, dtype)


class SparseCategoricalAccuracy(MeanMetricWrapper):
    """How often the largest prediction is the right one, for class numbers."""

    def __init__(self, name: str = "sparse_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(sparse_categorical_accuracy, name, dtype)


class TopKCategoricalAccuracy(MeanMetricWrapper):
    """How often the right class is among the ``k`` largest predictions, targets in one-hot form."""

    def __init__(
        self, k: int = 5, name: str = "top_k_categorical_accuracy", dtype: Any = None
    ) -> None:
        super().__init__(top_k_categorical_accuracy, name, dtype, k=k)


class SparseTopKCategoricalAccuracy(MeanMetricWrapper):
    """How often the right class is among the ``k`` largest predictions, targets class numbers."""

    def __init__(
        self,
        k: int = 5,
        name: str = "sparse_top_k_categorical_accuracy",
        dtype: Any = None,
        from_sorted_ids: bool = False,
    ) -> None:
        super().__init__(
            sparse_top_k_categorical_accuracy, name, dtype, k=k, from_sorted_ids=from_sorted_ids
        )


own_module(globals())
own(
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    top_k_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
)
