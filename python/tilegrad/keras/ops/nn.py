"""Layers' functions on tensors: activations, losses, convolutions, pooling, normalization."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ...nn import functional as F
from ..activations import (
    celu,
    elu,
    glu,
    hard_shrink,
    hard_sigmoid,
    hard_silu,
    hard_swish,
    hard_tanh,
    leaky_relu,
    log_sigmoid,
    log_softmax,
    mish,
    relu6,
    selu,
    sigmoid,
    silu,
    soft_shrink,
    softmax,
    softplus,
    softsign,
    sparse_plus,
    sparse_sigmoid,
    sparsemax,
    squareplus,
    swish,
    tanh_shrink,
    threshold,
)
from ..config import settings
from ..dtypes import convert_to_tensor, dtype_of
from ..op import op, to_float

__all__ = [
    "batch_normalization", "binary_crossentropy", "categorical_crossentropy", "celu",
    "dot_product_attention", "elu", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu",
    "hard_swish", "hard_tanh", "layer_normalization", "leaky_relu", "log_sigmoid", "log_softmax",
    "mish", "moments", "multi_hot", "normalize", "one_hot", "relu", "relu6", "rms_normalization",
    "selu", "sigmoid", "silu", "soft_shrink", "softmax", "softplus", "softsign",
    "sparse_categorical_crossentropy", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus",
    "swish", "tanh_shrink", "threshold",
]  # fmt: skip


@op
def relu(x: Any) -> Any:
    """``x`` where it is positive, else zero."""
    return F.relu(to_float(x))


@op
def gelu(x: Any, approximate: bool = True) -> Any:
    """``x`` times the normal distribution function of ``x``; unlike the activation of that name,
    approximately unless told otherwise."""
    return F.gelu(to_float(x), approximate="tanh" if approximate else "none")


@op
def one_hot(
    x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False
) -> Any:
    """A vector with a one at each class number, all zeros for numbers outside. Raises ValueError
    for ``sparse``."""
    if sparse:
        raise ValueError("one_hot: sparse tensors are not supported (sparse=True)")
    x = convert_to_tensor(x).to(tg.int64)
    inside = (x >= 0) & (x < num_classes)
    made = F.one_hot(tg.where(inside, x, tg.zeros_like(x)), num_classes)
    made = (made * inside.unsqueeze(-1)).to(dtype_of(dtype))
    return made if axis in (-1, made.ndim - 1) else tg.moveaxis(made, -1, axis)


@op
def multi_hot(
    inputs: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False
) -> Any:
    """A vector with ones at all class numbers along an axis. Raises ValueError for ``sparse``."""
    inputs = convert_to_tensor(inputs)
    hot = one_hot(inputs, num_classes, axis, dtype, sparse)
    return tg.amax(hot, dim=1 if inputs.ndim > 1 else 0)


@op
def categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Any:
    """The cross-entropy of one-hot targets, one number per sample."""
    from ..losses import functions

    return functions.categorical_crossentropy(target, output, from_logits, 0.0, axis)


@op
def sparse_categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Any:
    """The cross-entropy of class numbers, one number per sample."""
    from ..losses import functions

    return functions.sparse_categorical_crossentropy(target, output, from_logits, None, axis)


@op
def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """The cross-entropy of two classes, element by element."""
    from ..losses import functions

    output = convert_to_tensor(output)
    return functions._binary(convert_to_tensor(target).to(output.dtype), output, from_logits)


@op
def moments(x: Any, axes: Any, keepdims: bool = False, synchronized: bool = False) -> Any:
    """Mean and variance along axes."""
    x = to_float(x)
    dims = tuple(axes) if isinstance(axes, (list, tuple)) else axes
    mean = tg.mean(x, dim=dims, keepdim=keepdims)
    return mean, tg.var(x, dim=dims, correction=0, keepdim=keepdims)


@op
def normalize(x: Any, axis: int = -1, order: Any = 2, epsilon: float | None = None) -> Any:
    """Vectors along an axis divided by their norm."""
    x = to_float(x)
    epsilon = settings.epsilon if epsilon is None else epsilon
    if order == 2:
        return x * tg.rsqrt((x * x).sum(axis, keepdim=True).clamp(min=epsilon**2))
    norm = tg.linalg.norm(x, ord=order, dim=axis, keepdim=True)
    return x / norm.clamp(min=epsilon)


@op
def batch_normalization(
    x: Any, mean: Any, variance: Any, axis: int, offset: Any = None, scale: Any = None,
    epsilon: float = 1e-3,
) -> Any:  # fmt: skip
    """``(x - mean) / sqrt(variance + epsilon) * scale + offset`` along an axis."""
    x = convert_to_tensor(x)
    shape = [1] * x.ndim
    shape[axis] = -1
    made = (x - convert_to_tensor(mean).reshape(shape)) * tg.rsqrt(
        convert_to_tensor(variance).reshape(shape) + epsilon
    )
    if scale is not None:
        made = made * convert_to_tensor(scale).reshape(shape)
    return made if offset is None else made + convert_to_tensor(offset).reshape(shape)


@op
def layer_normalization(
    x: Any, gamma: Any = None, beta: Any = None, axis: int = -1, epsilon: float | None = None,
    **kwargs: Any,
) -> Any:  # fmt: skip
    """Mean 0 and variance 1 along the last axis."""
    x = to_float(x)
    epsilon = settings.epsilon if epsilon is None else epsilon
    x = tg.moveaxis(x, axis, -1)
    made = F.layer_norm(x, [x.shape[-1]], gamma, beta, epsilon)
    return tg.moveaxis(made, -1, axis)


@op
def rms_normalization(
    x: Any, scale: Any = None, axis: int = -1, epsilon: float | None = None
) -> Any:
    """Root mean square 1 along an axis."""
    x = to_float(x)
    epsilon = settings.epsilon if epsilon is None else epsilon
    made = x * tg.rsqrt((x * x).mean(axis, keepdim=True) + epsilon)
    return made if scale is None else made * convert_to_tensor(scale)


@op
def dot_product_attention(
    query: Any, key: Any, value: Any, bias: Any = None, mask: Any = None, scale: Any = None,
    is_causal: bool = False, flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> Any:  # fmt: skip
    """Attention of queries (N, T, heads, size) to keys and values (N, S, heads, size), of which
    there may be fewer heads, each for as many queries.

    ``attn_logits_soft_cap`` bends scores into that range; ``flash_attention`` changes nothing.
    Raises ValueError for another rank.
    """
    q, k, v = (convert_to_tensor(x) for x in (query, key, value))
    if not q.ndim == k.ndim == v.ndim == 4:
        raise ValueError(
            "`dot_product_attention` only supports 4D inputs. Received: "
            f"query.shape={tuple(q.shape)}, key.shape={tuple(k.shape)}, "
            f"value.shape={tuple(v.shape)}."
        )
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    if q.shape[1] > k.shape[1] > 1:
        k, v = (tg.repeat_interleave(x, q.shape[1] // x.shape[1], dim=1) for x in (k, v))
    chosen = None if mask is None else convert_to_tensor(mask).to(tg.bool)
    if bias is not None:
        added = convert_to_tensor(bias).to(q.dtype)
        if chosen is not None:
            added = tg.where(chosen, added, tg.full_like(added, -3e38))
        chosen = added
    if chosen is not None and is_causal:
        lower = tg.tril(tg.ones((q.shape[2], k.shape[2]), dtype=tg.bool))
        chosen = chosen & lower if chosen.dtype is tg.bool else tg.where(
            lower, chosen, tg.full_like(chosen, -3e38)
        )  # fmt: skip
        is_causal = False
    if attn_logits_soft_cap is not None:
        return _softly_capped(q, k, v, chosen, is_causal, scale, attn_logits_soft_cap)
    made = F.scaled_dot_product_attention(q, k, v, chosen, is_causal=is_causal, scale=scale)
    return made.transpose(1, 2)


def _softly_capped(
    q: Any, k: Any, v: Any, chosen: Any, is_causal: bool, scale: Any, cap: float
) -> Any:
    """Attention step by step, since no kernel bends its scores."""
    scores = q @ k.transpose(2, 3) * (q.shape[-1] ** -0.5 if scale is None else scale)
    scores = tg.tanh(scores / cap) * cap
    if is_causal:
        chosen = tg.tril(tg.ones(scores.shape[2:], dtype=tg.bool))
    if chosen is not None and chosen.dtype is tg.bool:
        scores = scores.masked_fill(~chosen, -3e38)
    elif chosen is not None:
        scores = scores + chosen
    return (tg.softmax(scores, -1) @ v).transpose(1, 2)


def __getattr__(name: str) -> Any:  # of the functions of this room that others hold
    from .. import ops

    if name not in ops.__all__:
        raise AttributeError(f"module 'keras.ops.nn' has no attribute {name!r}")
    return getattr(ops, name)
