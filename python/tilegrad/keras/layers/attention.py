"""Attention: dot products, additive scores, several heads, shared keys and values."""

from __future__ import annotations

import math
from typing import Any

import tilegrad as tg

from ...nn import functional as F
from ..registry import own_module
from ..symbolic import KerasTensor
from .core import Weighted
from .layer import Layer
from .regularization import _checked_rate

__all__ = ["AdditiveAttention", "Attention", "GroupQueryAttention", "MultiHeadAttention"]


class Attention(Layer):
    """Means of values, weighted by the softmax of scores of queries and keys (Luong et al., 2015).

    Called on ``[query, value]`` or ``[query, value, key]``, of shapes (N, T, size), (N, S, size)
    and (N, S, size); gives (N, T, size). ``score_mode``: ``"dot"`` or ``"concat"``. Raises
    ValueError for another, for a dropout outside [0, 1] and for what is no list of tensors.
    """

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if score_mode not in ("dot", "concat"):
            raise ValueError(
                "Invalid value for argument score_mode. Expected one of {'dot', 'concat'}. "
                "Received: "
                f"score_mode={score_mode}"
            )
        self.use_scale, self.score_mode = use_scale, score_mode
        self.dropout, self.seed = _checked_rate(dropout), seed
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        _check_list(input_shape, type(self).__name__)
        self.scale = self._scalar("scale") if self.use_scale else None
        self.concat_score_weight = (
            self._scalar("concat_score_weight") if self.score_mode == "concat" else None
        )

    def _scalar(self, name: str) -> Any:
        return self.add_weight(name=name, shape=(), initializer="ones")

    def _scores(self, query: Any, key: Any) -> Any:
        if self.score_mode == "dot":
            scores = query @ key.transpose(1, 2)
            return scores if self.scale is None else scores * self.scale
        both = query.unsqueeze(2) + key.unsqueeze(1)
        both = both if self.scale is None else self.scale * both
        return self.concat_score_weight * tg.tanh(both).sum(-1)

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        training: Any = False,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        query, value = inputs[0], inputs[1]
        key = inputs[2] if len(inputs) > 2 else value
        scores = self._scores(query, key)
        hidden = _hidden(mask, scores, use_causal_mask)
        if hidden is not None:
            scores = scores.masked_fill(hidden, -1e9)
        weights = F.softmax(scores, -1)
        if training and self.dropout > 0:
            weights = F.dropout(weights, self.dropout)
        made = weights @ value
        query_mask = mask[0] if isinstance(mask, (list, tuple)) and mask else None
        if query_mask is not None:
            made = made * query_mask.unsqueeze(-1).to(made.dtype)
        return (made, weights) if return_attention_scores else made

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask of the queries."""
        return mask[0] if isinstance(mask, (list, tuple)) and mask else None

    _makes_masks = False

    def compute_output_spec(self, inputs: Any, **options: Any) -> Any:
        query, value = inputs[0], inputs[1]
        made = KerasTensor((*query.shape[:-1], value.shape[-1]), self.compute_dtype)
        if not options.get("return_attention_scores"):
            return made
        return made, KerasTensor((*query.shape[:2], value.shape[1]), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "use_scale": self.use_scale,
            "score_mode": self.score_mode,
            "dropout": self.dropout,
            "seed": self.seed,
        }


def _check_list(shapes: Any, name: str) -> None:
    listed = isinstance(shapes, (list, tuple)) and all(isinstance(s, (list, tuple)) for s in shapes)
    if not listed or len(shapes) not in (2, 3):
        raise ValueError(
            f"{name} layer must be called on a list of inputs, namely [query, value] or "
            f"[query, value, key]. Received: input_shape={shapes}."
        )


def _hidden(mask: Any, scores: Any, causal: bool) -> Any:
    """True where a query must not see a value; None if it may see all."""
    value_mask = mask[1] if isinstance(mask, (list, tuple)) and len(mask) > 1 else None
    hidden = None if value_mask is None else ~value_mask.to(tg.bool).unsqueeze(-2)
    if causal:
        ahead = tg.triu(tg.ones(scores.shape[-2:], dtype=tg.bool), 1)
        hidden = ahead if hidden is None else hidden | ahead
    return hidden


class AdditiveAttention(Attention):
    """Attention with the scores ``sum(tanh(query + key))``, times a learned vector with
    ``use_scale`` (Bahdanau et al., 2015). Errors are those of :class:`Attention`."""

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(use_scale=use_scale, dropout=dropout, **kwargs)

    def build(self, input_shape: Any) -> None:
        _check_list(input_shape, type(self).__name__)
        self.scale = None
        if self.use_scale:
            size = input_shape[0][-1]
            self.scale = self.add_weight(name="scale", shape=(size,), initializer="glorot_uniform")

    def _scores(self, query: Any, key: Any) -> Any:
        both = tg.tanh(query.unsqueeze(2) + key.unsqueeze(1))
        return (both if self.scale is None else both * self.scale).sum(-1)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["score_mode"]
        return config


class _Projection(Weighted):
    """``einsum`` of inputs (N, T, size) with a kernel (size, heads, width), or back."""

    def __init__(self, shape: tuple, bias_shape: tuple, options: dict[str, Any], name: str) -> None:
        super().__init__(name=name)
        self.__dict__["_shapes"] = (shape, bias_shape)
        self._set_options(options)
        self.use_bias = options["use_bias"]

    def build(self, input_shape: Any = None) -> None:
        shape, bias_shape = self._shapes
        self.kernel = self._weight("kernel", shape)
        self.bias = self._weight("bias", bias_shape) if self.use_bias else None

    def call(self, inputs: Any) -> Any:
        shape, bias_shape = self._shapes
        inner = math.prod(shape) // math.prod(bias_shape)
        x = inputs.reshape(*inputs.shape[:2], inner)
        y = x @ self.kernel.reshape(inner, -1)
        if self.bias is not None:
            y = y + self.bias.reshape(-1)
        return y.reshape(*inputs.shape[:2], *bias_shape)


class MultiHeadAttention(Weighted):
    """Attention of several heads (Vaswani et al., 2017). Shapes: query (N, T, size), value and key
    (N, S, size); gives (N, T, size) or, with ``output_shape``, (N, T, output_shape).

    ``attention_mask`` (N, T, S) is True where a query may see a value. Raises ValueError for a
    dropout outside [0, 1], NotImplementedError for attention over several axes.
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: Any = None,
        attention_axes: Any = None,
        sliding_window: Any = None,
        flash_attention: Any = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        if attention_axes not in (None, 1, (1,), [1]) or use_gate or sliding_window is not None:
            raise NotImplementedError(
                "MultiHeadAttention: attention_axes, sliding_window and use_gate are not supported"
            )
        self.num_heads, self.key_dim = num_heads, key_dim
        self.value_dim = key_dim if value_dim is None else value_dim
        self.dropout, self.use_bias, self.seed = _checked_rate(dropout), use_bias, seed
        self._output_shape = (output_shape,) if isinstance(output_shape, int) else output_shape
        self._set_options(locals())
        self.supports_masking = True

    @property
    def num_key_value_heads(self) -> int:
        """How many heads keys and values have."""
        return self.num_heads

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        key_shape = value_shape if key_shape is None else key_shape
        options = {
            "use_bias": self.use_bias,
            **self._own_options(),
        }
        heads, few = self.num_heads, self.num_key_value_heads

        def into(name: str, size: int, count: int, width: int) -> Any:
            made = _Projection((size, count, width), (count, width), options, name)
            made.build()
            return made

        self.query_dense = into("query", query_shape[-1], heads, self.key_dim)
        self.key_dense = into("key", key_shape[-1], few, self.key_dim)
        self.value_dense = into("value", value_shape[-1], few, self.value_dim)
        out = tuple(self._output_shape) if self._output_shape else (query_shape[-1],)
        self.output_dense = _Projection(
            (heads, self.value_dim, *out), out, options, "attention_output"
        )
        self.output_dense.build()

    def _own_options(self) -> dict[str, Any]:
        """The options of the weights; initializers are copied, that weights may differ."""
        made = {}
        for name in ("kernel", "bias"):
            first = getattr(self, f"{name}_initializer")
            config = first.get_config()
            made[f"{name}_initializer"] = _Fresh(type(first), config)
            made[f"{name}_regularizer"] = getattr(self, f"{name}_regularizer")
            made[f"{name}_constraint"] = getattr(self, f"{name}_constraint")
        return made

    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: Any = None,
        use_causal_mask: bool = False,
    ) -> Any:
        key = value if key is None else key
        q = self.query_dense(query).transpose(1, 2)
        k = self.key_dense(key).transpose(1, 2)
        v = self.value_dense(value).transpose(1, 2)
        k, v = self._shared(k), self._shared(v)
        allowed = self._allowed(
            query, value, query_mask, value_mask, key_mask, attention_mask, use_causal_mask
        )
        rate = self.dropout if training else 0.0
        if return_attention_scores or rate or (allowed is not None and q.shape[-1] != v.shape[-1]):
            made, weights = _explicit(q, k, v, allowed, rate)
        else:
            bias = None
            if allowed is not None:
                bias = (~allowed).to(q.dtype) * -1e9
            made, weights = F.scaled_dot_product_attention(q, k, v, bias), None
        made = self.output_dense(made.transpose(1, 2))
        return (made, weights) if return_attention_scores else made

    def _shared(self, x: Any) -> Any:
        return x

    def _allowed(
        self,
        query: Any,
        value: Any,
        query_mask: Any,
        value_mask: Any,
        key_mask: Any,
        attention_mask: Any,
        causal: bool,
    ) -> Any:
        """(N, 1, T, S), True where a query may see a value; None if it may see all."""
        parts = []
        if query_mask is not None:
            parts.append(query_mask.to(tg.bool)[:, None, :, None])
        for mask in (value_mask, key_mask):
            if mask is not None:
                parts.append(mask.to(tg.bool)[:, None, None, :])
        if attention_mask is not None:
            given = attention_mask.to(tg.bool)
            parts.append(given if given.ndim == 4 else given.unsqueeze(-3))
        if causal:
            lower = tg.tril(tg.ones((query.shape[1], value.shape[1]), dtype=tg.bool))
            parts.append(lower[None, None])
        made = None
        for part in parts:
            made = part if made is None else made & part
        return made

    def compute_mask(self, query: Any, mask: Any = None) -> Any:
        """The mask of the queries."""
        return mask

    _makes_masks = False

    def compute_output_spec(self, query: Any, value: Any, key: Any = None, **kwargs: Any) -> Any:
        out = tuple(self._output_shape) if self._output_shape else (query.shape[-1],)
        made = KerasTensor((*query.shape[:-1], *out), self.compute_dtype)
        if not kwargs.get("return_attention_scores"):
            return made
        shape = (query.shape[0], self.num_heads, query.shape[1], value.shape[1])
        return made, KerasTensor(shape, self.compute_dtype)

    def compute_output_shape(
        self, query_shape: Any, value_shape: Any = None, key_shape: Any = None
    ) -> Any:
        out = tuple(self._output_shape) if self._output_shape else (query_shape[-1],)
        return (*query_shape[:-1], *out)

    def get_build_config(self) -> Any:
        return None if not self.built else {"shapes": [
            (None, None, self.query_dense.kernel.shape[0]),
            (None, None, self.value_dense.kernel.shape[0]),
            (None, None, self.key_dense.kernel.shape[0]),
        ]}  # fmt: skip

    def build_from_config(self, config: Any) -> None:
        if not self.built:
            self.build(*config["shapes"])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "dropout": self.dropout,
            "use_bias": self.use_bias,
            "output_shape": self._output_shape,
            "seed": self.seed,
            **self._options_config(),
        }


class _Fresh:
    """An initializer that is made anew, with another seed, for each weight."""

    def __init__(self, cls: Any, config: dict[str, Any]) -> None:
        self.cls, self.config = cls, config

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return self.cls(**self.config)(shape, dtype)

    def get_config(self) -> dict[str, Any]:
        """That of the initializer."""
        return self.config


def _explicit(q: Any, k: Any, v: Any, allowed: Any, rate: float) -> tuple[Any, Any]:
    """Attention with its weights, which may be dropped or returned."""
    scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(-2, -1)
    if allowed is not None:
        scores = scores + (~allowed).to(scores.dtype) * -1e9
    weights = F.softmax(scores, -1)
    dropped = F.dropout(weights, rate) if rate else weights
    return dropped @ v, weights


class GroupQueryAttention(MultiHeadAttention):
    """Attention whose keys and values are shared by groups of query heads (Ainslie et al., 2023).

    Raises ValueError unless ``num_key_value_heads`` divides ``num_query_heads``.
    """

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        flash_attention: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_query_heads, head_dim, None, dropout, use_bias, **kwargs)
        if num_query_heads % num_key_value_heads:
            raise ValueError(
                "`num_query_heads` must be divisible by `num_key_value_heads`, got "
                f"{num_query_heads} and {num_key_value_heads}"
            )
        self.head_dim, self.num_query_heads = head_dim, num_query_heads
        self.__dict__["_few"] = num_key_value_heads

    @property
    def num_key_value_heads(self) -> int:
        """How many heads keys and values have."""
        return self._few

    def _shared(self, x: Any) -> Any:
        return tg.repeat_interleave(x, self.num_heads // self._few, dim=1)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for name in ("num_heads", "key_dim", "value_dim", "output_shape"):
            del config[name]
        return {
            **config,
            "head_dim": self.head_dim,
            "num_query_heads": self.num_query_heads,
            "num_key_value_heads": self._few,
        }


own_module(globals())
