"""The losses as classes: their options, and what they are called in logs."""

from __future__ import annotations

from typing import Any

from ..registry import own_module
from . import functions
from .loss import LossFunctionWrapper

__all__ = [
    "CTC",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalGeneralizedCrossEntropy",
    "CategoricalHinge",
    "Circle",
    "CosineSimilarity",
    "Dice",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "Tversky",
]


class _Named(LossFunctionWrapper):
    """A loss whose configuration is its options, not its function."""

    def _start(self, function: Any, given: dict[str, Any]) -> None:
        """Takes what ``__init__`` was given; all but three arguments are the function's."""
        own = {"self", "reduction", "name", "dtype"}
        options = {key: value for key, value in given.items() if key not in own}
        super().__init__(function, given["reduction"], given["name"], given["dtype"], **options)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "reduction": self.reduction, **self._fn_kwargs}


class BinaryCrossentropy(_Named):
    """The cross-entropy of two classes, targets being 0 and 1."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
    ) -> None:
        self._start(functions.binary_crossentropy, locals())


class BinaryFocalCrossentropy(_Named):
    """Binary cross-entropy that counts easy samples less."""

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        self._start(functions.binary_focal_crossentropy, locals())


class CTC(_Named):
    """Connectionist temporal classification."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "ctc",
        dtype: Any = None,
    ) -> None:
        self._start(functions.ctc, locals())


class CategoricalCrossentropy(_Named):
    """The cross-entropy of several classes, targets in one-hot form."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        self._start(functions.categorical_crossentropy, locals())


class CategoricalFocalCrossentropy(_Named):
    """Cross-entropy that counts easy samples less."""

    def __init__(
        self,
        alpha: Any = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        self._start(functions.categorical_focal_crossentropy, locals())


class CategoricalGeneralizedCrossEntropy(_Named):
    """A loss between cross-entropy and absolute error, for noisy labels."""

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_generalized_cross_entropy",
        dtype: Any = None,
    ) -> None:
        self._start(functions.categorical_generalized_cross_entropy, locals())


class CategoricalHinge(_Named):
    """The margin between the right class and the best wrong one."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_hinge",
        dtype: Any = None,
    ) -> None:
        self._start(functions.categorical_hinge, locals())


class Circle(_Named):
    """Circle loss of embeddings."""

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "circle",
        dtype: Any = None,
    ) -> None:
        self._start(functions.circle, locals())


class CosineSimilarity(_Named):
    """Minus the cosine between targets and predictions."""

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "cosine_similarity",
        dtype: Any = None,
    ) -> None:
        self._start(functions.cosine_similarity, locals())


class Dice(_Named):
    """One minus the Dice overlap."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "dice",
        axis: Any = None,
        dtype: Any = None,
    ) -> None:
        self._start(functions.dice, locals())


class Hinge(_Named):
    """The hinge loss of support vector machines."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "hinge",
        dtype: Any = None,
    ) -> None:
        self._start(functions.hinge, locals())


class Huber(_Named):
    """Squared error for small errors, absolute for large ones."""

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: Any = None,
    ) -> None:
        self._start(functions.huber, locals())


class KLDivergence(_Named):
    """The Kullback-Leibler divergence."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "kl_divergence",
        dtype: Any = None,
    ) -> None:
        self._start(functions.kl_divergence, locals())


class LogCosh(_Named):
    """The logarithm of the hyperbolic cosine of the error."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "log_cosh",
        dtype: Any = None,
    ) -> None:
        self._start(functions.log_cosh, locals())


class MeanAbsoluteError(_Named):
    """The mean absolute error."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_absolute_error",
        dtype: Any = None,
    ) -> None:
        self._start(functions.mean_absolute_error, locals())


class MeanAbsolutePercentageError(_Named):
    """The mean absolute error in percent of the target."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_absolute_percentage_error",
        dtype: Any = None,
    ) -> None:
        self._start(functions.mean_absolute_percentage_error, locals())


class MeanSquaredError(_Named):
    """The mean squared error."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_squared_error",
        dtype: Any = None,
    ) -> None:
        self._start(functions.mean_squared_error, locals())


class MeanSquaredLogarithmicError(_Named):
    """The mean squared difference of logarithms."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_squared_logarithmic_error",
        dtype: Any = None,
    ) -> None:
        self._start(functions.mean_squared_logarithmic_error, locals())


class Poisson(_Named):
    """The Poisson loss."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "poisson",
        dtype: Any = None,
    ) -> None:
        self._start(functions.poisson, locals())


class SparseCategoricalCrossentropy(_Named):
    """The cross-entropy of several classes, targets being class numbers."""

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        self._start(functions.sparse_categorical_crossentropy, locals())


class SquaredHinge(_Named):
    """The square of the hinge loss."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "squared_hinge",
        dtype: Any = None,
    ) -> None:
        self._start(functions.squared_hinge, locals())


class Tversky(_Named):
    """One minus the Tversky overlap."""

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "tversky",
        axis: Any = None,
        dtype: Any = None,
    ) -> None:
        self._start(functions.tversky, locals())


own_module(globals())
