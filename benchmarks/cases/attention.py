"""Scaled-dot-product attention, forward and backward."""

from __future__ import annotations

from typing import Any

from . import Case, Program, forward_backward


def attention(batch: int, heads: int, length: int, size: int, is_causal: bool) -> Any:
    def make(m: Any, convert: Any) -> Program:
        shape = (batch, heads, length, size)
        leaves = [m.randn(*shape, requires_grad=True) for _ in range(3)]
        function = m.nn.functional.scaled_dot_product_attention
        return forward_backward(m, lambda: function(*leaves, is_causal=is_causal), leaves)

    return make


def case(batch: int, heads: int, length: int, size: int, causal: bool, goal: float) -> Case:
    pairs = length * (length + 1) // 2 if causal else length * length
    return Case(
        f"{'causal ' if causal else ''}attention b{batch} h{heads} T{length} d{size}, fwd+bwd",
        attention(batch, heads, length, size, causal),
        goal,
        flops=7 * 2 * batch * heads * pairs * size,  # 2 products forward, 5 backward
        large=True,
    )


CASES = [case(8, 8, 256, 64, True, 2.0), case(2, 8, 1024, 64, False, 1.0)]
