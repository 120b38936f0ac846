"""Projections of weights after each step of an optimizer."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from .config import epsilon
from .registry import deserialize_keras_object, own, serialize_keras_object
from .resolve import resolve

__all__ = [
    "Constraint",
    "MaxNorm",
    "MinMaxNorm",
    "NonNeg",
    "UnitNorm",
    "deserialize",
    "get",
    "serialize",
]


class Constraint:
    """The base class: define ``__call__(w)``, which returns the weight as it may be."""

    def __call__(self, w: Any) -> Any:
        """The projected weight."""
        raise NotImplementedError("Constraint subclasses must implement the `__call__()` method.")

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal constraint."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The constraint of a configuration."""
        return cls(**config)


def _norms(w: Any, axis: Any) -> Any:
    axis = tuple(axis) if isinstance(axis, (list, tuple)) else axis
    return tg.sqrt(tg.sum(tg.square(w), dim=axis, keepdim=True))


class MaxNorm(Constraint):
    """Norms along ``axis`` of at most ``max_value``."""

    def __init__(self, max_value: float = 2, axis: Any = 0) -> None:
        self.max_value, self.axis = max_value, axis

    def __call__(self, w: Any) -> Any:
        norms = _norms(w, self.axis)
        return w * (norms.clamp(0, self.max_value) / (epsilon() + norms))

    def get_config(self) -> dict[str, Any]:
        return {"max_value": self.max_value, "axis": self.axis}


class MinMaxNorm(Constraint):
    """Norms along ``axis`` moved by the share ``rate`` into an interval."""

    def __init__(
        self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Any = 0
    ) -> None:
        self.min_value, self.max_value = min_value, max_value
        self.rate, self.axis = rate, axis

    def __call__(self, w: Any) -> Any:
        norms = _norms(w, self.axis)
        wanted = self.rate * norms.clamp(self.min_value, self.max_value) + (1 - self.rate) * norms
        return w * (wanted / (epsilon() + norms))

    def get_config(self) -> dict[str, Any]:
        return {
            "min_value": self.min_value,
            "max_value": self.max_value,
            "rate": self.rate,
            "axis": self.axis,
        }


class NonNeg(Constraint):
    """No negative weights."""

    def __call__(self, w: Any) -> Any:
        return w * (w >= 0).to(w.dtype)


class UnitNorm(Constraint):
    """Norms of one along ``axis``."""

    def __init__(self, axis: Any = 0) -> None:
        self.axis = axis

    def __call__(self, w: Any) -> Any:
        return w / (epsilon() + _norms(w, self.axis))

    def get_config(self) -> dict[str, Any]:
        return {"axis": self.axis}


max_norm, min_max_norm, non_neg, unit_norm = MaxNorm, MinMaxNorm, NonNeg, UnitNorm
_BY_NAME: dict[str, Any] = {
    "max_norm": MaxNorm,
    "min_max_norm": MinMaxNorm,
    "non_neg": NonNeg,
    "unit_norm": UnitNorm,
    "MaxNorm": MaxNorm,
    "MinMaxNorm": MinMaxNorm,
    "NonNeg": NonNeg,
    "UnitNorm": UnitNorm,
}
own(MaxNorm, MinMaxNorm, NonNeg, UnitNorm)


def get(identifier: Any) -> Any:
    """The constraint meant by a name, a configuration, a class or an instance; None stays.

    Raises ValueError for what is none of them.
    """
    return resolve("constraint", identifier, _BY_NAME)


def serialize(constraint: Any) -> Any:
    """The configuration that :func:`deserialize` takes."""
    return serialize_keras_object(constraint)


def deserialize(config: Any, custom_objects: Any = None) -> Any:
    """The constraint of a configuration. Raises TypeError for an unknown name."""
    return deserialize_keras_object(config, custom_objects)
