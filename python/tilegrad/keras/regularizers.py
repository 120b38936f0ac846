"""Penalties on weights and activities, added to the loss."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from .registry import deserialize_keras_object, own, serialize_keras_object
from .resolve import resolve

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "OrthogonalRegularizer",
    "Regularizer",
    "deserialize",
    "get",
    "serialize",
]


class Regularizer:
    """The base class: define ``__call__(x)``, which returns a number to add to the loss."""

    def __call__(self, x: Any) -> Any:
        """The penalty for a weight or an activity."""
        return 0.0

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The regularizer of a configuration."""
        return cls(**config)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal regularizer."""
        raise NotImplementedError(f"{self} does not implement get_config()")


def _checked(value: Any, name: str) -> float:
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < tg.inf:
        raise ValueError(
            f"Invalid value for argument {name}: expected a non-negative number, got {value}"
        )
    return float(value)


class L1L2(Regularizer):
    """``l1 * sum(|x|) + l2 * sum(x**2)``. Raises ValueError for negative numbers."""

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1, self.l2 = _checked(l1, "l1"), _checked(l2, "l2")

    def __call__(self, x: Any) -> Any:
        parts = []
        if self.l1:
            parts.append(self.l1 * tg.sum(tg.abs(x)))
        if self.l2:
            parts.append(self.l2 * tg.sum(tg.square(x)))
        return sum(parts[1:], parts[0]) if parts else tg.zeros((), dtype=x.dtype)

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1, "l2": self.l2}


class L1(L1L2):
    """``l1 * sum(|x|)``. Raises ValueError for a negative number."""

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(_checked(l1, "l1"), 0.0)

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1}


class L2(L1L2):
    """``l2 * sum(x**2)``. Raises ValueError for a negative number."""

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(0.0, _checked(l2, "l2"))

    def get_config(self) -> dict[str, Any]:
        return {"l2": self.l2}


class OrthogonalRegularizer(Regularizer):
    """Penalizes rows (or columns) of a matrix that are not orthogonal to each other.

    Raises ValueError for another ``mode``, and for what is no matrix.
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        if mode not in ("rows", "columns"):
            raise ValueError(
                "Invalid value for argument `mode`. Expected one of {'rows', 'columns'}. "
                f"Received: mode={mode}"
            )
        self.factor, self.mode = _checked(factor, "factor"), mode

    def __call__(self, x: Any) -> Any:
        if x.ndim != 2:
            raise ValueError(
                "Inputs to OrthogonalRegularizer must have rank 2. Received: "
                f"inputs.shape={tuple(x.shape)}"
            )
        axis = 1 if self.mode == "rows" else 0
        x = x / tg.sqrt(tg.sum(tg.square(x), dim=axis, keepdim=True).clamp(min=1e-12))
        product = x @ x.t() if self.mode == "rows" else x.t() @ x
        size = product.shape[0]
        off_diagonal = product * (1 - tg.eye(size, dtype=x.dtype))
        pairs = max(size * (size - 1) / 2, 1)
        return self.factor * 0.5 * tg.sum(tg.abs(off_diagonal)) / pairs

    def get_config(self) -> dict[str, Any]:
        return {"factor": self.factor, "mode": self.mode}


l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer
_BY_NAME: dict[str, Any] = {
    "l1": L1,
    "l2": L2,
    "l1_l2": L1L2,
    "orthogonal_regularizer": OrthogonalRegularizer,
    "L1": L1,
    "L2": L2,
    "L1L2": L1L2,
}
own(L1, L2, L1L2, OrthogonalRegularizer)


def get(identifier: Any) -> Any:
    """The regularizer meant by a name, a configuration, a class or an instance; None stays.

    Raises ValueError for what is none of them.
    """
    return resolve("regularizer", identifier, _BY_NAME)


def serialize(regularizer: Any) -> Any:
    """The configuration that :func:`deserialize` takes."""
    return serialize_keras_object(regularizer)


def deserialize(config: Any, custom_objects: Any = None) -> Any:
    """The regularizer of a configuration. Raises TypeError for an unknown name."""
    return deserialize_keras_object(config, custom_objects)
