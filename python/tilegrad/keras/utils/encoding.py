"""One-hot vectors, sequences of equal length, vectors of norm one."""

from __future__ import annotations

from typing import Any

import numpy as np

import tilegrad as tg

__all__ = ["normalize", "pad_sequences", "to_categorical"]


def to_categorical(x: Any, num_classes: int | None = None) -> Any:
    """Class numbers as one-hot vectors, float: an array, or a tensor for a tensor.

    Raises ValueError for numbers below zero or not below ``num_classes``.
    """
    if isinstance(x, tg.Tensor):
        return tg.from_numpy(to_categorical(x.numpy(), num_classes)).to(tg.float32)
    x = np.array(x, dtype="int64")
    shape = x.shape
    if shape and shape[-1] == 1 and len(shape) > 1:
        shape = shape[:-1]
    flat = x.reshape(-1)
    if not num_classes:
        num_classes = int(flat.max()) + 1
    if flat.size and not (flat.min() >= 0 and flat.max() < num_classes):
        raise ValueError(
            f"to_categorical: expected class numbers in [0, {num_classes}), got {flat.min()} to "
            f"{flat.max()}"
        )
    made = np.zeros((flat.size, num_classes))
    made[np.arange(flat.size), flat] = 1
    return made.reshape(*shape, num_classes)


def normalize(x: Any, axis: int = -1, order: Any = 2) -> Any:
    """Vectors along an axis divided by their norm; zero vectors stay."""
    if isinstance(x, tg.Tensor):
        from ..ops import normalize as on_tensor

        return on_tensor(x, axis, order)
    norm = np.atleast_1d(np.linalg.norm(x, order, axis))
    norm[norm == 0] = 1
    return x / np.expand_dims(norm, axis)


def pad_sequences(
    sequences: Any,
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> np.ndarray:
    """Lists of different lengths as one array, filled with ``value`` and cut at the front
    (``"pre"``) or the end (``"post"``). Raises ValueError for what are no lists, and other
    words."""
    if not hasattr(sequences, "__len__"):
        raise ValueError("`sequences` must be iterable.")
    for name, word in (("padding", padding), ("truncating", truncating)):
        if word not in ("pre", "post"):
            raise ValueError(f'{name.capitalize()} type "{word}" not understood')
    lengths = []
    for item in sequences:
        if not hasattr(item, "__len__"):
            raise ValueError(f"`sequences` must be a list of iterables. Found non-iterable: {item}")
        lengths.append(len(item))
    if maxlen is None:
        maxlen = max(lengths, default=0)
    rest = next((np.asarray(item).shape[1:] for item in sequences if len(item)), ())
    if isinstance(value, str) and dtype is not object and not np.issubdtype(dtype, np.str_):
        raise ValueError(
            f"`dtype` {dtype} is not compatible with `value`'s type: {type(value)}\nYou should set "
            "`dtype=object` for variable length strings."
        )
    made = np.full((len(lengths), maxlen, *rest), value, dtype=dtype)
    for row, item in zip(made, sequences, strict=True):
        if not len(item):
            continue
        kept = item[-maxlen:] if truncating == "pre" else item[:maxlen]
        kept = np.asarray(kept, dtype=dtype)
        if kept.shape[1:] != rest:
            raise ValueError(
                f"Shape of sample {kept.shape[1:]} of sequence is different from expected shape "
                f"{rest}"
            )
        if padding == "post":
            row[: len(kept)] = kept
        elif len(kept):
            row[-len(kept) :] = kept
    return made
