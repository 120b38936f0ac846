"""Tables of vectors: rows by index (embedding), reduced by bags, and one-hot codes.

The gradient of a table is summed entry by entry in the order of the indices: deterministic, and
as fast for a few entries that are named often as for many that are not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _C
from ..autograd.graph import needs_grad, record
from ..tensor import as_array
from ._register import takes_tensors
from .index import index_select
from .view import reshape, unsqueeze

__all__ = ["embedding", "one_hot"]  # embedding_bag: in tilegrad.nn.functional


@takes_tensors
def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    """Rows of ``weight`` (entries, features) at ``input`` (*): -> (*, features).

    Args:
        input: indices in [0, entries), int32 or int64.
        weight: the table, of any dtype.
        padding_idx: this row gets no gradient.
        max_norm: rows that are used and whose norm is larger are scaled down to it first, in place.
        norm_type: of that norm.
        scale_grad_by_freq: gradients are divided by the number of times each row is used.
        sparse: gradients here are dense; True raises NotImplementedError.

    Raises:
        IndexError: an index out of range.
        RuntimeError: a weight that is not a matrix, indices of another dtype.
        AssertionError: ``padding_idx`` outside the table.
    """
    _check_sparse("embedding", sparse)
    if weight.ndim != 2:
        raise RuntimeError(f"'weight' must be 2-D, got shape {tuple(weight.shape)}")
    padding = _padding_row(padding_idx, weight.shape[0])
    if max_norm is not None:
        _renormalize(weight, input, max_norm, norm_type)
    output = _C.embedding(input, weight)
    if needs_grad(weight):
        saved = (input, weight.shape[0], padding, bool(scale_grad_by_freq))
        record(output, embedding_backward, (weight,), saved)
    return output


def embedding_backward(node: Any, grad: Any) -> Any:
    rows = reshape(grad, (node.saved[0].numel(), grad.shape[-1]))
    return _sum_by_entry(rows, *node.saved)


def _sum_by_entry(rows: Any, input: Any, entries: int, padding: int, by_frequency: bool) -> Any:
    """The table whose row e is the sum of the rows at the places where ``input`` is e."""
    output = _C.embedding_backward(rows, input, None, None, entries, padding, by_frequency)
    if needs_grad(rows):
        record(output, sum_by_entry_backward, (rows,), (input, entries, padding, by_frequency))
    return output


def sum_by_entry_backward(node: Any, grad: Any) -> Any:
    input, entries, padding, by_frequency = node.saved
    flat = reshape(input, (-1,))
    factors = grad.new_ones((entries, 1))
    if by_frequency:
        counts = np.bincount(as_array(flat), minlength=entries).reshape(-1, 1)
        made = _C.from_numpy(np.maximum(counts, 1)).to(device=grad.device, dtype=grad.dtype)
        factors = factors / made
    if padding >= 0:
        _C.fill_(_C.select(factors, 0, padding), 0)
    return embedding(flat, grad * factors)


def _check_sparse(op: str, sparse: bool) -> None:
    if sparse:
        raise NotImplementedError(f"{op}: sparse gradients are not implemented")


def _padding_row(padding_idx: int | None, entries: int) -> int:
    """The row without gradient, -1 for none."""
    if padding_idx is None:
        return -1
    if not -entries <= padding_idx < entries:
        raise AssertionError("Padding_idx must be within num_embeddings")
    return padding_idx % entries


def _renormalize(weight: Any, input: Any, max_norm: float, norm_type: float) -> None:
    """Scales the rows that ``input`` names down to the norm ``max_norm``, in place."""
    used = np.unique(as_array(input).astype(np.int64))
    if used.size and not 0 <= used[0] <= used[-1] < weight.shape[0]:
        raise IndexError(f"embedding: index out of range: expected 0 to {weight.shape[0] - 1}")
    index = _C.to_device(_C.from_numpy(used), weight.device)
    table = weight.detach()
    rows = _C.index_select(table, 0, index)
    norms = (rows.abs() ** norm_type).sum(1, keepdim=True) ** (1 / norm_type)
    factors = (max_norm / (norms + 1e-7)).clamp(max=1)
    _C.index_put_(table, (index,), rows * factors, False)


# --- bags -----------------------------------------------------------------------------------------


@takes_tensors
def embedding_bag(
    input: Any,
    weight: Any,
    offsets: Any = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:
    """The sum, mean or maximum of the rows of ``weight`` in each bag: -> (bags, features).

    Without the rows in memory first. An empty bag gives zeros.

    Args:
        input: indices (bags, n), or one vector of them that ``offsets`` cuts into bags; int32 or
            int64.
        weight: the table (entries, features), float32 or float64.
        offsets: where each bag begins in ``input``; with ``include_last_offset`` also where the
            last one ends.
        max_norm, norm_type, scale_grad_by_freq, sparse: as in :func:`embedding`.
        mode: 'mean', 'sum' or 'max'.
        per_sample_weights: a factor per index, of the shape of ``input``; for 'sum' only.
        padding_idx: indices with this value are left out of their bags.

    Raises:
        ValueError: shapes and modes that do not fit together.
        RuntimeError: an index or offset out of range, other dtypes.
        NotImplementedError: ``per_sample_weights`` with another mode than 'sum'.
    """
    _check_sparse("embedding_bag", sparse)
    input, offsets, factors = _as_bags(input, weight, offsets, per_sample_weights)
    if mode == "max" and scale_grad_by_freq:
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    if factors is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights is only supported for mode='sum' "
            f"(got mode='{mode}')"
        )
    padding = _padding_row(padding_idx, weight.shape[0])
    if max_norm is not None:
        _renormalize(weight, input, max_norm, norm_type)
    output, bags, shares, largest = _C.embedding_bag(
        input, weight, offsets, mode, factors, include_last_offset, padding
    )
    if needs_grad(weight, factors):
        if mode == "max":
            record(output, max_bag_backward, (weight,), (largest, weight.shape[0]))
        else:
            fixed = shares if mode == "mean" else None
            saved = (weight, factors, fixed, input, bags, padding, bool(scale_grad_by_freq))
            record(output, embedding_bag_backward, (weight, factors), saved)
    return output


def _as_bags(input: Any, weight: Any, offsets: Any, factors: Any) -> tuple:
    """The indices as a vector, with offsets and factors; ValueError for shapes that do not fit."""
    if factors is not None and factors.shape != input.shape:
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({factors.shape}) is not None, then it must "
            f"have the same shape as the input ({input.shape})"
        )
    if weight.ndim != 2:
        raise ValueError(f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.ndim}")
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch "
                f"of fixed length sequences. However, found offsets of type {type(offsets)}"
            )
        bags, length = input.shape
        offsets = _C.from_numpy(np.arange(bags, dtype=np.int64) * length).to(input.device)
        return reshape(input, (-1,)), offsets, None if factors is None else reshape(factors, (-1,))
    if input.ndim != 1:
        raise ValueError(
            f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}"
        )
    if offsets is None or offsets.ndim != 1:
        raise ValueError("offsets has to be a 1D Tensor but got " + str(offsets))
    return input, offsets, factors


def embedding_bag_backward(node: Any, grad: Any) -> tuple:
    weight, factors, shares, input, bags, padding, by_frequency = node.saved
    scale = shares if factors is None else factors
    grad_factors = None
    if node.needs(1):
        rows = index_select(grad, 0, bags.clamp(min=0)) * embedding(input, weight)
        grad_factors = rows.sum(1) * (bags >= 0).to(grad.dtype)
    if not node.needs(0):
        return None, grad_factors
    entries = weight.shape[0]
    if not needs_grad(grad, factors):
        table = _C.embedding_backward(grad, input, bags, scale, entries, padding, by_frequency)
        return table, grad_factors
    rows = index_select(grad, 0, bags.clamp(min=0))
    if scale is not None:
        rows = rows * unsqueeze(scale, 1)
    rows = rows * unsqueeze((bags >= 0).to(grad.dtype), 1)
    return _sum_by_entry(rows, input, entries, padding, by_frequency), grad_factors


def max_bag_backward(node: Any, grad: Any) -> Any:
    largest, entries = node.saved
    chosen = grad * (largest >= 0).to(grad.dtype)
    return grad.new_zeros((entries, grad.shape[1])).scatter_add(0, largest.clamp(min=0), chosen)


# --- codes ----------------------------------------------------------------------------------------


@takes_tensors
def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """int64 (*, num_classes): a one at each class of ``tensor`` (int64, *), zeros elsewhere.

    ``num_classes`` -1 means the largest class plus one. Raises RuntimeError for classes outside.
    """
    if tensor.dtype is not _C.int64:
        raise RuntimeError(
            f"one_hot is only applicable to index tensor of type LongTensor, got {tensor.dtype}."
        )
    values = _C.to_numpy(tensor.detach().cpu())
    if values.size == 0:
        if num_classes <= 0:
            raise RuntimeError(
                "one_hot: Can not infer total number of classes from empty tensor."
                if num_classes == -1
                else "one_hot: expected a positive number of classes"
            )
        return tensor.new_zeros((*tensor.shape, num_classes))
    if values.min() < 0:
        raise RuntimeError(f"one_hot: Class values must be non-negative, got {values.min()}.")
    if num_classes == -1:
        num_classes = int(values.max()) + 1
    elif num_classes < 1:
        raise RuntimeError("num_classes should be positive")
    elif values.max() >= num_classes:
        raise RuntimeError("Class values must be smaller than num_classes.")
    output = tensor.new_zeros((*tensor.shape, num_classes))
    _C.scatter_(output, -1, unsqueeze(tensor, -1), 1, "assign")
    return output
