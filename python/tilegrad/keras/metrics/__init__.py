"""``keras.metrics``: what is told about training beside the loss."""

from __future__ import annotations

import inspect
from typing import Any

from .. import losses as _losses
from ..losses.functions import *  # noqa: F403
from ..registry import serialize_keras_object
from ..resolve import resolve
from . import accuracy as _accuracy
from . import confusion as _confusion
from . import means as _means
from . import metric as _metric
from . import scores as _scores
from .accuracy import *  # noqa: F403
from .accuracy import (
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)
from .confusion import *  # noqa: F403
from .means import *  # noqa: F403
from .metric import *  # noqa: F403
from .scores import *  # noqa: F403
from .scores import concordance_correlation, pearson_correlation

_ROOMS = (_metric, _accuracy, _means, _confusion, _scores)
_CLASSES = {name: getattr(room, name) for room in _ROOMS for name in room.__all__}
_FUNCTIONS: dict[str, Any] = {
    **{name: getattr(_losses.functions, name) for name in _losses.functions.__all__},
    "binary_accuracy": binary_accuracy,
    "concordance_correlation": concordance_correlation,
    "pearson_correlation": pearson_correlation,
    "categorical_accuracy": categorical_accuracy,
    "sparse_categorical_accuracy": sparse_categorical_accuracy,
    "sparse_top_k_categorical_accuracy": sparse_top_k_categorical_accuracy,
    "top_k_categorical_accuracy": top_k_categorical_accuracy,
}
__all__ = [*_CLASSES, *_FUNCTIONS, "deserialize", "get", "serialize"]

_OF_FUNCTION = {  # the class that a function's name means
    "binary_accuracy": "BinaryAccuracy", "categorical_accuracy": "CategoricalAccuracy",
    "sparse_categorical_accuracy": "SparseCategoricalAccuracy",
    "top_k_categorical_accuracy": "TopKCategoricalAccuracy",
    "sparse_top_k_categorical_accuracy": "SparseTopKCategoricalAccuracy",
    "kl_divergence": "KLDivergence", "poisson": "Poisson",
    "mean_squared_error": "MeanSquaredError", "mean_absolute_error": "MeanAbsoluteError",
    "mean_absolute_percentage_error": "MeanAbsolutePercentageError",
    "mean_squared_logarithmic_error": "MeanSquaredLogarithmicError",
    "cosine_similarity": "CosineSimilarity", "log_cosh": "LogCoshError",
    "binary_crossentropy": "BinaryCrossentropy",
    "categorical_crossentropy": "CategoricalCrossentropy",
    "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
    "categorical_hinge": "CategoricalHinge", "hinge": "Hinge", "squared_hinge": "SquaredHinge",
    "mse": "MeanSquaredError", "mae": "MeanAbsoluteError", "mape": "MeanAbsolutePercentageError",
    "msle": "MeanSquaredLogarithmicError", "MSE": "MeanSquaredError", "MAE": "MeanAbsoluteError",
    "MAPE": "MeanAbsolutePercentageError", "MSLE": "MeanSquaredLogarithmicError",
    "bce": "BinaryCrossentropy", "BCE": "BinaryCrossentropy", "kld": "KLDivergence",
    "root_mean_squared_error": "RootMeanSquaredError", "rmse": "RootMeanSquaredError",
    "auc": "AUC", "precision": "Precision", "recall": "Recall", "r2_score": "R2Score",
    "f1_score": "F1Score", "mean_iou": "MeanIoU",
}  # fmt: skip
_BY_NAME: dict[str, Any] = {
    **_FUNCTIONS,
    **_CLASSES,
    **{name: _CLASSES[cls] for name, cls in _OF_FUNCTION.items() if cls in _CLASSES},
}


def get(identifier: Any) -> Any:
    """The metric meant by a name, a configuration, a class, an instance or a function.

    Raises ValueError for what is none of them.
    """
    return resolve("metric", identifier, _BY_NAME)


def as_metric(identifier: Any) -> Any:
    """The same as a :class:`Metric`: functions are wrapped. None stays."""
    if identifier is None or isinstance(identifier, _metric.Metric):
        return identifier
    found = get(identifier)
    if isinstance(found, _metric.Metric):
        return found
    if isinstance(found, _losses.Loss) or inspect.isfunction(found) or callable(found):
        return _metric.MeanMetricWrapper(found, name=_name_of(found))
    raise ValueError(f"Could not interpret metric identifier: {identifier!r}")


def _name_of(found: Any) -> str | None:
    return getattr(found, "name", None) or getattr(found, "__name__", None)


def serialize(metric: Any) -> Any:
    """The configuration that :func:`deserialize` takes."""
    return serialize_keras_object(metric)


def deserialize(config: Any, custom_objects: Any = None) -> Any:
    """The metric of a configuration or a name."""
    from ..registry import CustomObjectScope

    with CustomObjectScope(custom_objects or {}):
        return get(config)
