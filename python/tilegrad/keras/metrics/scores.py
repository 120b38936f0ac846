"""F scores, R2, correlations, and overlaps of classes (IoU)."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ..config import settings
from ..dtypes import convert_to_tensor
from ..losses.functions import same_rank
from ..op import ordered
from ..registry import own, own_module
from .metric import MeanMetricWrapper, Metric

__all__ = [
    "BinaryIoU",
    "ConcordanceCorrelation",
    "F1Score",
    "FBetaScore",
    "IoU",
    "MeanIoU",
    "OneHotIoU",
    "OneHotMeanIoU",
    "PearsonCorrelation",
    "R2Score",
]


class FBetaScore(Metric):
    """The weighted harmonic mean of precision and recall, of targets in one-hot form.

    ``average``: None for one score per class, ``"micro"``, ``"macro"`` or ``"weighted"``;
    ``threshold``: None for the largest prediction. Raises ValueError for other values and for
    ``beta`` that is not positive.
    """

    _direction = "up"

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str = "fbeta_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype, name)
        if average not in (None, "micro", "macro", "weighted"):
            raise ValueError(
                "Invalid `average` argument value. Expected one of: [None, 'micro', 'macro', "
                f"'weighted']. Received: average={average}"
            )
        if not beta > 0:
            raise ValueError(
                f"Invalid `beta` argument value. It should be > 0. Received: beta={beta}"
            )
        if threshold is not None and not 0 < threshold <= 1:
            raise ValueError(
                "Invalid `threshold` argument value. It should verify 0 < threshold <= 1. "
                "Received: "
                f"threshold={threshold}"
            )
        self.average, self.beta, self.threshold = average, beta, threshold
        self._names = ("true_positives", "false_positives", "false_negatives", "weights")
        self._ready = False

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true = convert_to_tensor(y_true).to(self._dtype)
        y_pred = convert_to_tensor(y_pred).detach().to(self._dtype)
        if not self._ready:
            shape = () if self.average == "micro" else (y_true.shape[-1],)
            for name in self._names:
                setattr(self, name, self.add_variable(shape, name=name))
            self._ready = True
        if self.threshold is None:
            largest = tg.amax(y_pred, dim=-1, keepdim=True)
            chosen = (y_pred >= largest) & (tg.abs(y_pred) > 1e-9)
        else:
            chosen = y_pred > self.threshold
        chosen = chosen.to(self._dtype)
        weight = None
        if sample_weight is not None:
            weight = convert_to_tensor(sample_weight).to(self._dtype).unsqueeze(1)
        axis = None if self.average == "micro" else 0
        parts = (chosen * y_true, chosen * (1 - y_true), (1 - chosen) * y_true, y_true)
        with tg.no_grad():
            for name, part in zip(self._names, parts, strict=True):
                part = part if weight is None else part * weight
                getattr(self, name).add_(part.sum(axis) if axis is not None else part.sum())

    def result(self) -> Any:
        tp, fp, fn, weights = (getattr(self, name).detach() for name in self._names)
        small = settings.epsilon
        precision, recall = tp / (tp + fp + small), tp / (tp + fn + small)
        square = self.beta**2
        score = (1 + square) * precision * recall / (square * precision + recall + small)
        if self.average == "weighted":
            return (score * weights / (weights.sum() + small)).sum()
        return score if self.average is None else score.mean()

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "average": self.average,
            "beta": self.beta,
            "threshold": self.threshold,
        }


class F1Score(FBetaScore):
    """The harmonic mean of precision and recall. Errors are those of :class:`FBetaScore`."""

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str = "f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["beta"]
        return config


class R2Score(Metric):
    """The share of the variance that predictions explain.

    ``class_aggregation``: ``"uniform_average"``, ``"variance_weighted_average"`` or None. Raises
    ValueError for another word and for a negative ``num_regressors``.
    """

    _direction = "up"

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str = "r2_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype, name)
        if class_aggregation not in (None, "uniform_average", "variance_weighted_average"):
            raise ValueError(
                "Invalid value for argument `class_aggregation`. Expected one of (None, "
                "'uniform_average', 'variance_weighted_average'). Received: "
                f"class_aggregation={class_aggregation}"
            )
        if num_regressors < 0:
            raise ValueError(
                "Invalid value for argument `num_regressors`. Expected a value >= 0. Received: "
                f"num_regressors={num_regressors}"
            )
        self.class_aggregation, self.num_regressors = class_aggregation, num_regressors
        self._names = ("sum", "squared_sum", "residual", "count")
        self.num_samples = self.add_variable((), dtype="int32", name="num_samples")
        self._ready = False

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true = convert_to_tensor(y_true).to(self._dtype)
        y_pred = convert_to_tensor(y_pred).detach().to(self._dtype)
        y_true, y_pred = same_rank(y_true, y_pred)
        if y_true.ndim < 2:
            y_true, y_pred = y_true.reshape(-1, 1), y_pred.reshape(-1, 1)
        if not self._ready:
            for name in self._names:
                setattr(self, name, self.add_variable((y_true.shape[-1],), name=name))
            self._ready = True
        weight = tg.ones_like(y_true)
        if sample_weight is not None:
            given = convert_to_tensor(sample_weight).to(self._dtype)
            given = given.unsqueeze(1) if given.ndim == 1 else given
            weight = given.expand(y_true.shape)
        error = (y_true - y_pred) ** 2
        parts = (y_true * weight, y_true * y_true * weight, error * weight, weight)
        with tg.no_grad():
            for name, part in zip(self._names, parts, strict=True):
                getattr(self, name).add_(part.sum(0))
            self.num_samples.add_(y_true.numel())

    def result(self) -> Any:
        total, square, residual, count = (getattr(self, n).detach() for n in self._names)
        spread = square - total * total / count
        scores = 1 - residual / spread
        scores = tg.where(tg.isinf(scores), tg.zeros_like(scores), scores)
        if self.class_aggregation == "uniform_average":
            scores = scores.mean()
        elif self.class_aggregation is not None:
            scores = (spread * scores).sum() / spread.sum()
        samples, used = int(self.num_samples.item()), self.num_regressors
        if used and used < samples - 1:
            scores = 1 - (1 - scores) * (samples - 1) / (samples - used - 1)
        return scores

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "class_aggregation": self.class_aggregation,
            "num_regressors": self.num_regressors,
        }


def pearson_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """The correlation of targets and predictions along an axis."""
    y_true, y_pred = _floats(y_true, y_pred)
    a, b = _standard(y_true, axis), _standard(y_pred, axis)
    return (a * b).mean(axis)


def concordance_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """How near targets and predictions are to each other, not only to a line (Lin, 1989)."""
    y_true, y_pred = _floats(y_true, y_pred)
    mean_true, mean_pred = y_true.mean(axis, keepdim=True), y_pred.mean(axis, keepdim=True)
    var_true = ((y_true - mean_true) ** 2).mean(axis)
    var_pred = ((y_pred - mean_pred) ** 2).mean(axis)
    both = ((y_true - mean_true) * (y_pred - mean_pred)).mean(axis)
    apart = ((mean_true - mean_pred) ** 2).squeeze(axis)
    return 2 * both / (var_true + var_pred + apart + settings.epsilon)


def _floats(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    y_pred = convert_to_tensor(y_pred)
    return same_rank(convert_to_tensor(y_true).to(y_pred.dtype), y_pred)


def _standard(x: Any, axis: int) -> Any:
    x = x - x.mean(axis, keepdim=True)
    return x / tg.sqrt((x * x).mean(axis, keepdim=True)).clamp(min=settings.epsilon)


class PearsonCorrelation(MeanMetricWrapper):
    """The mean correlation of targets and predictions."""

    _direction = "up"

    def __init__(
        self, name: str = "pearson_correlation", dtype: Any = None, axis: int = -1
    ) -> None:
        super().__init__(pearson_correlation, name, dtype, axis=axis)


class ConcordanceCorrelation(MeanMetricWrapper):
    """The mean concordance of targets and predictions."""

    _direction = "up"

    def __init__(
        self, name: str = "concordance_correlation", dtype: Any = None, axis: int = -1
    ) -> None:
        super().__init__(concordance_correlation, name, dtype, axis=axis)


class IoU(Metric):
    """For some classes, the overlap of target and prediction over their union; the mean over those
    classes. Raises ValueError for class numbers that are not below ``num_classes``."""

    _direction = "up"

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Any,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(dtype or "int32", name)
        if max(target_class_ids) >= num_classes:
            raise ValueError(
                f"Target class id {max(target_class_ids)} is out of range, which is [0, "
                f"{num_classes})."
            )
        self.num_classes, self.target_class_ids = num_classes, list(target_class_ids)
        self.ignore_class, self.axis = ignore_class, axis
        self.sparse_y_true, self.sparse_y_pred = sparse_y_true, sparse_y_pred
        self.total_cm = self.add_variable(
            (num_classes, num_classes), dtype="float32", name="total_confusion_matrix"
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = convert_to_tensor(y_true), convert_to_tensor(y_pred).detach()
        y_true = y_true if self.sparse_y_true else ordered(y_true).argmax(self.axis)
        y_pred = y_pred if self.sparse_y_pred else ordered(y_pred).argmax(self.axis)
        true, pred = y_true.reshape(-1).to(tg.int64), y_pred.reshape(-1).to(tg.int64)
        weight = tg.ones(true.shape)
        if sample_weight is not None:
            given = convert_to_tensor(sample_weight).to(tg.float32)
            while given.ndim < y_true.ndim:
                given = given.unsqueeze(-1)
            weight = given.expand(y_true.shape).reshape(-1)
        if self.ignore_class is not None:
            kept = true != self.ignore_class
            true, pred, weight = true[kept], pred[kept], weight[kept]
        for what, numbers in (("y_true", true), ("y_pred", pred)):
            if numbers.numel() and not 0 <= int(numbers.min()) <= int(numbers.max()) < (
                self.num_classes
            ):
                raise ValueError(
                    f"{type(self).__name__}: {what} holds class numbers outside [0, "
                    f"{self.num_classes})"
                )
        counts = tg.bincount(true * self.num_classes + pred, weight, minlength=self.num_classes**2)
        with tg.no_grad():
            self.total_cm.add_(counts.reshape(self.num_classes, -1).to(tg.float32))

    def result(self) -> Any:
        matrix = self.total_cm.detach()
        overlap = tg.diagonal(matrix)
        union = matrix.sum(0) + matrix.sum(1) - overlap
        overlap, union = overlap[self.target_class_ids], union[self.target_class_ids]
        there = union > 0
        count = there.sum()
        shares = tg.where(there, overlap / tg.where(there, union, tg.ones_like(union)),
                          tg.zeros_like(union))  # fmt: skip
        return shares.sum() / count.clamp(min=1)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "target_class_ids": self.target_class_ids,
            "ignore_class": self.ignore_class,
            "sparse_y_true": self.sparse_y_true,
            "sparse_y_pred": self.sparse_y_pred,
            "axis": self.axis,
        }


class BinaryIoU(IoU):
    """IoU of two classes, by a threshold. Errors are those of :class:`IoU`."""

    def __init__(
        self,
        target_class_ids: Any = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = threshold

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        chosen = convert_to_tensor(y_pred) >= self.threshold
        super().update_state(y_true, chosen.to(tg.int64), sample_weight)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {
            "name": config["name"],
            "dtype": config["dtype"],
            "target_class_ids": self.target_class_ids,
            "threshold": self.threshold,
        }


class MeanIoU(IoU):
    """IoU of all classes. Errors are those of :class:`IoU`."""

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(
            num_classes, range(num_classes), name, dtype, ignore_class, sparse_y_true,
            sparse_y_pred, axis,
        )  # fmt: skip

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["target_class_ids"]
        return config


class OneHotIoU(IoU):
    """IoU of targets in one-hot form. Errors are those of :class:`IoU`."""

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Any,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(
            num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["sparse_y_true"]
        return config


class OneHotMeanIoU(MeanIoU):
    """IoU of all classes, targets in one-hot form. Errors are those of :class:`IoU`."""

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["sparse_y_true"]
        return config


own_module(globals())
own(pearson_correlation, concordance_correlation)
