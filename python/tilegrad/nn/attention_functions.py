"""Multi-head attention as a function: projections around scaled-dot-product attention."""

from __future__ import annotations

import math
import warnings
from typing import Any

from .. import _C
from ..ops._register import takes_tensors
from ..ops.attention import scaled_dot_product_attention
from ..ops.dropout import dropout
from ..ops.fill import zeros
from ..ops.join import cat
from ..ops.matmul import linear
from ..ops.softmax import softmax

__all__ = ["multi_head_attention_forward"]


@takes_tensors
def multi_head_attention_forward(
    query: Any,
    key: Any,
    value: Any,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Any,
    in_proj_bias: Any,
    bias_k: Any,
    bias_v: Any,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Any,
    out_proj_bias: Any,
    training: bool = True,
    key_padding_mask: Any = None,
    need_weights: bool = True,
    attn_mask: Any = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Any = None,
    k_proj_weight: Any = None,
    v_proj_weight: Any = None,
    static_k: Any = None,
    static_v: Any = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple:
    """What :class:`tilegrad.nn.MultiheadAttention` computes: (output, weights or None).

    Shapes, with L queries, S keys, a batch of N and E features, all floating and of one dtype:

    - ``query`` (L, N, E), ``key`` and ``value`` (S, N, E), or without the dimension N. The output
      is as ``query``, the weights (N, L, S), or (N, heads, L, S) without ``average_attn_weights``.
    - ``in_proj_weight`` (3 E, E), or with ``use_separate_proj_weight`` ``q_proj_weight`` (E, E),
      ``k_proj_weight`` (E, Ek) and ``v_proj_weight`` (E, Ev); ``in_proj_bias`` (3 E) or None.
    - ``bias_k`` and ``bias_v`` (1, 1, E): one more key and value for each sequence, or None; zeros
      behind them with ``add_zero_attn``.
    - ``static_k`` and ``static_v`` (N * heads, S, E / heads) replace what is projected.
    - ``key_padding_mask`` (N, S): True leaves a key out, floats are added to its scores.
    - ``attn_mask`` (L, S) or (N * heads, L, S): True keeps a query from a key, floats are added.

    ``is_causal`` says that ``attn_mask``, which must be given, is causal.

    Raises AssertionError and RuntimeError for shapes that do not fit.
    """
    batched = _check_shapes(query, key, value, num_heads, key_padding_mask, attn_mask)
    _check_sizes(query, key, value, embed_dim_to_check, num_heads, use_separate_proj_weight)
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module "
            "method `generate_square_subsequent_mask` to create this mask."
        )
    if (bias_k is None) != (bias_v is None):
        raise AssertionError("bias_k and bias_v: expected both or neither")
    separate = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else None
    if in_proj_weight is None if separate is None else any(w is None for w in separate):
        raise AssertionError(
            f"use_separate_proj_weight is {use_separate_proj_weight} but a projection is None"
        )
    if not batched and key_padding_mask is not None:
        key_padding_mask = key_padding_mask.unsqueeze(0)
    inputs = _batch_first(query, key, value, batched)
    q, k, v = (
        _heads(x, num_heads) for x in _project(inputs, in_proj_weight, in_proj_bias, separate)
    )
    k, v = _static(k, static_k, "static_k", bias_k), _static(v, static_v, "static_v", bias_v)
    k, v, added = _extend(k, v, bias_k, bias_v, add_zero_attn)
    causal = is_causal and key_padding_mask is None and not need_weights and added == 0
    mask = None if causal else _mask(attn_mask, key_padding_mask, q, k, added)
    dropout_p = dropout_p if training else 0.0
    weights = None
    if need_weights:
        output, weights = _attend_with_weights(q, k, v, mask, dropout_p)
        weights = weights.mean(1) if average_attn_weights else weights
        weights = weights if batched else weights.squeeze(0)
    else:
        output = scaled_dot_product_attention(q, k, v, mask, dropout_p, causal)
    output = linear(output.transpose(1, 2).flatten(2), out_proj_weight, out_proj_bias)
    return (output.transpose(0, 1) if batched else output.squeeze(0)), weights


def _batch_first(query: Any, key: Any, value: Any, batched: bool) -> tuple:
    """The inputs as (batch, length, features); those that were one tensor still are."""
    made: dict[int, Any] = {}
    for x in (query, key, value):
        if id(x) not in made:
            made[id(x)] = x.transpose(0, 1) if batched else x.unsqueeze(0)
    return made[id(query)], made[id(key)], made[id(value)]


def _project(inputs: tuple, packed: Any, bias: Any, separate: tuple | None) -> tuple:
    """The projections of all heads, (batch, length, embed_dim) each."""
    query, key, value = inputs
    features = query.shape[-1]
    if separate is not None:
        weights = separate
    elif query is key and key is value:  # one product
        return linear(query, packed, bias).unflatten(-1, (3, features)).unbind(2)
    elif key is value:
        sizes = [features, 2 * features]
        first, rest = packed.split(sizes)
        biases = (None, None) if bias is None else bias.split(sizes)
        together = linear(key, rest, biases[1]).unflatten(-1, (2, features))
        return linear(query, first, biases[0]), *together.unbind(2)
    else:
        weights = packed.chunk(3)
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    return tuple(linear(x, w, b) for x, w, b in zip(inputs, weights, biases, strict=True))


def _heads(x: Any, heads: int) -> Any:
    """(batch, length, embed_dim) as (batch, heads, length, head_dim)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _static(projected: Any, given: Any, name: str, bias: Any) -> Any:
    """``given`` in place of what was projected, if there is one, as (batch, heads, length, ...)."""
    if given is None:
        return projected
    if bias is not None:
        raise AssertionError(f"bias cannot be added to {name}")
    batch, heads, _, features = projected.shape
    if given.ndim != 3 or given.shape[0] != batch * heads or given.shape[2] != features:
        raise AssertionError(
            f"{name}: expected shape ({batch * heads}, S, {features}), got {tuple(given.shape)}"
        )
    return given.unflatten(0, (batch, heads))


def _extend(k: Any, v: Any, bias_k: Any, bias_v: Any, add_zero_attn: bool) -> tuple:
    """Keys and values, the learned one and the zeros behind them, and how many those are."""
    keys, values = [k], [v]
    batch, heads, _, features = k.shape
    shape = (batch, heads, 1, features)
    if bias_k is not None:
        keys.append(_heads(bias_k.reshape(1, 1, -1), heads).expand(shape))
        values.append(_heads(bias_v.reshape(1, 1, -1), heads).expand(shape))
    if add_zero_attn:
        nothing = zeros(shape, dtype=k.dtype, device=k.device)
        keys.append(nothing)
        values.append(nothing)
    if len(keys) == 1:
        return k, v, 0
    return cat(keys, 2), cat(values, 2), len(keys) - 1


def _mask(attn_mask: Any, padding: Any, q: Any, k: Any, added: int) -> Any:
    """Both masks as one for the kernel: True lets a query see a key, floats are added."""
    batch, heads, length = k.shape[0], k.shape[1], k.shape[2] - added
    masks = []
    if attn_mask is not None:
        if attn_mask.ndim == 3:
            attn_mask = attn_mask.unflatten(0, (batch, heads))
        masks.append(attn_mask)
    if padding is not None:
        masks.append(padding.reshape(batch, 1, 1, length))
    if not masks:
        return None
    if added:
        masks = [cat([m, m.new_zeros((*m.shape[:-1], added))], -1) for m in masks]
    boolean = [m.dtype is _C.boolean for m in masks]
    if len(masks) == 2 and attn_mask.dtype is not padding.dtype:
        warnings.warn(
            "Support for mismatched key_padding_mask and attn_mask is deprecated. "
            "Use same type for both instead.",
            stacklevel=6,
        )
    if all(boolean):
        hidden = masks[0] if len(masks) == 1 else masks[0] | masks[1]
        return ~hidden
    terms = [
        zeros(m.shape, dtype=q.dtype, device=q.device).masked_fill(m, -math.inf) if b else m
        for m, b in zip(masks, boolean, strict=True)
    ]
    return terms[0] if len(terms) == 1 else terms[0] + terms[1]


def _attend_with_weights(q: Any, k: Any, v: Any, mask: Any, dropout_p: float) -> tuple:
    """(output, weights) with the weights of all heads in memory."""
    scores = (q * math.sqrt(1.0 / q.shape[-1])) @ k.transpose(-2, -1)
    if mask is not None:
        hidden = mask.dtype is _C.boolean
        scores = scores.masked_fill(~mask, -math.inf) if hidden else scores + mask
    weights = softmax(scores, -1)
    if dropout_p > 0.0:
        weights = dropout(weights, dropout_p)
    return weights @ v, weights


def _check_shapes(query: Any, key: Any, value: Any, heads: int, padding: Any, mask: Any) -> bool:
    """Whether there is a batch. Raises for shapes that do not fit, as PyTorch does."""
    ndim = query.ndim
    if ndim not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {ndim}-D query tensor"
        )
    if key.ndim != ndim or value.ndim != ndim:
        raise AssertionError(
            f"For a {ndim}-D query, expected key and value to be {ndim}-D but found "
            f"{key.ndim}-D and {value.ndim}-D tensors respectively"
        )
    batch = query.shape[1:-1]
    keys = key.shape[0]
    if padding is not None and tuple(padding.shape) != (*batch, keys):
        raise AssertionError(
            f"key_padding_mask: expected shape {(*batch, keys)}, got {tuple(padding.shape)}"
        )
    if padding is not None and padding.dtype is not _C.boolean and not padding.is_floating_point():
        raise AssertionError("only bool and floating types of key_padding_mask are supported")
    if mask is None:
        return ndim == 3
    if mask.ndim not in (2, 3):
        raise AssertionError(f"attn_mask: expected 2 or 3 dimensions, got {mask.ndim}")
    if mask.dtype is not _C.boolean and not mask.is_floating_point():
        raise AssertionError("only bool and floating types of attn_mask are supported")
    expected: tuple = (query.shape[0], keys)
    if mask.ndim == 3:
        expected = (math.prod(batch) * heads, *expected)
    if tuple(mask.shape) != expected:
        raise RuntimeError(
            f"The shape of the {mask.ndim}D attn_mask is {tuple(mask.shape)}, but should be "
            f"{expected}."
        )
    return ndim == 3


def _check_sizes(
    query: Any, key: Any, value: Any, features: int, heads: int, separate: bool
) -> None:
    if query.shape[-1] != features:
        raise AssertionError(
            f"was expecting embedding dimension of {features}, but got {query.shape[-1]}"
        )
    if features % heads:
        raise AssertionError(f"embed_dim {features} not divisible by num_heads {heads}")
    if key.shape[:-1] != value.shape[:-1]:
        raise AssertionError(
            f"key's sequence and batch dims {key.shape[:-1]} do not match value's "
            f"{value.shape[:-1]}"
        )
    if not separate and key.shape != value.shape:
        raise AssertionError(
            f"key shape {tuple(key.shape)} does not match value shape {tuple(value.shape)}"
        )
