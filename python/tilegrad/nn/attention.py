"""The layer of multi-head attention: its parameters; see attention_functions.py. The names of
``torch.nn.attention``, which choose among PyTorch's kernels, are here too."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator
from typing import Any

from . import init
from .attention_functions import multi_head_attention_forward
from .linear import NonDynamicallyQuantizableLinear, new_parameter
from .module import Module

__all__ = ["MultiheadAttention", "SDPBackend", "sdpa_kernel"]


class SDPBackend(enum.IntEnum):
    """PyTorch's kernels of attention; here one kernel does the work of all."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


@contextlib.contextmanager
def sdpa_kernel(backends: Any, set_priority: bool = False) -> Iterator[None]:
    """A ``with`` block or decorator that names kernels of attention; it changes nothing.

    Raises TypeError for what is no :class:`SDPBackend` nor a sequence of them.
    """
    for backend in [backends] if isinstance(backends, SDPBackend) else list(backends):
        if not isinstance(backend, SDPBackend):
            raise TypeError(f"sdpa_kernel: expected SDPBackends, got {type(backend).__name__}")
    yield


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
        self.out_proj = NonDynamicallyQuantizableLinear(
            embed_dim, embed_dim, bias=bias, device=device, dtype=dtype
        )
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
        swap = self.batch_first and query.ndim == 3
        if swap:
            made = {id(x): x.transpose(0, 1) for x in (query, key, value) if x.ndim == 3}
            query, key, value = (made.get(id(x), x) for x in (query, key, value))
        output, weights = multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            self.training,
            key_padding_mask,
            need_weights,
            attn_mask,
            self.in_proj_weight is None,
            self.q_proj_weight,
            self.k_proj_weight,
            self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return (output.transpose(0, 1) if swap else output), weights
