"""Multi-head attention: projections around the fused kernel of scaled-dot-product attention."""

from __future__ import annotations

import math
import warnings
from typing import Any

from .. import _C
from ..ops.attention import scaled_dot_product_attention
from ..ops.fill import zeros
from ..ops.join import cat
from ..ops.matmul import linear
from ..ops.softmax import softmax
from . import functional as F
from . import init
from .linear import Linear, new_parameter
from .module import Module

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """Attention of ``num_heads`` heads, each on its own projection of query, key and value.

    Vaswani et al., "Attention Is All You Need" (2017). Inputs are (length, batch, features), with
    ``batch_first`` (batch, length, features), or (length, features) without a batch.

    Args:
        embed_dim: features of query and output; a multiple of ``num_heads``.
        num_heads: heads of ``embed_dim / num_heads`` features.
        dropout: probability with which a weight is dropped in training.
        bias: whether the projections have biases.
        add_bias_kv: adds a learned key and value to each sequence.
        add_zero_attn: adds a key and a value of zeros.
        kdim, vdim: features of key and value, ``embed_dim`` unless given.
        batch_first: the order of the inputs' first two dimensions.

    State: ``in_proj_weight`` (3 * embed_dim, embed_dim), or ``q_proj_weight``, ``k_proj_weight``
    and ``v_proj_weight`` where kdim or vdim differ; ``in_proj_bias``, ``bias_k``, ``bias_v`` and
    ``out_proj``.

    Raises ValueError for sizes that are not positive, AssertionError for an ``embed_dim`` that the
    heads do not divide.
    """

    in_proj_weight: Any
    q_proj_weight: Any
    k_proj_weight: Any
    v_proj_weight: Any
    in_proj_bias: Any
    bias_k: Any
    bias_v: Any

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                "embed_dim and num_heads must be greater than 0, "
                f"got embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        super().__init__()
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError("embed_dim must be divisible by num_heads")
        packed = self.kdim == self.vdim == embed_dim
        shapes: dict[str, tuple | None] = {
            "q_proj_weight": None if packed else (embed_dim, embed_dim),
            "k_proj_weight": None if packed else (embed_dim, self.kdim),
            "v_proj_weight": None if packed else (embed_dim, self.vdim),
            "in_proj_weight": (3 * embed_dim, embed_dim) if packed else None,
            "in_proj_bias": (3 * embed_dim,) if bias else None,
        }
        self._register(shapes, device, dtype)
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, device=device, dtype=dtype)
        extra = (1, 1, embed_dim) if add_bias_kv else None
        self._register({"bias_k": extra, "bias_v": extra}, device, dtype)
        self._reset_parameters()

    def _register(self, shapes: dict[str, tuple | None], device: Any, dtype: Any) -> None:
        for name, shape in shapes.items():
            made = None if shape is None else new_parameter(*shape, device=device, dtype=dtype)
            self.register_parameter(name, made)

    def _reset_parameters(self) -> None:
        """Draws the projections anew (Glorot's uniform numbers); biases start at zero."""
        for weight in (
            self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight
        ):  # fmt: skip
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.constant_(self.in_proj_bias, 0.0)
            init.constant_(self.out_proj.bias, 0.0)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple:
        """(output, weights): the output in the shape of ``query``, the weights (batch, L, S), per
        head (batch, heads, L, S) without ``average_attn_weights``, or None.

        Args:
            query: (batch, L, embed_dim) in the order that ``batch_first`` says.
            key, value: (batch, S, kdim) and (batch, S, vdim).
            key_padding_mask: (batch, S); True leaves a key out, floats are added to its scores.
            need_weights: False is faster: then weights are never in memory.
            attn_mask: (L, S) or (batch * heads, L, S); True keeps a query from a key, floats are
                added to the scores.
            is_causal: ``attn_mask``, which must be given, is causal: query i sees the keys 0 to i.

        Raises AssertionError and RuntimeError for shapes that do not fit.
        """
        batched = self._check_shapes(query, key, value, key_padding_mask, attn_mask)
        same_key, same_value = key is query, value is key
        if not batched:
            query = query.unsqueeze(0)
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        elif not self.batch_first:
            query = query.transpose(0, 1)
        key = query if same_key else self._as_batch(key, batched)
        value = key if same_value else self._as_batch(value, batched)
        q, k, v = (self._heads(x) for x in self._project(query, key, value))
        k, v, added = self._extend(k, v)
        if is_causal and attn_mask is None:
            raise RuntimeError(
                "Need attn_mask if specifying the is_causal hint. You may use the Transformer "
                "module method `generate_square_subsequent_mask` to create this mask."
            )
        causal = is_causal and key_padding_mask is None and not need_weights and added == 0
        mask = None if causal else self._mask(attn_mask, key_padding_mask, q, k, added)
        dropout_p = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            output, weights = _attend_with_weights(q, k, v, mask, dropout_p)
            weights = weights.mean(1) if average_attn_weights else weights
            weights = weights if batched else weights.squeeze(0)
        else:
            output = scaled_dot_product_attention(q, k, v, mask, dropout_p, causal)
        output = output.transpose(1, 2).flatten(2)
        output = linear(output, self.out_proj.weight, self.out_proj.bias)
        if not batched:
            return output.squeeze(0), weights
        return (output if self.batch_first else output.transpose(0, 1)), weights

    def _as_batch(self, x: Any, batched: bool) -> Any:
        if not batched:
            return x.unsqueeze(0)
        return x if self.batch_first else x.transpose(0, 1)

    def _project(self, query: Any, key: Any, value: Any) -> tuple:
        """The projections of all heads, (batch, length, embed_dim) each."""
        bias = self.in_proj_bias
        if self.in_proj_weight is None:
            biases = (None,) * 3 if bias is None else bias.chunk(3)
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        elif query is key and key is value:  # one product
            together = linear(query, self.in_proj_weight, bias)
            return together.unflatten(-1, (3, self.embed_dim)).unbind(2)
        elif key is value:
            sizes = [self.embed_dim, 2 * self.embed_dim]
            first, rest = self.in_proj_weight.split(sizes)
            biases = (None, None) if bias is None else bias.split(sizes)
            together = linear(key, rest, biases[1]).unflatten(-1, (2, self.embed_dim))
            return linear(query, first, biases[0]), *together.unbind(2)
        else:
            biases = (None,) * 3 if bias is None else bias.chunk(3)
            weights = self.in_proj_weight.chunk(3)
        inputs = (query, key, value)
        return tuple(linear(x, w, b) for x, w, b in zip(inputs, weights, biases, strict=True))

    def _heads(self, x: Any) -> Any:
        """(batch, length, embed_dim) as (batch, heads, length, head_dim)."""
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def _extend(self, k: Any, v: Any) -> tuple:
        """Keys and values, the learned one and the zeros behind them, and how many those are."""
        keys, values = [k], [v]
        shape = (k.shape[0], self.num_heads, 1, self.head_dim)
        if self.bias_k is not None:
            keys.append(self._heads(self.bias_k).expand(shape))
            values.append(self._heads(self.bias_v).expand(shape))
        if self.add_zero_attn:
            nothing = zeros(shape, dtype=k.dtype, device=k.device)
            keys.append(nothing)
            values.append(nothing)
        if len(keys) == 1:
            return k, v, 0
        return cat(keys, 2), cat(values, 2), len(keys) - 1

    def _mask(self, attn_mask: Any, padding: Any, q: Any, k: Any, added: int) -> Any:
        """Both masks as one for the kernel: True lets a query see a key, floats are added."""
        batch, length = k.shape[0], k.shape[2] - added
        masks = []
        if attn_mask is not None:
            if attn_mask.ndim == 3:
                attn_mask = attn_mask.unflatten(0, (batch, self.num_heads))
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
                stacklevel=5,
            )
        if all(boolean):
            hidden = masks[0] if len(masks) == 1 else masks[0] | masks[1]
            return ~hidden
        terms = [
            zeros(m.shape, dtype=q.dtype, device=q.device).masked_fill(m, -math.inf) if b else m
            for m, b in zip(masks, boolean, strict=True)
        ]
        return terms[0] if len(terms) == 1 else terms[0] + terms[1]

    def _check_shapes(self, query: Any, key: Any, value: Any, padding: Any, mask: Any) -> bool:
        """Whether there is a batch. Raises for shapes that do not fit, as PyTorch does."""
        ndim = query.ndim
        if ndim not in (2, 3):
            raise AssertionError(
                "query should be unbatched 2D or batched 3D tensor but received "
                f"{ndim}-D query tensor"
            )
        if key.ndim != ndim or value.ndim != ndim:
            raise AssertionError(
                f"For a {ndim}-D query, expected key and value to be {ndim}-D but found "
                f"{key.ndim}-D and {value.ndim}-D tensors respectively"
            )
        if query.shape[-1] != self.embed_dim:
            raise AssertionError(
                f"was expecting embedding dimension of {self.embed_dim}, but got {query.shape[-1]}"
            )
        if key.shape[:-1] != value.shape[:-1]:
            raise AssertionError(
                f"key's sequence and batch dims {key.shape[:-1]} do not match value's "
                f"{value.shape[:-1]}"
            )
        first = self.batch_first or ndim == 2
        length, keys = query.shape[-2 if first else 0], key.shape[-2 if first else 0]
        batch = 1 if ndim == 2 else query.shape[0 if first else 1]
        if padding is not None and tuple(padding.shape) != (
            (batch, keys) if ndim == 3 else (keys,)
        ):
            raise AssertionError(
                f"key_padding_mask: expected shape {(batch, keys)}, got {tuple(padding.shape)}"
            )
        if mask is not None:
            expected = (length, keys) if mask.ndim == 2 else (batch * self.num_heads, length, keys)
            if tuple(mask.shape) != expected:
                raise RuntimeError(
                    f"The shape of the {mask.ndim}D attn_mask is {tuple(mask.shape)}, but should "
                    f"be {expected}."
                )
        return ndim == 3


def _attend_with_weights(q: Any, k: Any, v: Any, mask: Any, dropout_p: float) -> tuple:
    """(output, weights) with the weights of all heads in memory."""
    scores = (q * math.sqrt(1.0 / q.shape[-1])) @ k.transpose(-2, -1)
    if mask is not None:
        hidden = mask.dtype is _C.boolean
        scores = scores.masked_fill(~mask, -math.inf) if hidden else scores + mask
    weights = softmax(scores, -1)
    if dropout_p > 0.0:
        weights = F.dropout(weights, dropout_p)
    return weights @ v, weights
