"""Kernels and training steps on a card, beside PyTorch's on the same card.

A case is one program, written once for both libraries: ``make(setting)`` builds it and returns what
is timed. ``python benchmarks/gpu_suite.py`` runs them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Program = Callable[[], object]


@dataclass(frozen=True)
class Setting:
    """The library, where it works, and how large the cases are: ``tiny`` ones test the programs."""

    m: Any
    device: str
    tiny: bool

    def allow_tf32(self, allowed: bool) -> None:
        """Sets both switches of the library: PyTorch's differ by default, for convolutions on, for
        products off, and ours are both off."""
        self.m.backends.cuda.matmul.allow_tf32 = allowed
        self.m.backends.cudnn.allow_tf32 = allowed

    def size(self, full: int, tiny: int) -> int:
        """A size of the case."""
        return tiny if self.tiny else full

    def dtype(self, name: str) -> Any:
        """``"fp32"`` and ``"tf32"`` are float32."""
        return {"bf16": self.m.bfloat16}.get(name, self.m.float32)

    def randn(self, *shape: int, dtype: str = "fp32", grad: bool = False) -> Any:
        """Normal numbers on the device, drawn on the host: both libraries get the same."""
        x = self.m.randn(*shape).to(self.device, self.dtype(dtype))
        return x.requires_grad_() if grad else x

    def images(self, *shape: int, dtype: str = "fp32", grad: bool = False) -> Any:
        """The same in the order that PyTorch's convolutions like best: channels last."""
        x = self.randn(*shape, dtype=dtype).to(memory_format=self.m.channels_last)
        return x.requires_grad_() if grad else x

    def labels(self, count: int, classes: int) -> Any:
        return (self.m.arange(count) % classes).to(self.device)


@dataclass(frozen=True)
class Case:
    """``goal`` is the ratio aimed at; ``flops`` (of one call, in ``kind`` of arithmetic) or
    ``bytes`` (the lowest number that it must move) give the share of the card's peak."""

    name: str
    make: Callable[[Setting], Program]
    goal: float
    kind: str = ""  # "fp32", "tf32" or "bf16"
    flops: float = 0.0
    bytes: float = 0.0


def forward_backward(s: Setting, function: Callable[[], Any], leaves: list[Any]) -> Program:
    """The program that calls ``function`` and differentiates its output."""
    weights = s.m.ones_like(function().detach())

    def program() -> None:
        for leaf in leaves:
            leaf.grad = None
        function().backward(weights)

    return program


def all_cases() -> list[Case]:
    """In the order of the table."""
    from . import kernels, steps

    return [*kernels.CASES, *steps.CASES]
