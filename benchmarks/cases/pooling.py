"""Pooling, forward and backward: limited by memory."""

from __future__ import annotations

from typing import Any

from . import Case, Program, forward_backward

_ELEMENTS = 64 * 64 * 32 * 32


def pooling(function: str, *args: Any, **options: Any) -> Any:
    def make(m: Any, convert: Any) -> Program:
        pool = getattr(m.nn.functional, function)
        x = convert(m.randn(64, 64, 32, 32)).requires_grad_()
        return forward_backward(m, lambda: pool(x, *args, **options), [x])

    return make


# Bytes: read x, write y; read grad_y (and one index per output), write grad_x.
CASES = [
    Case("max pool 2x2 c64 hw32 n64, fwd+bwd", pooling("max_pool2d", 2), 4.0,
         bytes=_ELEMENTS * (4 + 1 + 1 + 4), images=True),
    Case("average pool 2x2 c64 hw32 n64, fwd+bwd", pooling("avg_pool2d", 2), 4.0,
         bytes=_ELEMENTS * (4 + 1 + 1 + 4), images=True),
    Case("max pool 3x3 stride 2 c64 hw32 n64, fwd+bwd",
         pooling("max_pool2d", 3, stride=2, padding=1), 2.0,
         bytes=_ELEMENTS * (4 + 1 + 1 + 4), images=True),
    Case("adaptive average pool 1x1 c64 hw32 n64, fwd+bwd", pooling("adaptive_avg_pool2d", 1), 1.0,
         bytes=_ELEMENTS * (4 + 4), images=True),
]  # fmt: skip
