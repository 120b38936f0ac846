"""``Metric``: a number gathered over batches; ``Mean``, ``Sum`` and the mean of a function."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ..dtypes import convert_to_tensor, dtype_of, standardize_dtype
from ..losses.functions import same_rank
from ..naming import auto_name
from ..op import on_tensors
from ..registry import own_module, serialize_keras_object
from ..stateless import StatelessMetric
from ..symbolic import context
from ..variable import Variable

__all__ = ["Mean", "MeanMetricWrapper", "Metric", "Sum"]


class Metric(StatelessMetric):
    """The base class: define ``update_state(y_true, y_pred, sample_weight=None)`` and ``result()``.

    What is gathered lives in variables made by :meth:`add_weight`; :meth:`reset_state` sets them to
    zero.
    """

    def __init__(self, dtype: Any = None, name: str | None = None) -> None:
        self.name = name or auto_name(type(self).__name__)
        self._dtype = dtype_of(getattr(dtype, "compute_dtype", dtype))
        self._variables: list[Variable] = []

    @property
    def dtype(self) -> str:
        """The dtype of the variables, by name."""
        return standardize_dtype(self._dtype)

    @property
    def variables(self) -> list[Variable]:
        """What is gathered, those of metrics among the attributes too."""
        found = list(self._variables)
        for value in vars(self).values():
            if isinstance(value, Metric):
                found += value.variables
        return found

    def add_variable(
        self, shape: Any, initializer: Any = "zeros", dtype: Any = None, aggregation: Any = None,
        name: str | None = None,
    ) -> Variable:  # fmt: skip
        """A new variable, zero unless told otherwise."""
        variable = Variable(
            initializer or "zeros",
            shape=shape,
            dtype=dtype_of(dtype) if dtype is not None else self._dtype,
            trainable=False,
            name=name,
        )
        self._variables.append(variable)
        return variable

    def add_weight(
        self, shape: Any = (), initializer: Any = None, dtype: Any = None, name: str | None = None
    ) -> Variable:
        """The same as :meth:`add_variable`."""
        return self.add_variable(shape, initializer, dtype, name=name)

    def reset_state(self) -> None:
        """Forgets all batches."""
        for variable in self.variables:
            variable.zero_()

    def update_state(self, *args: Any, **kwargs: Any) -> Any:
        """Takes in a batch."""
        raise NotImplementedError(f"{type(self).__name__}: update_state is not defined")

    def result(self) -> Any:
        """The number so far."""
        raise NotImplementedError(f"{type(self).__name__}: result is not defined")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Takes in a batch and returns the number so far."""
        self.update_state(*args, **kwargs)
        return self.result()

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal metric."""
        return {"name": self.name, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The metric of a configuration."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


def _weighted(
    values: Any, weight: Any, dtype: Any, mask: Any = None, reduce: Any = tg.mean
) -> tuple[Any, Any]:
    """One value per sample, and the weights; what a weight has no axis for is reduced first."""
    values = convert_to_tensor(values)
    if values.dtype is not dtype:
        values = values.to(dtype)
    if mask is not None:
        mask = mask.to(dtype)
        weight = mask if weight is None else _product(convert_to_tensor(weight).to(dtype), mask)
    if isinstance(weight, (int, float)) and values.ndim == 0:
        return values, weight
    if weight is not None:
        weight = convert_to_tensor(weight).to(dtype)
        values, weight = same_rank(values, weight)
        if values.ndim > weight.ndim:
            values = reduce(values, dim=tuple(range(weight.ndim, values.ndim)))
        axes = tuple(range(1, weight.ndim))
        weight = weight.expand(values.shape)
        values = values * weight
        weight = reduce(weight, dim=axes) if axes else weight
    if values.ndim > 1:
        values = reduce(values, dim=tuple(range(1, values.ndim)))
    return values, weight


def _product(weight: Any, mask: Any) -> Any:
    mask, weight = same_rank(mask, weight)
    while weight.ndim < mask.ndim:
        weight = weight.unsqueeze(-1)
    return mask * weight


class Sum(Metric):
    """The sum of what it is given, weighted."""

    def __init__(self, name: str = "sum", dtype: Any = None) -> None:
        super().__init__(dtype, name)
        self.total = self.add_variable((), name="total")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        with tg.no_grad():
            values, _ = _weighted(values, sample_weight, self._dtype, None, tg.sum)
            if isinstance(sample_weight, (int, float)) and values.ndim == 0:
                values = values * sample_weight
            self.total.add_(values.detach().sum())

    def result(self) -> Any:
        return self.total.detach().clone()


class _Mean(Metric):
    """What gathers a weighted mean."""

    def __init__(self, name: str = "mean", dtype: Any = None) -> None:
        super().__init__(dtype, name)
        self.total = self.add_variable((), name="total")
        self.count = self.add_variable((), name="count")

    def _update(self, values: Any, sample_weight: Any, mask: Any = None) -> None:
        with tg.no_grad():
            plain = type(sample_weight) in (int, float)
            values, weight = _weighted(values, sample_weight, self._dtype, mask)
            values = values.detach()
            if weight is None:
                self.total.add_(values.sum() if values.ndim else values)
                self.count.add_(values.shape[0] if values.ndim else 1)
            elif plain and values.ndim == 0:  # the usual case in `fit`: a loss and a batch size
                self.total.add_(values, alpha=weight)
                self.count.add_(weight)
            else:
                self.total.add_(values.sum())
                self.count.add_(weight.sum())

    def result(self) -> Any:
        count = self.count.item()
        return self.total.detach() / count if count else self.total.detach() * 0


class Mean(_Mean):
    """The mean of what it is given, weighted."""

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        self._update(values, sample_weight)


class MeanMetricWrapper(_Mean):
    """The mean of a function ``fn(y_true, y_pred, **kwargs)``."""

    def __init__(self, fn: Any, name: str | None = None, dtype: Any = None, **kwargs: Any) -> None:
        super().__init__(name or getattr(fn, "__name__", None) or "mean_metric_wrapper", dtype)
        self._fn = fn
        self._plain = on_tensors(fn)
        self._fn_kwargs = kwargs

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        mask = getattr(y_pred, "_keras_mask", None) if context.masks else None
        with tg.no_grad():
            y_pred = convert_to_tensor(y_pred)
            values = self._plain(convert_to_tensor(y_true), y_pred.detach(), **self._fn_kwargs)
        if mask is not None and values.ndim < mask.ndim:
            mask = None
        self._update(values, sample_weight, mask)

    def get_config(self) -> dict[str, Any]:
        if type(self) is MeanMetricWrapper:
            return {
                **super().get_config(),
                "fn": serialize_keras_object(self._fn),
                **self._fn_kwargs,
            }
        return {**super().get_config(), **self._fn_kwargs}


own_module(globals())
