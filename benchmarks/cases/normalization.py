"""Normalizations and softmax with their losses, forward and backward: limited by memory."""

from __future__ import annotations

from typing import Any

from . import Case, Program, forward_backward


def layer(build: Any, *shape: int) -> Any:
    def make(m: Any, convert: Any) -> Program:
        module = convert(build(m.nn))
        x = m.randn(*shape)
        x = (convert(x) if x.ndim == 4 else x).requires_grad_()
        return forward_backward(m, lambda: module(x), [x, *module.parameters()])

    return make


def cross_entropy(m: Any, convert: Any) -> Program:
    x = m.randn(2048, 8192, requires_grad=True)
    target = m.randint(0, 8192, (2048,))
    return forward_backward(m, lambda: m.nn.functional.cross_entropy(x, target), [x])


def softmax(m: Any, convert: Any) -> Program:
    x = m.randn(4096, 512, requires_grad=True)
    return forward_backward(m, lambda: m.softmax(x, -1), [x])


# Bytes: forward reads x and writes y, backward reads x (or y) and grad_y and writes grad_x.
CASES = [
    Case("softmax-CE 2048x8192, fwd+bwd", cross_entropy, 4.0, bytes=2048 * 8192 * 4 * 3),
    Case("batchnorm c64 hw32 n64, fwd+bwd", layer(lambda nn: nn.BatchNorm2d(64), 64, 64, 32, 32),
         2.0, bytes=64 * 64 * 32 * 32 * 4 * 5, images=True),
    Case("layernorm 4096x512, fwd+bwd", layer(lambda nn: nn.LayerNorm(512), 4096, 512), 1.2,
         bytes=4096 * 512 * 4 * 5),
    Case("groupnorm 8 c64 hw32 n64, fwd+bwd", layer(lambda nn: nn.GroupNorm(8, 64), 64, 64, 32, 32),
         1.2, bytes=64 * 64 * 32 * 32 * 4 * 5, images=True),
    Case("softmax 4096x512, fwd+bwd", softmax, 1.0, bytes=4096 * 512 * 4 * 5),
]  # fmt: skip
