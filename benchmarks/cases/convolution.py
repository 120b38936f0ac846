"""Two-dimensional convolutions, forward and backward with all three gradients."""

from __future__ import annotations

from typing import Any

from . import Case, Program, forward_backward


def convolution(
    batch: int, channels: int, side: int, out: int, kernel: int, input_grad: bool = True, **options
) -> Any:
    def make(m: Any, convert: Any) -> Program:
        layer = convert(m.nn.Conv2d(channels, out, kernel, **options))
        x = convert(m.randn(batch, channels, side, side)).requires_grad_(input_grad)
        return forward_backward(m, lambda: layer(x), [x, layer.weight, layer.bias])

    return make


def case(
    name: str, goal: float, batch: int, channels: int, side: int, out: int, kernel: int, **options
) -> Case:
    stride, groups = options.get("stride", 1), options.get("groups", 1)
    passes = 3 if options.get("input_grad", True) else 2
    pixels = batch * (side // stride) ** 2
    return Case(
        f"conv {name}, fwd+bwd",
        convolution(batch, channels, side, out, kernel, padding=kernel // 2, **options),
        goal,
        flops=2 * passes * pixels * out * channels // groups * kernel**2,
        images=True,
        large=groups == 1,
    )


CASES = [
    case("3x3 c64 hw32 n16", 1.5, 16, 64, 32, 64, 3),
    case("3x3 c256 hw8 n16", 1.2, 16, 256, 8, 256, 3),
    case("3x3 c16 hw32 n64", 1.2, 64, 16, 32, 16, 3),
    case("3x3 stride 2 c64-128 hw32 n16", 1.2, 16, 64, 32, 128, 3, stride=2),
    case("1x1 c64-256 hw32 n16", 1.2, 16, 64, 32, 256, 1),
    case("5x5 c32 hw28 n32", 1.2, 32, 32, 28, 32, 5),
    case("7x7 stride 2 stem c3-64 hw64 n16", 1.2, 16, 3, 64, 64, 7, stride=2,
         input_grad=False),
    case("depthwise 3x3 c128 hw32 n16", 1.2, 16, 128, 32, 128, 3, groups=128),
]  # fmt: skip
