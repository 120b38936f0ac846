"""Scaled-dot-product attention, fused: the matrix of queries x keys is never in memory.

Public as ``tilegrad.nn.functional.scaled_dot_product_attention``; PyTorch has it in the same place.
"""

from __future__ import annotations

import math
from typing import Any

from .. import _C, _autocast
from ..autograd.graph import needs_grad, record
from ._generator import _source
from ._register import takes_tensors
from .softmax import softmax
from .where import masked_fill

__all__: list[str] = []  # in tilegrad.nn.functional, not in tilegrad


@takes_tensors
def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """``softmax(query @ key.T * scale + attn_mask) @ value``: every query's mean of the values,
    weighted by how well their keys fit it (Vaswani et al., "Attention Is All You Need", 2017).

    Neither scores nor weights are stored: memory grows with the number of queries, not with its
    product with the number of keys.

    Args:
        query: (*, heads, L, E), float32 or float64; heads may be missing, and leading dimensions
            broadcast against those of key and value.
        key: (*, heads, S, E), of the same dtype.
        value: (*, heads, S, F), of the same dtype. The result is (*, heads, L, F).
        attn_mask: broadcast to (*, heads, L, S). Of booleans, True lets a query see a key; floats
            of the dtype of ``query`` are added to the scores. A query that sees no key gives zeros.
        dropout_p: the probability with which a weight is dropped, in training or not; the draw
            comes from the default generator of the device (:func:`tilegrad.manual_seed`).
        is_causal: query i sees the keys 0 to i; excludes ``attn_mask``.
        scale: 1 / sqrt(E) unless given.
        enable_gqa: key and value have fewer heads; each serves as many neighbouring heads of query
            (Ainslie et al., "GQA: Training Generalized Multi-Query Transformer Models", 2023).

    Raises:
        RuntimeError: sizes, dtypes or devices that do not fit, or a mask together with
            ``is_causal``.
        IndexError: ``enable_gqa`` without a dimension of heads.
    """
    if _autocast.enabled and _autocast.is_on():
        return _autocast.lower(
            scaled_dot_product_attention,
            query,
            key,
            value,
            attn_mask,
            dropout_p,
            is_causal,
            scale,
            enable_gqa,
        )
    if enable_gqa and min(query.ndim, key.ndim, value.ndim) > 2:
        key, value = _equal_heads(key, value)
    if scale is None:
        features = query.shape[-1] if query.ndim else 1
        scale = 1 / math.sqrt(features) if features else 1.0
    seed = _C.random_key(_source(None, query), query.device) if dropout_p > 0 else 0
    options = (float(dropout_p), bool(is_causal), float(scale), bool(enable_gqa), seed)
    recorded = needs_grad(query, key, value, attn_mask)
    output, normalizer = _C.attention(query, key, value, attn_mask, *options, recorded)
    if recorded:
        inputs = (query, key, value, attn_mask)
        saved = (*inputs, output, normalizer, *options)
        record(output, scaled_dot_product_attention_backward, inputs, saved)
    return output


def _equal_heads(key: Any, value: Any) -> tuple:
    """Key and value with the larger number of heads of the two, if it is a multiple."""
    few, many = sorted((key.shape[-3], value.shape[-3]))
    if few == many or few == 0 or many % few:
        return key, value
    return _repeat_heads(key, many // key.shape[-3]), _repeat_heads(value, many // value.shape[-3])


def _repeat_heads(x: Any, times: int) -> Any:
    """Each head ``times`` times in a row: (*, heads, n, m) -> (*, heads * times, n, m)."""
    if times == 1:
        return x
    *batch, heads, n, m = x.shape
    return x.unsqueeze(-3).expand(*batch, heads, times, n, m).reshape(*batch, heads * times, n, m)


def scaled_dot_product_attention_backward(node: Any, grad: Any) -> tuple:
    if _C.is_grad_enabled() or node.needs(3):  # to be differentiated again, or the mask's gradient
        return _composed_backward(node, grad)
    query, key, value, attn_mask, output, normalizer, *options = node.saved
    gradients = _C.attention_backward(
        grad, query, key, value, attn_mask, output, normalizer, *options
    )
    return (*(g if node.needs(i) else None for i, g in enumerate(gradients)), None)


def _composed_backward(node: Any, grad: Any) -> tuple:
    """The formulas of csrc/ops/attention.cpp on whole matrices, in ops that can be
    differentiated."""
    query, key, value, attn_mask, _, _, dropout_p, is_causal, scale, enable_gqa, seed = node.saved
    group = query.shape[-3] // key.shape[-3] if enable_gqa else 1
    key, value = _repeat_heads(key, group), _repeat_heads(value, group)
    weights = _weights(query, key, attn_mask, is_causal, scale)
    grad_weights = grad @ value.transpose(-2, -1)
    dropped = weights
    if dropout_p > 0:
        shape = (*grad.shape[:-1], key.shape[-2])
        factors = _C.attention_dropout(shape, query.dtype, query.device, dropout_p, seed)
        dropped, grad_weights = weights * factors, grad_weights * factors
    grad_scores = weights * (grad_weights - (weights * grad_weights).sum(-1, keepdim=True))
    grad_key = grad_scores.transpose(-2, -1) @ (query * scale)
    grad_value = dropped.transpose(-2, -1) @ grad
    return (
        grad_scores @ key * scale if node.needs(0) else None,
        _sum_groups(grad_key, group) if node.needs(1) else None,
        _sum_groups(grad_value, group) if node.needs(2) else None,
        grad_scores if node.needs(3) else None,
    )


def _weights(query: Any, key: Any, attn_mask: Any, is_causal: bool, scale: float) -> Any:
    """softmax of the masked scores, zeros for a query that sees no key."""
    scores = query @ key.transpose(-2, -1) * scale
    if is_causal:
        attn_mask = scores.new_ones(scores.shape[-2:]).tril() > 0
    if attn_mask is None:
        return softmax(scores, -1)
    if attn_mask.dtype is _C.boolean:
        scores = masked_fill(scores, ~attn_mask, -math.inf)
    else:
        scores = scores + attn_mask
    blind = (scores.detach() == -math.inf).all(-1, keepdim=True)
    return masked_fill(softmax(masked_fill(scores, blind, 0.0), -1), blind, 0.0)


def _sum_groups(x: Any, group: int) -> Any:
    """The sum over the heads that shared one: (*, heads * group, n, m) -> (*, heads, n, m)."""
    if group == 1:
        return x
    *batch, heads, n, m = x.shape
    return x.reshape(*batch, heads // group, group, n, m).sum(-3)
