"""Elementwise functions, reductions over each dimension, scans, sorting and indexing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cases import Case, Program, forward_backward

from . import computed, differentiated


def unary(function: str, *shape: int, gradient: bool = False) -> Case:
    def call(m: Any, x: Any) -> Any:
        return (
            getattr(m, function)(x)
            if hasattr(m, function)
            else getattr(m.nn.functional, function)(x)
        )

    name = f"{function} {'x'.join(str(n) for n in shape)}"
    return (differentiated if gradient else computed)(name, call, shape)


def reduction(function: str, dim: int | None, *shape: int, gradient: bool = False) -> Case:
    def call(m: Any, x: Any) -> Any:
        result = getattr(x, function)() if dim is None else getattr(x, function)(dim)
        return result[0] if isinstance(result, tuple) else result

    where = "all" if dim is None else f"dim {dim}"
    name = f"{function} of {'x'.join(str(n) for n in shape)}, {where}"
    return (differentiated if gradient else computed)(name, call, shape)


def indexed(
    name: str, function: Callable[..., Any], shape: tuple[int, ...], high: int, *index: int,
    gradient: bool = True,
) -> Case:  # fmt: skip
    """``function(m, x, indices below high)``."""

    def make(m: Any, convert: Any) -> Program:
        x, index_tensor = m.randn(*shape), m.randint(0, high, index)
        if not gradient:
            return lambda: function(m, x, index_tensor)
        x.requires_grad_()
        return forward_backward(m, lambda: function(m, x, index_tensor), [x])

    return Case(f"{name}, fwd+bwd" if gradient else name, make)


def integers(m: Any, convert: Any) -> Program:
    a, b = m.randint(0, 1000, (1000, 1000)), m.randint(0, 1000, (1000, 1000))
    return lambda: a + b


def doubled(m: Any, x: Any, mode: str) -> Any:
    return m.nn.functional.interpolate(x, scale_factor=2, mode=mode)


CASES = [
    computed("add 1000x1001", lambda m, a, b: a + b, (1000, 1001), (1000, 1001)),
    computed("add column, 1000x1001", lambda m, a, b: a + b, (1000, 1001), (1000, 1)),
    computed("multiply by transposed, 700x700", lambda m, a, b: a * b.t(), (700, 700), (700, 700)),
    computed("add channel, 16x64x28x28", lambda m, a, b: a + b, (16, 64, 28, 28), (64, 1, 1)),
    computed("add of every second column", lambda m, a: a[:, ::2] + 1.0, (1000, 1000)),
    differentiated("a * b + c, 300x300", lambda m, a, b, c: a * b + c, *[(300, 300)] * 3),
    differentiated("divide, 1000x1000", lambda m, a, b: a / (b * b + 1.0), *[(1000, 1000)] * 2),
    Case("add int64, 1000x1000", integers),
    computed("compare 1000x1000", lambda m, a, b: a > b, (1000, 1000), (1000, 1000)),
    computed("where 1000x1000", lambda m, a, b: m.where(a > b, a, b), (1000, 1000), (1000, 1000)),
    computed("clamp 1000x1000", lambda m, a: a.clamp(-1, 1), (1000, 1000)),
    computed("to float64, 1000x1000", lambda m, a: a.to(m.float64), (1000, 1000)),
    computed("exp float64, 100K", lambda m, a: m.exp(a.to(m.float64)), (100000,)),
    computed("pow 2.5, 100K", lambda m, a: (a * a) ** 2.5, (100000,)),
    unary("relu", 1000, 1000, gradient=True),
    unary("sigmoid", 1000, 1000, gradient=True),
    unary("silu", 333, 777, gradient=True),
    unary("softplus", 333, 777, gradient=True),
    unary("leaky_relu", 333, 777, gradient=True),
    unary("elu", 333, 777, gradient=True),
    unary("sin", 100003),
    unary("erf", 100003),
    unary("tanh", 1000),
    unary("exp", 100),
    *(reduction("sum", dim, 64, 128, 96, gradient=True) for dim in (None, 0, 1, 2)),
    reduction("mean", -1, 1000, 17),
    reduction("max", 1, 500, 1000),
    reduction("max", 0, 500, 1000),
    reduction("argmax", 1, 500, 1000),
    reduction("argmax", -1, 10000, 10),
    reduction("var", 0, 1000, 300),
    reduction("std", None, 1000, 300, gradient=True),
    reduction("norm", 1, 1000, 300, gradient=True),
    reduction("logsumexp", 1, 1000, 300, gradient=True),
    reduction("prod", 1, 1000, 300),
    reduction("cumsum", 0, 1000, 1000),
    reduction("cumsum", 1, 1000, 100, gradient=True),
    reduction("cumprod", 1, 100, 1000),
    reduction("sort", 0, 100000),
    reduction("sort", 0, 1000, 100),
    reduction("argsort", 1, 2000, 50),
    computed("topk 5 of 1000x1000", lambda m, x: x.topk(5), (1000, 1000)),
    computed("topk 100 of 100000", lambda m, x: x.topk(100), (100000,)),
    computed("median of 1000x101", lambda m, x: x.median(1), (1000, 101)),
    indexed("gather 1000x500 from 1000x500", lambda m, x, i: x.gather(1, i), (1000, 500), 500, 1000,
            500),
    indexed("scatter_add 1000x500", lambda m, x, i: x.scatter_add(1, i, x), (1000, 500), 500, 1000,
            500),
    indexed("index_select 5000 of 1000x64", lambda m, x, i: x.index_select(0, i), (1000, 64), 1000,
            5000),
    indexed("x[index] of 1000x64", lambda m, x, i: x[i], (1000, 64), 1000, 5000),
    indexed("index_add 5000 rows of 64",
            lambda m, x, i: m.zeros(1000, 64).index_add(0, i, x), (5000, 64), 1000, 5000),
    indexed("one_hot 4096, 100 classes", lambda m, x, i: m.nn.functional.one_hot(i, 100), (1,), 100,
            4096, gradient=False),
    indexed("embedding 1000x32, 20x50", lambda m, x, i: m.nn.functional.embedding(i, x), (1000, 32),
            1000, 20, 50),
    indexed("embedding 50000x128, 16x128", lambda m, x, i: m.nn.functional.embedding(i, x),
            (50000, 128), 50000, 16, 128),
    indexed("bincount 100K", lambda m, x, i: m.bincount(i), (1,), 1000, 100000, gradient=False),
    computed("masked_select 1000x1000", lambda m, x: x[x > 0], (1000, 1000)),
    differentiated("masked_fill 1000x1000", lambda m, x: x.masked_fill(x > 1, 0.0), (1000, 1000)),
    differentiated("cat of 4, dim 1", lambda m, *x: m.cat(x, 1), *[(100, 100, 30)] * 4),
    differentiated("stack of 8", lambda m, *x: m.stack(x), *[(300, 100)] * 8),
    computed("flip 1000x1000", lambda m, x: x.flip(1), (1000, 1000)),
    computed("roll 1000x1000", lambda m, x: x.roll(7, 1), (1000, 1000)),
    computed("permute 32x50x8x64", lambda m, x: x.permute(0, 2, 1, 3).contiguous(),
             (32, 50, 8, 64)),
    computed("permute 16x100x30x17", lambda m, x: x.permute(3, 1, 0, 2).contiguous(),
             (16, 100, 30, 17)),
    computed("tril 1000x1000", lambda m, x: x.tril(), (1000, 1000)),
    differentiated("pad 16x32x30x30", lambda m, x: m.nn.functional.pad(x, (1, 1, 1, 1)),
                   (16, 32, 30, 30)),
    differentiated("interpolate x2 nearest", lambda m, x: doubled(m, x, "nearest"),
                   (4, 32, 28, 28), images=True),
    differentiated("interpolate x2 bilinear", lambda m, x: doubled(m, x, "bilinear"),
                   (4, 32, 28, 28), images=True),
]  # fmt: skip
