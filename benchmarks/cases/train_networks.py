"""Whole training steps of residual networks on images of CIFAR's shape."""

from __future__ import annotations

from typing import Any

from . import Case, Program
from .networks import resnet18, resnet20
from .train_small import train_step


def residual(build: Any, batch: int) -> Any:
    def make(m: Any, convert: Any) -> Program:
        model = convert(build(m))
        optimizer = m.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        x = convert(m.randn(batch, 3, 32, 32))
        return train_step(m, model, optimizer, x, m.randint(0, 10, (batch,)))

    return make


# Multiply-adds of one image's forward pass: 40.8 and 555 million; twice that backward.
CASES = [
    Case("train step: ResNet-20 b64", residual(resnet20, 64), 1.4, flops=6 * 64 * 40.8e6,
         images=True, large=True),
    Case("train step: ResNet-18 b16", residual(resnet18, 16), 1.4, flops=6 * 16 * 555e6,
         images=True, large=True),
]  # fmt: skip
