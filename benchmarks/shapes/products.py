"""Products: odd, tall, deep, flat, tiny, batched, transposed ones, and linear layers."""

from __future__ import annotations

from typing import Any

from cases import Case

from . import computed, layer


def product(*shapes: tuple[int, ...]) -> Case:
    name = " @ ".join(" x ".join(str(n) for n in shape) for shape in shapes)
    return computed(f"matmul {name}", lambda m, a, b: a @ b, *shapes)


def linear(size: int, out: int, *batch: int) -> Case:
    text = " x ".join(str(n) for n in batch)
    return layer(f"linear {size}-{out}, {text} rows", lambda nn: nn.Linear(size, out), *batch, size)


def in_double(n: int) -> Case:
    def make(m: Any, convert: Any) -> Any:
        a, b = (m.randn(n, n, dtype=m.float64) for _ in range(2))
        return lambda: a @ b

    return Case(f"matmul {n} cubed, float64", make)


CASES = [
    product((8, 8), (8, 8)),
    product((33, 33), (33, 33)),
    product((97, 1021), (1021, 61)),
    product((255, 257), (257, 259)),
    product((1, 2048), (2048, 2048)),
    product((2048, 2048), (2048,)),
    product((3, 1024), (1024, 1024)),
    product((8192, 64), (64, 64)),
    product((64, 8192), (8192, 64)),
    product((20000, 8), (8, 8)),
    product((2048, 2), (2, 2048)),
    product((512, 8, 8), (512, 8, 8)),
    product((32, 17, 64), (32, 64, 129)),
    product((64, 100, 100), (100, 100)),
    computed("matmul 500 x 300 @ (400 x 300).T", lambda m, a, b: a @ b.t(), (500, 300), (400, 300)),
    computed("matmul (300 x 500).T @ 300 x 400", lambda m, a, b: a.t() @ b, (300, 500), (300, 400)),
    computed("einsum bhid,bhjd->bhij", lambda m, a, b: m.einsum("bhid,bhjd->bhij", a, b),
             (8, 8, 50, 32), (8, 8, 50, 32)),
    in_double(300),
    linear(64, 10, 32),
    linear(784, 300, 100),
    linear(2048, 1000, 1),
    linear(13, 50, 1000),
    linear(128, 512, 16, 128),
    linear(512, 128, 16, 128),
    linear(768, 768, 2, 77),
]  # fmt: skip
