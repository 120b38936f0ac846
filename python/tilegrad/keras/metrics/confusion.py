"""True and false positives and negatives at thresholds, and what follows from them: precision,
recall, areas under curves."""

from __future__ import annotations

from typing import Any

import numpy as np

import tilegrad as tg

from ..dtypes import convert_to_tensor
from ..losses.functions import same_rank
from ..registry import own_module
from .metric import Metric

__all__ = [
    "AUC",
    "FalseNegatives",
    "FalsePositives",
    "Precision",
    "PrecisionAtRecall",
    "Recall",
    "RecallAtPrecision",
    "SensitivityAtSpecificity",
    "SpecificityAtSensitivity",
    "TrueNegatives",
    "TruePositives",
]

_KINDS = ("true_positives", "false_positives", "true_negatives", "false_negatives")


def _quotient(a: Any, b: Any) -> Any:
    return tg.where(b == 0, tg.zeros_like(a), a / tg.where(b == 0, tg.ones_like(b), b))


class _Confusion(Metric):
    """What counts predictions above and below thresholds.

    Raises ValueError for thresholds outside [0, 1].
    """

    _kinds: tuple[str, ...] = _KINDS
    _epsilon = 1e-7

    def _start(self, thresholds: Any, default: float = 0.5) -> None:
        given = [default] if thresholds is None else thresholds
        listed = list(given) if isinstance(given, (list, tuple, np.ndarray)) else [given]
        if any(t is None or not 0 <= t <= 1 for t in listed):
            raise ValueError(
                f"Threshold values must be in the range [0, 1]. Received: thresholds={thresholds}"
            )
        self._thresholds = [float(t) for t in listed]

    def _make_counts(self, shape: Any) -> None:
        for kind in self._kinds:
            setattr(self, kind, self.add_variable(shape, name=kind))

    def _count(
        self, y_true: Any, y_pred: Any, weight: Any, cuts: list[float], by_label: bool = False
    ) -> None:
        """Adds up, for each threshold (and label)."""
        with tg.no_grad():
            y_true = convert_to_tensor(y_true).to(self._dtype)
            y_pred = convert_to_tensor(y_pred).detach().to(self._dtype)
            y_true, y_pred = same_rank(y_true, y_pred)
            if weight is not None:
                weight = convert_to_tensor(weight).to(self._dtype)
                while weight.ndim < y_true.ndim:
                    weight = weight.unsqueeze(-1)
                weight = weight.expand(y_true.shape)
            if not by_label:
                y_true, y_pred = y_true.reshape(1, -1), y_pred.reshape(1, -1)
                weight = None if weight is None else weight.reshape(1, -1)
                axis = 1
            else:
                y_true, y_pred = y_true.unsqueeze(0), y_pred.unsqueeze(0)
                weight = None if weight is None else weight.unsqueeze(0)
                axis = 1
            edges = convert_to_tensor(cuts).to(self._dtype).reshape(-1, *[1] * (y_true.ndim - 1))
            above = (y_pred > edges).to(self._dtype)
            is_true = (y_true > 0).to(self._dtype)
            ones = tg.ones_like(is_true) if weight is None else weight
            parts = {
                "true_positives": (above, is_true),
                "false_positives": (above, 1 - is_true),
                "true_negatives": (1 - above, 1 - is_true),
                "false_negatives": (1 - above, is_true),
            }
            for kind in self._kinds:
                predicted, labelled = parts[kind]
                counts = (predicted * (labelled * ones)).sum(axis)
                getattr(self, kind).add_(counts)


class _Single(_Confusion):
    """One kind of count."""

    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(dtype, name)
        self._start(thresholds)
        self.thresholds = thresholds
        self._make_counts((len(self._thresholds),))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self._count(y_true, y_pred, sample_weight, self._thresholds)

    def result(self) -> Any:
        found = getattr(self, self._kinds[0]).detach()
        return found[0] if len(self._thresholds) == 1 else found.clone()

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "thresholds": self.thresholds}


class TruePositives(_Single):
    """How many positives were found. Raises ValueError for thresholds outside [0, 1]."""

    _kinds = ("true_positives",)


class FalsePositives(_Single):
    """How many negatives were taken for positives. Raises ValueError as TruePositives."""

    _kinds = ("false_positives",)


class TrueNegatives(_Single):
    """How many negatives were found. Raises ValueError as TruePositives."""

    _kinds = ("true_negatives",)


class FalseNegatives(_Single):
    """How many positives were missed. Raises ValueError as TruePositives."""

    _kinds = ("false_negatives",)


class _Share(_Confusion):
    """True positives over something."""

    def __init__(
        self,
        thresholds: Any = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype, name)
        self.thresholds, self.top_k, self.class_id = thresholds, top_k, class_id
        self._start(thresholds, 0.5 if top_k is None else 0.0)
        self._make_counts((len(self._thresholds),))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_pred, y_true = convert_to_tensor(y_pred).detach(), convert_to_tensor(y_true)
        cuts = self._thresholds
        if self.top_k is not None:
            smallest = tg.topk(y_pred, self.top_k)[0][..., -1:]
            low = tg.full_like(y_pred, -1.0)
            y_pred = tg.where(y_pred >= smallest, tg.ones_like(y_pred), low)
        if self.class_id is not None:
            y_true, y_pred = y_true[..., self.class_id], y_pred[..., self.class_id]
        self._count(y_true, y_pred, sample_weight, cuts)

    def result(self) -> Any:
        true, other = (getattr(self, kind).detach() for kind in self._kinds)
        made = _quotient(true, true + other)
        return made[0] if len(self._thresholds) == 1 else made

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "thresholds": self.thresholds,
            "top_k": self.top_k,
            "class_id": self.class_id,
        }


class Precision(_Share):
    """The share of true among predicted positives, at thresholds or among the ``top_k`` largest.

    Raises ValueError for thresholds outside [0, 1].
    """

    _kinds = ("true_positives", "false_positives")


class Recall(_Share):
    """The share of positives that were found, at thresholds or among the ``top_k`` largest.

    Raises ValueError for thresholds outside [0, 1].
    """

    _kinds = ("true_positives", "false_negatives")


class _AtConstraint(_Confusion):
    """The best of one number where another reaches ``value``, over many thresholds."""

    def __init__(
        self,
        value: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype, name)
        if num_thresholds <= 0:
            raise ValueError(
                "Argument `num_thresholds` must be an integer > 0. Received: "
                f"num_thresholds={num_thresholds}"
            )
        if not 0 <= value <= 1:
            raise ValueError(
                f"{type(self).__name__}: argument '{self._argument}' must be in the range [0, 1], "
                f"got {value}"
            )
        self.value, self.num_thresholds, self.class_id = value, num_thresholds, class_id
        self._start(_even(num_thresholds) if num_thresholds > 1 else [0.5])
        self._make_counts((len(self._thresholds),))

    _argument = "value"

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        if self.class_id is not None:
            y_true = convert_to_tensor(y_true)[..., self.class_id]
            y_pred = convert_to_tensor(y_pred)[..., self.class_id]
        self._count(y_true, y_pred, sample_weight, self._thresholds)

    def _numbers(self) -> dict[str, Any]:
        tp, fp, tn, fn = (getattr(self, kind).detach() for kind in _KINDS)
        return {
            "recall": _quotient(tp, tp + fn),
            "precision": _quotient(tp, tp + fp),
            "specificity": _quotient(tn, tn + fp),
        }

    def _best(self, constrained: str, wanted: str) -> Any:
        numbers = self._numbers()
        fits = numbers[constrained] >= self.value
        if not bool(fits.any()):
            return tg.zeros(())
        return numbers[wanted][fits].max()

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            self._argument: self.value,
            "num_thresholds": self.num_thresholds,
            "class_id": self.class_id,
        }


def _even(count: int) -> list[float]:
    return [0.0, *((i + 1) / (count - 1) for i in range(count - 2)), 1.0]


class PrecisionAtRecall(_AtConstraint):
    """The best precision where recall reaches ``recall``. Raises ValueError for it outside [0,
    1]."""

    _argument = "recall"

    def __init__(self, recall: float, num_thresholds: int = 200, class_id: int | None = None,
                 name: str | None = None, dtype: Any = None) -> None:  # fmt: skip
        super().__init__(recall, num_thresholds, class_id, name, dtype)

    def result(self) -> Any:
        return self._best("recall", "precision")


class RecallAtPrecision(_AtConstraint):
    """The best recall where precision reaches ``precision``. Raises ValueError for it outside
    [0, 1]."""

    _argument = "precision"

    def __init__(self, precision: float, num_thresholds: int = 200, class_id: int | None = None,
                 name: str | None = None, dtype: Any = None) -> None:  # fmt: skip
        super().__init__(precision, num_thresholds, class_id, name, dtype)

    def result(self) -> Any:
        return self._best("precision", "recall")


class SensitivityAtSpecificity(_AtConstraint):
    """The best sensitivity where specificity reaches ``specificity``. Raises ValueError for it
    outside [0, 1]."""

    _argument = "specificity"

    def __init__(self, specificity: float, num_thresholds: int = 200, class_id: int | None = None,
                 name: str | None = None, dtype: Any = None) -> None:  # fmt: skip
        super().__init__(specificity, num_thresholds, class_id, name, dtype)

    def result(self) -> Any:
        return self._best("specificity", "recall")


class SpecificityAtSensitivity(_AtConstraint):
    """The best specificity where sensitivity reaches ``sensitivity``. Raises ValueError for it
    outside [0, 1]."""

    _argument = "sensitivity"

    def __init__(self, sensitivity: float, num_thresholds: int = 200, class_id: int | None = None,
                 name: str | None = None, dtype: Any = None) -> None:  # fmt: skip
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)

    def result(self) -> Any:
        return self._best("recall", "specificity")


class AUC(_Confusion):
    """The area under a curve: ``"ROC"`` or ``"PR"``, of each label by itself with ``multi_label``.

    Heights between thresholds are ``"interpolation"``, ``"minoring"`` or ``"majoring"``. Raises
    ValueError for other words and for fewer than two thresholds.
    """

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Any = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Any = None,
        from_logits: bool = False,
    ) -> None:
        super().__init__(dtype, name)
        if str(curve).upper() not in ("ROC", "PR"):
            raise ValueError(f"AUC: argument 'curve': expected 'ROC' or 'PR', got {curve!r}")
        if summation_method not in ("interpolation", "minoring", "majoring"):
            raise ValueError(
                "AUC: argument 'summation_method': expected 'interpolation', 'minoring' or "
                f"'majoring', got {summation_method!r}"
            )
        if thresholds is None and num_thresholds <= 1:
            raise ValueError(
                "Argument `num_thresholds` must be an integer > 1. Received: "
                f"num_thresholds={num_thresholds}"
            )
        self._given = {
            "num_thresholds": num_thresholds, "curve": curve,
            "summation_method": summation_method, "thresholds": thresholds,
            "multi_label": multi_label, "num_labels": num_labels, "label_weights": label_weights,
            "from_logits": from_logits,
        }  # fmt: skip
        self.curve, self.summation_method = str(curve).upper(), summation_method
        self.multi_label, self.from_logits = multi_label, from_logits
        self.label_weights = label_weights
        inner = _even(num_thresholds)[1:-1] if thresholds is None else sorted(thresholds)
        self._thresholds = [-self._epsilon, *inner, 1.0 + self._epsilon]
        self.num_thresholds = len(self._thresholds)
        self._ready = False
        if not multi_label or num_labels:
            self._prepare(num_labels)

    _direction = "up"

    def _prepare(self, labels: int | None) -> None:
        count = self.num_thresholds
        self._make_counts((count, labels) if self.multi_label else (count,))
        self._ready = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_pred = convert_to_tensor(y_pred)
        if not self._ready:
            self._prepare(y_pred.shape[-1])
        if self.from_logits:
            y_pred = tg.sigmoid(y_pred)
        self._count(y_true, y_pred, sample_weight, self._thresholds, self.multi_label)

    def result(self) -> Any:
        tp, fp, tn, fn = (getattr(self, kind).detach() for kind in _KINDS)
        if self.curve == "PR" and self.summation_method == "interpolation":
            terms = _interpolated(tp, fp, fn)
        else:
            recall = _quotient(tp, tp + fn)
            x = _quotient(fp, fp + tn) if self.curve == "ROC" else recall
            y = recall if self.curve == "ROC" else _quotient(tp, tp + fp)
            low, high = y[:-1], y[1:]
            heights = {
                "interpolation": lambda: (low + high) / 2,
                "minoring": lambda: tg.minimum(low, high),
                "majoring": lambda: tg.maximum(low, high),
            }[self.summation_method]()
            terms = (x[:-1] - x[1:]) * heights
        if not self.multi_label:
            return terms.sum()
        areas = terms.sum(0)
        if self.label_weights is None:
            return areas.mean()
        weights = convert_to_tensor(self.label_weights).to(areas.dtype)
        return (areas * weights).sum() / weights.sum()

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._given}


def _interpolated(tp: Any, fp: Any, fn: Any) -> Any:
    """Areas between thresholds under precision over recall, both being quotients that move along a
    line in the counts (Davis and Goadrich, 2006)."""
    rise = tp[:-1] - tp[1:]
    predicted = tp + fp
    step = predicted[:-1] - predicted[1:]
    slope = _quotient(rise, step.clamp(min=0))
    start = tp[1:] - slope * predicted[1:]
    both = (predicted[:-1] > 0) & (predicted[1:] > 0)
    ratio = tg.where(
        both, _quotient(predicted[:-1], predicted[1:].clamp(min=0)), tg.ones_like(step)
    )
    return _quotient(slope * (rise + start * tg.log(ratio)), (tp[1:] + fn[1:]).clamp(min=0))


own_module(globals())
