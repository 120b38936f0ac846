"""A linear layer and the cross entropy of its outputs in one call."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

from .. import _C
from ..ops._register import takes_tensors
from ..ops.matmul import linear
from .loss_functions import cross_entropy

__all__ = ["LinearCrossEntropyOptions", "linear_cross_entropy"]


@dataclasses.dataclass(frozen=True)
class LinearCrossEntropyOptions:
    """How PyTorch divides :func:`tilegrad.nn.functional.linear_cross_entropy` into chunks of rows.

    Checked and kept; here the whole matrix of logits is computed, so the results are the same for
    every choice. Fields:

    - ``allow_retain_graph``: whether backward may run twice; here it always may.
    - ``batch_chunk_size``: rows in a chunk, or None.
    - ``chunking_method``: None, "auto" or "aspect_ratio", the latter also as "aspect_ratio:2".
    - ``acc_policy``: "auto", "accurate", "balanced" or "compact".
    - ``acc_dtype``: a floating dtype or None.

    Raises ValueError for other values.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: Any = None

    def __post_init__(self) -> None:
        if self.acc_policy not in ("auto", "accurate", "balanced", "compact"):
            raise ValueError(f"invalid acc_policy: {self.acc_policy!r}")
        if self.chunking_method not in (None, "auto"):
            name, _, factor = str(self.chunking_method).partition(":")
            is_count = factor.isdigit() and int(factor) > 0
            if name != "aspect_ratio" or not (is_count or self.chunking_method == name):
                raise ValueError(f"invalid chunking_method: {self.chunking_method!r}")
        size = self.batch_chunk_size
        if size is not None and not (isinstance(size, int) and size > 0):
            raise ValueError(f"batch_chunk_size must be positive int or None, got {size!r}")
        if self.acc_dtype not in (None, _C.float16, _C.bfloat16, _C.float32, _C.float64):
            raise ValueError(f"acc_dtype must be a floating dtype or None, got {self.acc_dtype!r}")


@takes_tensors
def linear_cross_entropy(
    input: Any,
    linear_weight: Any,
    target: Any,
    *,
    linear_bias: Any = None,
    weight: Any = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: LinearCrossEntropyOptions | None = None,
) -> Any:
    """``cross_entropy(linear(input, linear_weight, linear_bias), target, ...)``.

    Args:
        input: (in_features) or (N, in_features), floating.
        linear_weight: (C, in_features), or (C, d1, ..., in_features) for a loss with more
            dimensions, which needs a batch.
        target: class numbers, () or (N, d1, ...), or probabilities of the shape of the logits.
        linear_bias: of the shape of ``linear_weight`` without its last dimension, or None.
        weight: (C), or None.
        reduction, label_smoothing: as in :func:`tilegrad.nn.functional.cross_entropy`.
        ignore_index: a class number that does not count; None means -100.
        options: chosen for PyTorch's memory; changes nothing here.

    Raises RuntimeError for shapes that do not fit and for ``ignore_index`` beside probabilities,
    ValueError for different batch sizes.
    """
    if input.ndim not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.ndim}")
    if linear_weight.ndim < 2:
        raise RuntimeError(
            f"expected linear_weight with dimensionality at least 2, got {linear_weight.ndim}"
        )
    in_features = input.shape[-1]
    if in_features != linear_weight.shape[-1]:
        raise RuntimeError(
            "expected equal input and linear_weight last dimensions (in_features), got "
            f"{in_features} and {linear_weight.shape[-1]}, respectively"
        )
    outputs = tuple(linear_weight.shape[:-1])
    if linear_bias is not None and tuple(linear_bias.shape) != outputs:
        raise RuntimeError(f"expected linear_bias shape {outputs}, got {tuple(linear_bias.shape)}")
    if len(outputs) > 1 and input.ndim == 1:
        raise RuntimeError(
            f"K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} "
            f"requires batched input, (N, {in_features}), got unbatched input with shape "
            f"{tuple(input.shape)}"
        )
    if input.ndim == 2 and target.ndim and len(target) != len(input):
        raise ValueError(
            f"Expected input batch_size ({len(input)}) to match target batch_size ({len(target)})."
        )
    shape = (*input.shape[:-1], *outputs)
    if tuple(target.shape) == shape and ignore_index is not None:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    if options is not None and (
        len(outputs) > 1 or label_smoothing != 0.0 or target.dtype is not _C.int64
    ):
        warnings.warn(
            "linear_cross_entropy: ``options`` ignored; chunked path needs label_smoothing == 0, "
            "target.dtype == int64, out_features == ()",
            stacklevel=3,
        )
    flat = linear_weight.reshape(math.prod(outputs), in_features)
    bias = None if linear_bias is None else linear_bias.reshape(-1)
    return cross_entropy(
        linear(input, flat, bias).reshape(shape),
        target,
        weight=weight,
        ignore_index=-100 if ignore_index is None else ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )
