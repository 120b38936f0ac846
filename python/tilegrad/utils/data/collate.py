"""How a list of samples becomes a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np

from ... import _C
from ...ops.fill import as_tensor, tensor
from ...tensor import Tensor

__all__ = ["default_collate", "default_convert"]


def default_convert(data: Any) -> Any:
    """NumPy arrays and scalars become tensors, inside containers too; the rest stays as it is.

    Dtypes are kept. Raises TypeError for an array whose dtype has no counterpart, but leaves
    strings and objects alone.
    """
    if isinstance(data, Tensor):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        if data.dtype.kind in "SUO":
            return data
        return as_tensor(data if isinstance(data, np.ndarray) else np.asarray(data))
    if isinstance(data, Mapping):
        return _rebuilt(data, {key: default_convert(data[key]) for key in data})
    if isinstance(data, tuple):
        values = [default_convert(x) for x in data]
        return type(data)(*values) if hasattr(data, "_fields") else values
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _rebuilt(data, [default_convert(x) for x in data])
    return data


def default_collate(batch: list[Any] | tuple) -> Any:
    """A batch from samples: tensors and arrays of equal shape are stacked along a new dimension 0,
    numbers become a tensor (floats float64, integers int64), mappings, tuples and sequences are
    collated entry by entry (a tuple becomes a list, a named tuple stays one), strings stay as they
    are.

    Raises TypeError for other types, IndexError for no samples, RuntimeError for sequences of
    different lengths or tensors of different shapes.
    """
    if not isinstance(batch, (list, tuple)):
        raise TypeError(f"default_collate: expected a list of samples, got {type(batch).__name__}")
    if not batch:
        raise IndexError("default_collate: expected at least one sample")
    first = batch[0]
    if isinstance(first, Tensor):
        from ...ops.join import stack

        return stack(batch, 0)
    if isinstance(first, (np.ndarray, np.generic)) and not isinstance(first, (str, bytes)):
        if first.dtype.kind in "SUO":
            raise TypeError(_complaint(first.dtype))
        if isinstance(first, np.ndarray) and first.shape != ():
            return default_collate([as_tensor(x) for x in batch])
        return as_tensor(np.asarray(batch))
    if isinstance(first, float):
        return tensor(batch, dtype=_C.float64)
    if isinstance(first, int):
        return tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return _rebuilt(first, {key: default_collate([d[key] for d in batch]) for key in first})
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(default_collate(x) for x in zip(*batch, strict=True)))
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        columns = [default_collate(column) for column in zip(*batch, strict=True)]
        return columns if isinstance(first, tuple) else _rebuilt(first, columns)
    raise TypeError(_complaint(type(first)))


def _complaint(kind: Any) -> str:
    return (
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
        f"found {kind}"
    )


def _rebuilt(original: Any, values: Any) -> Any:
    """``values`` in the container type of the original where that type can be made from them."""
    if isinstance(original, dict) and type(original) is not dict:
        clone = copy(original)  # keeps what the type holds besides its items
        clone.update(values)
        return clone
    try:
        return type(original)(values)
    except TypeError:
        return values
