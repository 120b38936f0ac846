"""Recurrent layers over whole sequences, forward and backward."""

from __future__ import annotations

from typing import Any

from . import Case, Program, forward_backward


def layer(kind: str, steps: int, batch: int, size: int, hidden: int) -> Any:
    def make(m: Any, convert: Any) -> Program:
        module = getattr(m.nn, kind)(size, hidden)
        x = m.randn(steps, batch, size)
        return forward_backward(m, lambda: module(x)[0], list(module.parameters()))

    return make


def case(kind: str, gates: int, steps: int, batch: int, size: int, hidden: int) -> Case:
    flops = 2 * steps * batch * gates * hidden * (3 * hidden + 2 * size)
    name = f"{kind} {size}-{hidden} T{steps} b{batch}, fwd+bwd"
    return Case(name, layer(kind, steps, batch, size, hidden), 1.3, flops=flops)


CASES = [
    case("LSTM", 4, 64, 64, 32, 128),
    case("GRU", 3, 64, 64, 32, 128),
    case("RNN", 1, 64, 64, 32, 128),
    case("LSTM", 4, 32, 16, 256, 256),
]
