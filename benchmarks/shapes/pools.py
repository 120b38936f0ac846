"""Pooling of one to three dimensions: adaptive and uneven, global, overlapping, odd windows."""

from __future__ import annotations

from typing import Any

from cases import Case

from . import differentiated


def pool(name: str, function: str, shape: tuple[int, ...], *args: Any, **options: Any) -> Case:
    sizes = "x".join(str(n) for n in shape)
    return differentiated(
        f"{name}, {sizes}",
        lambda m, x: getattr(m.nn.functional, function)(x, *args, **options),
        shape,
        images=len(shape) == 4,
    )


CASES = [
    pool("max 2x2", "max_pool2d", (16, 32, 15, 15), 2),
    pool("max 2x2", "max_pool2d", (32, 128, 8, 8), 2),
    pool("max 3x3 stride 2", "max_pool2d", (4, 64, 112, 112), 3, 2, 1),
    pool("max 3x3 stride 2", "max_pool2d", (8, 192, 27, 27), 3, 2),
    pool("max 3x3 stride 2 ceil_mode", "max_pool2d", (8, 64, 28, 28), 3, 2, ceil_mode=True),
    pool("max 3x3 stride 1", "max_pool2d", (8, 64, 28, 28), 3, 1, 1),
    pool("max 5x5 stride 1", "max_pool2d", (4, 128, 20, 20), 5, 1, 2),
    pool("max 4x4", "max_pool2d", (16, 32, 32, 32), 4),
    pool("max 3x3 dilation 2", "max_pool2d", (8, 32, 28, 28), 3, 1, 1, 2),
    pool("max 1d 2", "max_pool1d", (32, 64, 500), 2),
    pool("max 1d 3 stride 2", "max_pool1d", (32, 64, 500), 3, 2, 1),
    pool("max 3d 2", "max_pool3d", (2, 32, 16, 16, 16), 2),
    pool("max 3d 3 stride 2", "max_pool3d", (2, 16, 16, 28, 28), 3, 2, 1),
    pool("average 2x2", "avg_pool2d", (32, 128, 14, 14), 2),
    pool("average 3x3 stride 1", "avg_pool2d", (8, 64, 28, 28), 3, 1, 1),
    pool("average 3x3 stride 2", "avg_pool2d", (8, 64, 28, 28), 3, 2, 1),
    pool("average 8x8", "avg_pool2d", (64, 64, 8, 8), 8),
    pool("average 4x4", "avg_pool2d", (16, 64, 32, 32), 4),
    pool("average 1d 3", "avg_pool1d", (32, 64, 500), 3, 1, 1),
    pool("average 3d 2", "avg_pool3d", (2, 32, 16, 16, 16), 2),
    pool("adaptive average 1x1", "adaptive_avg_pool2d", (16, 512, 7, 7), 1),
    pool("adaptive average 7x7", "adaptive_avg_pool2d", (8, 128, 14, 14), 7),
    pool("adaptive average 6x6", "adaptive_avg_pool2d", (16, 256, 13, 13), 6),
    pool("adaptive average 3x3", "adaptive_avg_pool2d", (16, 128, 7, 7), 3),
    pool("adaptive average 7x7", "adaptive_avg_pool2d", (8, 64, 32, 32), 7),
    pool("adaptive average 5x9", "adaptive_avg_pool2d", (8, 64, 112, 64), (5, 9)),
    pool("adaptive average 16x16", "adaptive_avg_pool2d", (8, 64, 7, 7), 16),
    pool("adaptive average 1d 10", "adaptive_avg_pool1d", (32, 64, 333), 10),
    pool("adaptive average 3d 3", "adaptive_avg_pool3d", (2, 32, 8, 14, 14), 3),
    pool("adaptive max 1x1", "adaptive_max_pool2d", (16, 512, 7, 7), 1),
    pool("adaptive max 6x6", "adaptive_max_pool2d", (16, 256, 13, 13), 6),
    pool("adaptive max 7x7", "adaptive_max_pool2d", (8, 64, 32, 32), 7),
    pool("adaptive max 1d 10", "adaptive_max_pool1d", (32, 64, 333), 10),
    pool("global max of 64x64", "adaptive_max_pool2d", (8, 64, 64, 64), 1),
]
