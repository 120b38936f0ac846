"""Other shapes of the kinds in ``cases/``: small, odd, uneven and deep ones, without goals.

They are there to find what the chosen cases hide; a ratio below 1 is a loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cases import Case, Program, forward_backward


def differentiated(
    name: str, function: Callable[..., Any], *shapes: tuple[int, ...], images: bool = False
) -> Case:
    """``function(m, *tensors)``, forward and backward, for random tensors of these shapes."""

    def make(m: Any, convert: Any) -> Program:
        tensors = [m.randn(*shape) for shape in shapes]
        if images:
            tensors = [convert(x) for x in tensors]
        leaves = [x.requires_grad_() for x in tensors]
        return forward_backward(m, lambda: function(m, *leaves), leaves)

    return Case(f"{name}, fwd+bwd", make, images=images)


def computed(name: str, function: Callable[..., Any], *shapes: tuple[int, ...]) -> Case:
    """``function(m, *tensors)`` without gradients."""

    def make(m: Any, convert: Any) -> Program:
        tensors = [m.randn(*shape) for shape in shapes]
        return lambda: function(m, *tensors)

    return Case(name, make)


def layer(
    name: str, build: Callable[[Any], Any], *shape: int, images: bool = False, dtype: str = ""
) -> Case:
    """A module that ``build(m.nn)`` makes, with the gradients of its input and parameters."""

    def make(m: Any, convert: Any) -> Program:
        module, x = build(m.nn), m.randn(*shape)
        if dtype:
            module, x = module.to(getattr(m, dtype)), x.to(getattr(m, dtype))
        if images:
            module, x = convert(module), convert(x)
        x.requires_grad_()
        return forward_backward(m, lambda: module(x), [x, *module.parameters()])

    return Case(f"{name}, fwd+bwd", make, images=images)


def all_shapes() -> dict[str, list[Case]]:
    """By kind, in the order of the page."""
    from . import convolutions, functions, norms, optimizers, pools, products, sequences

    return {
        "Products": products.CASES,
        "Convolution": convolutions.CASES,
        "Pooling": pools.CASES,
        "Normalization, softmax, losses": norms.CASES,
        "Elementwise functions, reductions, sorting, indexing": functions.CASES,
        "Attention and recurrent layers": sequences.CASES,
        "Optimizers": optimizers.CASES,
    }
