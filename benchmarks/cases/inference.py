"""Residual networks in evaluation, without gradients, on images of CIFAR's shape."""

from __future__ import annotations

from typing import Any

from . import Case, Program
from .networks import resnet18, resnet20


def inference(build: Any, batch: int) -> Any:
    def make(m: Any, convert: Any) -> Program:
        model = convert(build(m)).eval()
        x = convert(m.randn(batch, 3, 32, 32))

        def program() -> Any:
            with m.no_grad():
                return model(x)

        return program

    return make


# Multiply-adds of one image: 40.8 and 555 million.
CASES = [
    Case("inference: ResNet-20 b64", inference(resnet20, 64), flops=2 * 64 * 40.8e6,
         images=True, large=True),
    Case("inference: ResNet-18 b16", inference(resnet18, 16), flops=2 * 16 * 555e6,
         images=True, large=True),
    Case("inference: ResNet-18 b1", inference(resnet18, 1), flops=2 * 555e6,
         images=True, large=True),
]  # fmt: skip
