"""``Loss``: the base class, which weights, masks and reduces the losses of samples."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from .. import tree
from ..dtypes import convert_to_tensor, dtype_of, standardize_dtype
from ..naming import auto_name
from ..op import on_tensors
from ..symbolic import context
from .functions import MEANS, same_rank

__all__ = ["Loss", "LossFunctionWrapper", "reduce_weighted"]

_MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")  # the same without weights
_REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None)


class Loss:
    """Define ``call(y_true, y_pred)``, which returns one number per sample.

    ``reduction`` makes one number of them: ``"sum_over_batch_size"`` divides by their count,
    ``"mean_with_sample_weight"`` by the sum of the weights. Raises ValueError for another word.
    """

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        if reduction not in _REDUCTIONS:
            raise ValueError(
                "Invalid value for argument `reduction`. Expected one of "
                f"{_REDUCTIONS}. Received: reduction={reduction}"
            )
        self.name = name or auto_name(type(self).__name__)
        self.reduction = reduction
        self._dtype = None if dtype is None else dtype_of(getattr(dtype, "compute_dtype", dtype))

    @property
    def dtype(self) -> str:
        """What targets and predictions are converted to, by name."""
        return standardize_dtype(self._dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The losses of the samples; subclasses override it."""
        raise NotImplementedError(f"{type(self).__name__}: call is not defined")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        mask = getattr(y_pred, "_keras_mask", None) if context.masks else None
        dtype = self._dtype
        if not isinstance(y_pred, tg.Tensor) or dtype is not None:
            y_pred = tree.map_structure(lambda x: convert_to_tensor(x, dtype), y_pred)
        if not isinstance(y_true, tg.Tensor):
            y_true = tree.map_structure(convert_to_tensor, y_true)
        if sample_weight is None and mask is None and self.reduction in _MEANS:
            mean = self._mean(y_true, y_pred)
            if mean is not None:
                return mean
        losses = self.call(y_true, y_pred)
        own = getattr(losses, "_keras_mask", None) if not isinstance(losses, float) else None
        if own is not None:
            mask = own if mask is None else mask & own
        return reduce_weighted(losses, sample_weight, mask, self.reduction)

    def _mean(self, y_true: Any, y_pred: Any) -> Any:
        """The mean over all samples, where a loss can have it in one operation; else None."""
        return None

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal loss."""
        config: dict[str, Any] = {"name": self.name, "reduction": self.reduction}
        if self._dtype is not None:
            config["dtype"] = self.dtype
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The loss of a configuration."""
        return cls(**config)


def reduce_weighted(values: Any, weight: Any, mask: Any, reduction: str | None) -> Any:
    """Losses times weights, without what the mask leaves out, as one number."""
    values = convert_to_tensor(values)
    if mask is not None:
        weight = _with_mask(weight, mask, values.dtype, reduction)
    if weight is not None:
        weight = convert_to_tensor(weight)
        if weight.dtype is not values.dtype:
            weight = weight.to(values.dtype)
        values, weight = same_rank(values, weight)
        while weight.ndim < values.ndim:
            weight = weight.unsqueeze(-1)
        values = values * weight
    if reduction in (None, "none") or values.ndim == 0:
        return values
    if reduction == "sum":
        return values.sum()
    if reduction == "mean_with_sample_weight" and weight is not None:
        total = weight.sum()
        return tg.where(total == 0, tg.zeros_like(total), values.sum() / total)
    if values.numel() == 0:
        return values.sum()
    return values.mean()


def _with_mask(weight: Any, mask: Any, dtype: Any, reduction: str | None) -> Any:
    made = mask.to(dtype)
    if reduction in ("mean", "sum_over_batch_size"):
        # What is left counts as much as the whole would.
        valid = made.sum()
        made = tg.where(valid == 0, made, made * (mask.numel() / valid))
    if weight is None:
        return made
    made, weight = same_rank(made, convert_to_tensor(weight).to(dtype))
    while weight.ndim < made.ndim:
        weight = weight.unsqueeze(-1)
    return weight * made


class LossFunctionWrapper(Loss):
    """A loss made of a function ``fn(y_true, y_pred, **kwargs)``."""

    def __init__(
        self,
        fn: Any,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name or getattr(fn, "__name__", None), reduction, dtype)
        self.fn = fn
        self._plain = on_tensors(fn)
        self._fn_kwargs = kwargs
        self._mean_of = MEANS.get(fn) if type(self).call is LossFunctionWrapper.call else None

    def _mean(self, y_true: Any, y_pred: Any) -> Any:
        if self._mean_of is None or type(y_true) is not tg.Tensor:
            return None
        return self._mean_of(y_true, y_pred, **self._fn_kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self._plain(y_true, y_pred, **self._fn_kwargs)

    def get_config(self) -> dict[str, Any]:
        from ..registry import serialize_keras_object

        return {
            **super().get_config(),
            "fn": serialize_keras_object(self.fn),
            **{key: serialize_keras_object(value) for key, value in self._fn_kwargs.items()},
        }

    def __repr__(self) -> str:
        return f"<LossFunctionWrapper({self.fn}, kwargs={self._fn_kwargs})>"
