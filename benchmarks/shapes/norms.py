"""Normalizations, softmax and losses: small, wide, with odd classes, along other dimensions."""

from __future__ import annotations

from typing import Any

from cases import Case, Program, forward_backward

from . import differentiated, layer


def cross_entropy(rows: int, classes: int, **options: Any) -> Case:
    def make(m: Any, convert: Any) -> Program:
        x, target = m.randn(rows, classes, requires_grad=True), m.randint(0, classes, (rows,))
        function = m.nn.functional.cross_entropy
        return forward_backward(m, lambda: function(x, target, **options), [x])

    text = "".join(f" {name}={value}" for name, value in options.items())
    return Case(f"cross-entropy {rows}x{classes}{text}, fwd+bwd", make)


def segmentation(m: Any, convert: Any) -> Program:
    x = convert(m.randn(4, 21, 64, 64)).requires_grad_()
    target = m.randint(0, 21, (4, 64, 64))
    return forward_backward(m, lambda: m.nn.functional.cross_entropy(x, target), [x])


def batch_norm(channels: int, side: int, batch: int) -> Case:
    name = f"batch norm c{channels} hw{side} n{batch}"
    return layer(
        name, lambda nn: nn.BatchNorm2d(channels), batch, channels, side, side, images=True
    )


def evaluated(m: Any, convert: Any) -> Program:
    module, x = convert(m.nn.BatchNorm2d(64)).eval(), convert(m.randn(16, 64, 28, 28))
    with m.no_grad():
        module(x)

    def program() -> None:
        with m.no_grad():
            module(x)

    return program


def soft(name: str, function: str, dim: int, *shape: int) -> Case:
    return differentiated(name, lambda m, x: getattr(m, function)(x, dim), shape)


def loss(name: str, function: str, *shape: int) -> Case:
    return differentiated(
        name, lambda m, x, y: getattr(m.nn.functional, function)(x, y), shape, shape
    )


CASES = [
    batch_norm(512, 4, 16),
    batch_norm(512, 7, 16),
    batch_norm(16, 32, 64),
    batch_norm(24, 56, 4),
    layer("batch norm 256 features, 128 rows", lambda nn: nn.BatchNorm1d(256), 128, 256),
    layer("batch norm 64 channels, 32 x 200", lambda nn: nn.BatchNorm1d(64), 32, 64, 200),
    Case("batch norm c64 hw28 n16, evaluation", evaluated, images=True),
    layer("layer norm 64x768", lambda nn: nn.LayerNorm(768), 64, 768),
    layer("layer norm 16384x64", lambda nn: nn.LayerNorm(64), 16384, 64),
    layer("layer norm 16x8191", lambda nn: nn.LayerNorm(8191), 16, 8191),
    layer("layer norm over 64x14x14, 16 rows", lambda nn: nn.LayerNorm((64, 14, 14)),
          16, 64, 14, 14),
    layer("rms norm 2048x768", lambda nn: nn.RMSNorm(768), 2048, 768),
    layer("group norm 32 c256 hw16 n8", lambda nn: nn.GroupNorm(32, 256), 8, 256, 16, 16,
          images=True),
    layer("group norm 4 c20 hw7 n64", lambda nn: nn.GroupNorm(4, 20), 64, 20, 7, 7, images=True),
    layer("instance norm c64 hw32 n8", lambda nn: nn.InstanceNorm2d(64, affine=True),
          8, 64, 32, 32, images=True),
    layer("local response norm 5 c64 hw27 n4", lambda nn: nn.LocalResponseNorm(5), 4, 64, 27, 27,
          images=True),
    soft("softmax 128x10", "softmax", -1, 128, 10),
    soft("softmax 64x10007", "softmax", -1, 64, 10007),
    soft("softmax over dim 1 of 8x100x400", "softmax", 1, 8, 100, 400),
    soft("softmax 8x8x77x77", "softmax", -1, 8, 8, 77, 77),
    soft("log_softmax 256x1000", "log_softmax", -1, 256, 1000),
    cross_entropy(64, 10),
    cross_entropy(4096, 257),
    cross_entropy(64, 50257),
    cross_entropy(256, 1000, label_smoothing=0.1),
    Case("cross-entropy of images, 21 classes 64x64 n4, fwd+bwd", segmentation, images=True),
    loss("mse_loss 1M", "mse_loss", 1000, 1000),
    loss("smooth_l1_loss 1M", "smooth_l1_loss", 1000, 1000),
    loss("binary_cross_entropy_with_logits 100K", "binary_cross_entropy_with_logits", 100, 1000),
]  # fmt: skip
