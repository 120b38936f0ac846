"""Derivatives of whole functions: jacobian, hessian, and products with them.

As in PyTorch, ``func`` takes tensors and returns a tensor or a tuple; ``inputs`` is a tensor or a
tuple. Reverse mode alone gives v^T J. The product J u comes from differentiating v^T J, which is
linear in v, once more with respect to v (J. Townsend, "A new trick for calculating Jacobian vector
products", 2017): no forward-mode formulas are needed.

Results do not require grad unless ``create_graph``. With ``strict``, a RuntimeError reports an
output that does not depend on an input; otherwise its derivative is zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import _C
from .mode import enable_grad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


def _check_ways(op: str, vectorize: bool, strict: bool, strategies: Sequence[str]) -> None:
    if vectorize and strict:
        raise RuntimeError(
            f"torch.autograd.functional.{op}: `strict=True` and `vectorize=True` are"
            " not supported together."
        )
    for strategy in strategies:
        if strategy not in ("reverse-mode", "forward-mode"):
            raise RuntimeError(f"{op}: expected reverse-mode or forward-mode, got {strategy!r}")


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The derivative of every output element by every input element.

    Shape per pair: that of the output followed by that of the input. A tuple of outputs and a tuple
    of inputs give a tuple (outputs) of tuples (inputs). ``vectorize`` and ``strategy`` change
    nothing: there is a backward pass per output element. Raises RuntimeError for another strategy.
    """
    _check_ways("jacobian", vectorize, strict, [strategy])
    with enable_grad():
        xs, outputs, single_in, single_out = _run("jacobian", func, inputs, create_graph)
        blocks = []
        for y in outputs:
            flat = y.reshape(-1)
            rows = [
                _gradients([flat.select(0, k)], xs, None, create_graph, strict)
                for k in range(y.numel())
            ]
            blocks.append(
                tuple(
                    _stack([row[i] for row in rows], (*y.shape, *x.shape), x)
                    for i, x in enumerate(xs)
                )
            )
    nested = tuple(_final(block, single_in, create_graph) for block in blocks)
    return nested[0] if single_out else nested


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of a scalar function: the shape of an input twice, or nested tuples.

    The last two arguments change nothing, as in :func:`jacobian`. Raises RuntimeError if ``func``
    does not return one element, and for another strategy.
    """
    _check_ways("hessian", vectorize, strict, [outer_jacobian_strategy])
    single = isinstance(inputs, _C.TensorBase)

    def first(*xs: Any) -> Any:
        with enable_grad():
            y = _scalar("hessian", func(*xs))
            grads = _gradients([y], xs, None, True, strict)
        return grads[0] if single else tuple(grads)

    return jacobian(first, inputs, create_graph, strict)


def vjp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """``(func(*inputs), v^T J)``; ``v`` like the outputs, or None for one element."""
    with enable_grad():
        xs, outputs, single_in, single_out = _run("vjp", func, inputs, create_graph)
        vs = _directions("vjp", v, outputs)
        grads = _gradients(outputs, xs, vs, create_graph, strict)
    return _final(outputs, single_out, create_graph), _final(grads, single_in, create_graph)


def jvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """``(func(*inputs), J v)``; ``v`` like the inputs, or None for one element."""
    with enable_grad():
        xs, outputs, _, single_out = _run("jvp", func, inputs, create_graph)
        vs = _directions("jvp", v, xs)
        products = _forward_product(outputs, xs, vs, create_graph, strict)
    return _final(outputs, single_out, create_graph), _final(products, single_out, create_graph)


def vhp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """``(func(*inputs), v^T H)`` of a scalar function; ``v`` like the inputs."""
    with enable_grad():
        xs, outputs, single_in, _ = _run("vhp", func, inputs, create_graph)
        y = _scalar("vhp", outputs[0] if len(outputs) == 1 else outputs)
        first = _gradients([y], xs, None, True, strict)
        vs = _directions("vhp", v, xs)
        products = _gradients(first, xs, vs, create_graph, strict)
    return _final([y], True, create_graph), _final(products, single_in, create_graph)


def hvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """``(func(*inputs), H v)`` of a scalar function. H is symmetric, so this is :func:`vhp`."""
    return vhp(func, inputs, v, create_graph, strict)


def _run(op: str, func: Callable[..., Any], inputs: Any, keep: bool) -> tuple:
    """Calls ``func`` on fresh aliases of the inputs: (inputs, outputs, one input, one output)."""
    single_in = isinstance(inputs, _C.TensorBase)
    given = (inputs,) if single_in else tuple(inputs)
    for i, x in enumerate(given):
        if not isinstance(x, _C.TensorBase):
            raise TypeError(
                f"{op}: argument 'inputs': expected tensors, got {type(x).__name__} at {i}"
            )
    xs = [
        x.view(x.shape) if keep and x.requires_grad else x.detach().requires_grad_() for x in given
    ]
    outputs = func(*xs)
    single_out = isinstance(outputs, _C.TensorBase)
    outputs = [outputs] if single_out else list(outputs)
    for y in outputs:
        if not isinstance(y, _C.TensorBase):
            raise TypeError(f"{op}: expected func to return tensors, got {type(y).__name__}")
    return xs, outputs, single_in, single_out


def _scalar(op: str, y: Any) -> Any:
    if not isinstance(y, _C.TensorBase) or y.numel() != 1:
        raise RuntimeError(f"{op}: expected func to return a tensor with a single element")
    return y.reshape(())


def _directions(op: str, v: Any, like: Sequence[Any]) -> list[Any]:
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(
                f"{op}: the vector v can only be None if there is one tensor with one element"
            )
        return [like[0].detach().new_ones(like[0].shape)]
    vs = [v] if isinstance(v, _C.TensorBase) else list(v)
    if len(vs) != len(like) or any(a.shape != b.shape for a, b in zip(vs, like, strict=True)):
        raise RuntimeError(
            f"{op}: argument 'v': expected the shapes {[tuple(t.shape) for t in like]}, "
            f"got {[tuple(t.shape) for t in vs]}"
        )
    return vs


def _gradients(
    outputs: Sequence[Any], xs: Sequence[Any], vs: Any, create_graph: bool, strict: bool
) -> list[Any]:
    """v^T J, zeros where an output does not depend on an input."""
    from . import grad

    pairs = [(y, None if vs is None else vs[k]) for k, y in enumerate(outputs) if y.requires_grad]
    found: Sequence[Any] = [None] * len(xs)
    if pairs:
        ys, seeds = zip(*pairs, strict=True)
        found = grad(ys, xs, None if vs is None else seeds, True, create_graph, allow_unused=True)
    if strict and any(g is None for g in found):
        raise RuntimeError("strict: an output does not depend on one of the inputs")
    return [x.new_zeros(x.shape) if g is None else g for g, x in zip(found, xs, strict=True)]


def _forward_product(
    outputs: Sequence[Any], xs: Sequence[Any], vs: Sequence[Any], create_graph: bool, strict: bool
) -> list[Any]:
    """J v: the derivative by u of (u^T J) v, where u is any vector like the outputs."""
    us = [y.detach().new_zeros(y.shape).requires_grad_() for y in outputs]
    pulled = _gradients(outputs, xs, us, True, strict)
    return _gradients(pulled, us, vs, create_graph, False)


def _stack(rows: list[Any], shape: tuple, like: Any) -> Any:
    from ..ops import stack

    return stack(rows).reshape(shape) if rows else like.new_zeros(shape)


def _final(results: Sequence[Any], single: bool, create_graph: bool) -> Any:
    results = tuple(y if create_graph else y.detach() for y in results)
    return results[0] if single else results
