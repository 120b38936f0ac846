"""Attention with odd lengths, masks and other memories, and recurrent layers of other sizes."""

from __future__ import annotations

from typing import Any

from cases import Case, Program, forward_backward


def attention(
    name: str, batch: int, heads: int, queries: int, keys: int, size: int, mask: bool = False,
    gradient: bool = True, **options: Any,
) -> Case:  # fmt: skip
    def make(m: Any, convert: Any) -> Program:
        shapes = [(batch, heads, length, size) for length in (queries, keys, keys)]
        leaves = [m.randn(*shape, requires_grad=gradient) for shape in shapes]
        chosen = dict(options)
        if mask:
            chosen["attn_mask"] = m.randn(queries, keys) > -1
        function = m.nn.functional.scaled_dot_product_attention
        if not gradient:
            return lambda: function(*leaves, **chosen)
        return forward_backward(m, lambda: function(*leaves, **chosen), leaves)

    text = f"{name} b{batch} h{heads} {queries} x {keys} d{size}"
    return Case(f"{text}, fwd+bwd" if gradient else text, make)


def recurrent(
    kind: str, size: int, hidden: int, steps: int, batch: int, gradient: bool = True,
    last: bool = False, **options: Any,
) -> Case:  # fmt: skip
    """``last``: only the last step is used, as where a sequence is classified."""

    def make(m: Any, convert: Any) -> Program:
        module, x = getattr(m.nn, kind)(size, hidden, **options), m.randn(steps, batch, size)
        chosen = -1 if last else slice(None)
        if gradient:
            return forward_backward(m, lambda: module(x)[0][chosen], list(module.parameters()))

        def program() -> None:
            with m.no_grad():
                module(x)

        return program

    text = "".join(f" {name}={value}" for name, value in options.items())
    text = f"{kind} {size}-{hidden}{text} T{steps} b{batch}{', last step' if last else ''}"
    return Case(f"{text}, fwd+bwd" if gradient else f"{text}, inference", make)


CASES = [
    attention("attention", 4, 8, 77, 77, 40),
    attention("causal attention", 16, 4, 128, 128, 32, is_causal=True),
    attention("causal attention", 2, 4, 500, 500, 128, is_causal=True),
    attention("cross attention", 2, 8, 64, 257, 64),
    attention("masked attention", 2, 8, 196, 196, 64, mask=True),
    attention("attention", 32, 2, 17, 17, 16),
    attention("attention, inference", 8, 8, 1, 512, 64, gradient=False),
    attention("attention, inference", 1, 12, 384, 384, 64, gradient=False),
    recurrent("LSTM", 17, 33, 20, 5),
    recurrent("LSTM", 100, 64, 50, 32, num_layers=2),
    recurrent("LSTM", 64, 64, 50, 32, bidirectional=True),
    recurrent("LSTM", 512, 512, 10, 32),
    recurrent("LSTM", 32, 32, 500, 32, last=True),
    recurrent("LSTM", 128, 256, 100, 1, gradient=False),
    recurrent("GRU", 40, 100, 30, 20),
    recurrent("GRU", 256, 256, 32, 16),
    recurrent("GRU", 64, 128, 100, 1, gradient=False),
    recurrent("RNN", 64, 256, 50, 20),
]
