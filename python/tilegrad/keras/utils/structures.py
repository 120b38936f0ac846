"""Small helpers: tensors to come, dtypes, tuples of x, y and weights."""

from __future__ import annotations

from typing import Any

from ..symbolic import is_keras_tensor as _is_keras_tensor
from ..trainers.data import unpack

__all__ = [
    "get_source_inputs", "is_keras_tensor", "pack_x_y_sample_weight", "unpack_x_y_sample_weight",
]  # fmt: skip


def is_keras_tensor(x: Any) -> bool:
    """Whether it is a tensor to come."""
    return _is_keras_tensor(x)


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """What a batch is: x alone, or a tuple of what is there."""
    if y is None:
        return (x,) if isinstance(x, (list, tuple)) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """x, y and weights of a batch; None for what is not there. Raises ValueError for a tuple of
    more than three."""
    return unpack(data)


def get_source_inputs(tensor: Any) -> list[Any]:
    """The inputs that a tensor to come is computed from, each once."""
    if tensor.node is None or not tensor.node.input_tensors:
        return [tensor]
    found: list[Any] = []
    for x in tensor.node.input_tensors:
        found += [y for y in get_source_inputs(x) if not any(y is z for z in found)]
    return found
