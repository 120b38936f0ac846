"""The benchmark cases, by topic. A case is one program, written once for both libraries.

``make(m, convert)`` builds it with ``m`` = tilegrad or torch and returns what is timed.
``convert(x)`` brings a tensor or a module to the memory format under test; programs without images
ignore it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Program = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """``goal`` is the ratio aimed at; ``flops`` or ``bytes`` (the lowest number that the program
    must move) give the share of the machine's peak; ``images`` asks for channels-last too."""

    name: str
    make: Callable[[Any, Callable[[Any], Any]], Program]
    goal: float = 1.0
    flops: float = 0.0
    bytes: float = 0.0
    images: bool = False
    large: bool = False  # expected to be faster with all cores


def forward_backward(m: Any, function: Callable[[], Any], leaves: list[Any]) -> Program:
    """The program that calls ``function`` and differentiates its output."""
    weights = m.ones_like(function().detach())

    def program() -> None:
        for leaf in leaves:
            leaf.grad = None
        function().backward(weights)

    return program


def all_cases() -> list[Case]:
    """In the order of the table."""
    from . import (
        attention,
        convolution,
        elementwise,
        inference,
        matmul,
        normalization,
        pooling,
        recurrent,
        train_networks,
        train_small,
    )

    modules = (
        matmul, convolution, pooling, normalization, elementwise, attention, recurrent,
        train_small, train_networks, inference,
    )  # fmt: skip
    return [case for module in modules for case in module.CASES]
