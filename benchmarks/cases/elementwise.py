"""Elementwise functions, reductions, sorting and indexing of millions of elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import Case, Program, forward_backward

_COUNT = 4 * 2**20


def forward(function: Callable[[Any, Any], Any], *shape: int) -> Any:
    def make(m: Any, convert: Any) -> Program:
        x = m.randn(*shape)
        return lambda: function(m, x)

    return make


def both(function: Callable[[Any, Any], Any], *shape: int) -> Any:
    def make(m: Any, convert: Any) -> Program:
        x = m.randn(*shape, requires_grad=True)
        return forward_backward(m, lambda: function(m, x), [x])

    return make


def add_broadcast(m: Any, convert: Any) -> Program:
    x, row = m.randn(4096, 1024), m.randn(1024)
    return lambda: x + row


def embedding(m: Any, convert: Any) -> Program:
    table, index = m.nn.Embedding(10000, 256), m.randint(0, 10000, (64, 128))
    return forward_backward(m, lambda: table(index), [table.weight])


def gelu(m: Any, x: Any) -> Any:
    return m.nn.functional.gelu(x)


CASES = [
    Case("gelu 4M", forward(gelu, _COUNT), 1.5, bytes=_COUNT * 8),
    Case("gelu 4M, fwd+bwd", both(gelu, _COUNT), 1.5, bytes=_COUNT * 20),
    Case("add broadcast 4M", add_broadcast, 1.3, bytes=_COUNT * 8),
    Case("exp 64K", forward(lambda m, x: m.exp(x), 65536), 1.0),
    Case("tanh 4M, fwd+bwd", both(lambda m, x: m.tanh(x), _COUNT), 1.0, bytes=_COUNT * 20),
    Case("sum 4096x1024 over rows", forward(lambda m, x: x.sum(0), 4096, 1024), 1.0,
         bytes=_COUNT * 4),
    Case("cumsum 4096x1024", forward(lambda m, x: x.cumsum(1), 4096, 1024), 1.0, bytes=_COUNT * 8),
    Case("sort 1024x1024", forward(lambda m, x: x.sort(), 1024, 1024), 1.0),
    Case("topk 10 of 1024x4096", forward(lambda m, x: x.topk(10), 1024, 4096), 1.0,
         bytes=_COUNT * 4),
    Case("transpose 2048x2048", forward(lambda m, x: x.t().contiguous(), 2048, 2048), 1.0,
         bytes=_COUNT * 8),
    Case("embedding 10000x256, 8192 rows, fwd+bwd", embedding, 1.0),
]  # fmt: skip
