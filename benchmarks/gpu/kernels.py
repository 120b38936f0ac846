"""Single operations: products, convolutions, norms, losses, attention, optimizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import Case, Program, Setting, forward_backward


def product(size: int, kind: str) -> Callable[[Setting], Program]:
    def make(s: Setting) -> Program:
        n = s.size(size, 65)
        x, y = s.randn(n, n, dtype=kind), s.randn(n, n, dtype=kind)
        return lambda: x @ y

    return make


def convolution(kernel: int, channels: int, width: int, kind: str, pass_: str) -> Any:
    """``pass_``: "forward", "input" or "weight" (the gradients, timed with their forward pass)."""

    def make(s: Setting) -> Program:
        c, hw = s.size(channels, 8), s.size(width, 6)
        x = s.images(s.size(64, 2), c, hw, hw, dtype=kind, grad=pass_ == "input")
        weight = s.images(c, c, kernel, kernel, dtype=kind, grad=pass_ == "weight")

        def function() -> Any:
            return s.m.nn.functional.conv2d(x, weight, padding=kernel // 2)

        if pass_ == "forward":
            return function
        return forward_backward(s, function, [x if pass_ == "input" else weight])

    return make


def norm(name: str, kind: str) -> Callable[[Setting], Program]:
    """Statistics, weights and biases are float32, as under autocast, but for layer_norm's."""

    def make(s: Setting) -> Program:
        f = s.m.nn.functional
        if name == "layer_norm":
            x = s.randn(s.size(16384, 8), s.size(1024, 40), dtype=kind, grad=True)
            weight, bias = (s.randn(x.shape[1], dtype=kind, grad=True) for _ in range(2))
            return forward_backward(
                s, lambda: f.layer_norm(x, (x.shape[1],), weight, bias), [x, weight, bias]
            )
        shape = s.size(64, 2), s.size(256, 4), s.size(28, 5), s.size(28, 5)
        x = s.randn(*shape, dtype=kind, grad=True)
        weight, bias = (s.randn(x.shape[1], grad=True) for _ in range(2))
        return forward_backward(
            s, lambda: f.batch_norm(x, None, None, weight, bias, training=True), [x, weight, bias]
        )

    return make


def softmax_cross_entropy(kind: str) -> Callable[[Setting], Program]:
    def make(s: Setting) -> Program:
        rows, classes = s.size(8192, 6), s.size(32768, 50)
        x, target = s.randn(rows, classes, dtype=kind, grad=True), s.labels(rows, classes)

        def program() -> None:
            x.grad = None
            s.m.nn.functional.cross_entropy(x, target).backward()

        return program

    return make


def adamw(s: Setting) -> Program:
    shapes = [(s.size(1024, 5), s.size(1024, 7))] * s.size(60, 3) + [(s.size(1024, 9),)] * 40
    parameters = [s.m.nn.Parameter(s.randn(*shape)) for shape in shapes]
    for p in parameters:
        p.grad = s.m.ones_like(p) * 0.01
    return s.m.optim.AdamW(parameters, lr=1e-3, fused=s.device != "cpu").step


def attention(kind: str, backward: bool) -> Callable[[Setting], Program]:
    def make(s: Setting) -> Program:
        shape = (s.size(4, 1), s.size(16, 2), s.size(4096, 20), s.size(64, 8))
        q, k, v = (s.randn(*shape, dtype=kind, grad=backward) for _ in range(3))

        def function() -> Any:
            return s.m.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)

        return forward_backward(s, function, [q, k, v]) if backward else function

    return make


def elementwise(name: str) -> Callable[[Setting], Program]:
    def make(s: Setting) -> Program:
        x, y = (s.randn(s.size(1 << 26, 1000)) for _ in range(2))
        return {
            "add": lambda: x + y,
            "gelu": lambda: s.m.nn.functional.gelu(x),
            "sum": lambda: x.sum(),
        }[name]

    return make


def convolutions() -> list[Case]:
    cases = []
    for kernel, channels, width in ((3, 64, 56), (3, 256, 14), (1, 256, 28)):
        flops = 2.0 * 64 * width * width * channels * channels * kernel * kernel
        for kind in ("bf16", "fp32", "tf32"):
            for pass_, goal in (("forward", 0.9), ("input", 0.8), ("weight", 0.8)):
                cases.append(
                    Case(
                        f"conv {kernel}x{kernel} c{channels} hw{width} n64 {kind}, {pass_}",
                        convolution(kernel, channels, width, kind, pass_),
                        goal,
                        kind,
                        flops * (1 if pass_ == "forward" else 2),
                    )
                )
    return cases


def memory_bound(kind: str, size: float) -> list[Case]:
    """``size``: bytes of an element."""
    rows, images, scores = size * 16384 * 1024, size * 64 * 256 * 28 * 28, size * 8192 * 32768
    return [
        Case(f"layernorm 16384x1024 {kind}, fwd+bwd", norm("layer_norm", kind), 1.2,
             bytes=5 * rows),
        Case(f"batchnorm c256 hw28 n64 {kind}, fwd+bwd", norm("batch_norm", kind), 1.2,
             bytes=7 * images),
        Case(f"softmax-CE 8192x32768 {kind}, fwd+bwd", softmax_cross_entropy(kind), 1.2,
             bytes=2 * scores),
    ]  # fmt: skip


def attentions(kind: str) -> list[Case]:
    flops = 2.0 * 4 * 16 * 4096 * 4096 * 64  # half of both products: causal
    name = f"attention b4 h16 T4096 d64 {kind}"
    return [
        Case(f"{name}, forward", attention(kind, False), 0.7, kind, flops),
        Case(f"{name}, fwd+bwd", attention(kind, True), 0.7, kind, 3.5 * flops),
    ]


CASES = [
    *[Case(f"matmul {n} cubed {kind}", product(n, kind), 0.93 if kind == "fp32" else 0.95, kind,
           2.0 * n**3) for kind in ("fp32", "tf32", "bf16") for n in (4096, 8192)],
    *convolutions(),
    *memory_bound("fp32", 4.0),
    *memory_bound("bf16", 2.0),
    Case("fused AdamW, 63 M parameters", adamw, 1.2, bytes=7 * 4.0 * (60 * 1024 * 1024 + 40960)),
    *attentions("bf16"),
    *attentions("fp32"),
    Case("add 64 M", elementwise("add"), 1.0, bytes=12.0 * (1 << 26)),
    Case("gelu 64 M", elementwise("gelu"), 1.0, bytes=8.0 * (1 << 26)),
    Case("sum 64 M", elementwise("sum"), 1.0, bytes=4.0 * (1 << 26)),
]  # fmt: skip
