"""Convolutions of one to three dimensions: filters, strides, dilations, groups, transposed ones."""

from __future__ import annotations

from typing import Any

from . import layer


def conv(name: str, batch: int, channels: int, out: int, side: int, kernel: Any, **options: Any):
    """Two-dimensional, of square images, with padding that keeps their size at stride 1."""
    span = (kernel - 1) * options.get("dilation", 1) if isinstance(kernel, int) else 0
    options.setdefault("padding", span // 2)
    return layer(
        f"conv {name} c{channels}-{out} hw{side} n{batch}",
        lambda nn: nn.Conv2d(channels, out, kernel, **options),
        batch, channels, side, side, images=True,
    )  # fmt: skip


def depthwise(name: str, batch: int, channels: int, side: int, kernel: int, **options: Any):
    options["groups"] = channels
    return conv(f"depthwise {name}", batch, channels, channels, side, kernel, **options)


def conv1d(name: str, batch: int, channels: int, out: int, length: int, kernel: int, **options):
    return layer(
        f"conv1d {name} c{channels}-{out} L{length} n{batch}",
        lambda nn: nn.Conv1d(channels, out, kernel, **options),
        batch, channels, length,
    )  # fmt: skip


def conv3d(name: str, batch: int, channels: int, out: int, side: int, kernel: int, **options):
    return layer(
        f"conv3d {name} c{channels}-{out} {side} cubed n{batch}",
        lambda nn: nn.Conv3d(channels, out, kernel, **options),
        batch, channels, side, side, side,
    )  # fmt: skip


def transposed(name: str, batch: int, channels: int, out: int, side: int, kernel: int, **options):
    return layer(
        f"transposed conv {name} c{channels}-{out} hw{side} n{batch}",
        lambda nn: nn.ConvTranspose2d(channels, out, kernel, **options),
        batch, channels, side, side, images=True,
    )  # fmt: skip


CASES = [
    conv("3x3", 64, 1, 32, 28, 3),
    conv("3x3", 32, 3, 16, 32, 3),
    conv("3x3", 8, 24, 40, 29, 3),
    conv("3x3", 4, 32, 32, 56, 3),
    conv("3x3", 8, 128, 128, 14, 3),
    conv("3x3", 1, 512, 512, 7, 3),
    conv("3x3", 8, 512, 512, 4, 3),
    conv("3x3 dilation 2", 4, 64, 64, 28, 3, dilation=2),
    conv("3x3 stride 2", 8, 32, 64, 28, 3, stride=2),
    conv("3x3 4 groups", 8, 64, 64, 28, 3, groups=4),
    conv("3x3 32 groups", 4, 128, 128, 28, 3, groups=32),
    layer("conv 3x3 c32-32 hw16 n4, float64", lambda nn: nn.Conv2d(32, 32, 3, padding=1),
          4, 32, 16, 16, images=True, dtype="float64"),
    conv("5x5", 64, 6, 16, 14, 5),
    conv("5x5 stride 2", 16, 32, 32, 16, 5, stride=2),
    conv("4x4 stride 2", 8, 64, 128, 32, 4, stride=2, padding=1),
    conv("7x7", 16, 64, 64, 16, 7),
    conv("1x7", 8, 64, 64, 17, (1, 7), padding=(0, 3)),
    conv("11x11 stride 4", 2, 3, 64, 112, 11, stride=4, padding=2),
    conv("16x16 stride 16", 2, 3, 192, 224, 16, stride=16, padding=0),
    conv("1x1", 4, 1024, 256, 14, 1),
    conv("1x1", 2, 256, 64, 56, 1),
    conv("1x1 stride 2", 4, 256, 512, 28, 1, stride=2),
    conv("1x1", 16, 30, 50, 7, 1),
    depthwise("3x3", 16, 512, 7, 3),
    depthwise("3x3", 4, 32, 112, 3),
    depthwise("3x3 stride 2", 32, 64, 14, 3, stride=2),
    depthwise("3x3 stride 2", 4, 96, 56, 3, stride=2),
    depthwise("5x5", 16, 96, 14, 5),
    depthwise("7x7", 4, 96, 28, 7),
    conv1d("3", 16, 64, 64, 512, 3, padding=1),
    conv1d("7 stride 2", 16, 1, 32, 4096, 7, stride=2),
    conv1d("5 dilation 4", 8, 128, 128, 256, 5, dilation=4, padding=8),
    conv1d("depthwise 31", 8, 128, 128, 256, 31, padding=15, groups=128),
    conv3d("3", 2, 16, 32, 16, 3, padding=1),
    conv3d("3 stride 2", 2, 3, 32, 32, 3, padding=1, stride=2),
    transposed("4x4 stride 2", 8, 128, 64, 16, 4, stride=2, padding=1),
    transposed("2x2 stride 2", 4, 64, 32, 32, 2, stride=2),
    transposed("3x3", 8, 64, 64, 16, 3, padding=1),
]  # fmt: skip
