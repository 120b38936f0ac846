"""Matrix products: large, odd, skinny, batched, and a layer with its gradients."""

from __future__ import annotations

from typing import Any

from . import Case, Program, forward_backward


def product(*shapes: tuple[int, ...]) -> Any:
    def make(m: Any, convert: Any) -> Program:
        a, b = (m.randn(*shape) for shape in shapes)
        return lambda: m.matmul(a, b)

    return make


def linear(batch: int, size: int, out: int) -> Any:
    def make(m: Any, convert: Any) -> Program:
        layer = m.nn.Linear(size, out)
        x = m.randn(batch, size, requires_grad=True)
        return forward_backward(m, lambda: layer(x), [x, layer.weight, layer.bias])

    return make


def square(n: int, goal: float, large: bool = True) -> Case:
    return Case(f"matmul {n} cubed", product((n, n), (n, n)), goal, flops=2 * n**3, large=large)


CASES = [
    square(1024, 1.0),
    square(2048, 1.0),
    square(127, 1.3, large=False),
    Case("matmul 2048 x 512 x 10", product((2048, 512), (512, 10)), 1.3, flops=2 * 2048 * 512 * 10),
    Case("matmul 512 x matrix-vector", product((512, 512), (512,)), 1.0, bytes=4 * 512 * 512),
    Case("matmul 64 x (128 x 64 x 128)", product((64, 128, 64), (64, 64, 128)), 1.0,
         flops=2 * 64 * 128 * 64 * 128),
    Case("linear 1024-1024 b256, fwd+bwd", linear(256, 1024, 1024), 1.0,
         flops=6 * 256 * 1024 * 1024, large=True),
]  # fmt: skip
