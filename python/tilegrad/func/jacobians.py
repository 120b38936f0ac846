"""``jacrev``, ``jacfwd``, ``hessian``, ``jvp`` and ``linearize``.

``jacrev`` takes a backward pass per output element. ``jacfwd`` takes one per input element:
v^T J is recorded as a function of v, in which it is linear, and differentiated by v.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from .. import _C
from ..autograd.mode import enable_grad
from ..ops import stack
from ..tensor import Tensor
from ..utils._pytree import tree_leaves, tree_unflatten
from .derivatives import Selection, Watched, detached, gradients, split_aux, tensors_of

__all__ = ["hessian", "jacfwd", "jacrev", "jvp", "linearize"]


class _Evaluated:
    """A function called once with watched arguments, and what came out."""

    def __init__(
        self, op: str, func: Callable, chosen: Any, has_aux: bool, kwargs: Any = None
    ) -> None:
        self.chosen = chosen
        self.watched = Watched(op, chosen.leaves)
        outer = _C.is_grad_enabled()
        with enable_grad():
            output = func(*chosen.arguments(self.watched.aliases), **(kwargs or {}))
            output, aux = split_aux(op, output, has_aux)
        self.outputs, self.spec = tensors_of(op, "the function's result", output)
        parts = [*self.outputs, *(x for x in tree_leaves(aux) if isinstance(x, Tensor))]
        self.outside = outer and self.watched.is_seen_from_outside(parts)
        self.aux = detached(aux, self.outside)

    def value(self) -> Any:
        return tree_unflatten(self.watched.released(self.outputs, self.outside), self.spec)

    def result(self, blocks: list[list[Any]]) -> Any:
        """Blocks per output and input in the structure of the outputs, then of the inputs."""
        rows = [self.chosen.tree(self.watched.released(row, self.outside)) for row in blocks]
        return tree_unflatten(rows, self.spec)

    def pushed(self, create_graph: bool) -> tuple[list[Any], list[Any]]:
        """Factors of the outputs, all zero, and v^T J as a function of them."""
        with enable_grad():
            us = [y.detach().new_zeros(y.shape).requires_grad_() for y in self.outputs]
        return us, gradients(self.outputs, self.watched.inner, us, True)


def _unit(like: Any, place: int) -> Any:
    seed = like.detach().new_zeros(like.numel())
    seed[place] = 1
    return seed.reshape(like.shape)


def _stacked(rows: list[Any], shape: tuple, like: Any) -> Any:
    return stack(rows).reshape(shape) if rows else like.detach().new_zeros(shape)


def jacrev(
    func: Callable[..., Any],
    argnums: Any = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable:
    """A function that returns the derivative of each output element by each input element.

    Shape per pair of tensors: that of the output followed by that of the input; structure: that of
    the output, with that of the arguments ``argnums`` in place of each tensor. With ``has_aux`` it
    returns ``(jacobian, aux)``. Rows are computed one by one, whatever ``chunk_size`` says. Raises
    as :func:`grad_and_value`, ValueError for a ``chunk_size`` that is not positive.
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        run = _Evaluated("jacrev", func, Selection("jacrev", argnums, args), has_aux, kwargs)
        blocks = []
        for y in run.outputs:
            rows = [
                gradients([y], run.watched.inner, [_unit(y, place)], run.outside)
                for place in range(y.numel())
            ]
            blocks.append(
                [
                    _stacked([row[i] for row in rows], (*y.shape, *x.shape), x)
                    for i, x in enumerate(run.watched.inner)
                ]
            )
        return (run.result(blocks), run.aux) if has_aux else run.result(blocks)

    return call


def jacfwd(
    func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False, *, randomness: str = "error"
) -> Callable:
    """:func:`jacrev`, computed with one pass per input element, for functions with more outputs
    than inputs.

    What ``func`` calls must be differentiable twice. Raises as :func:`jacrev`.
    """

    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        run = _Evaluated("jacfwd", func, Selection("jacfwd", argnums, args), has_aux, kwargs)
        us, pulled = run.pushed(run.outside)
        blocks: list[list[Any]] = [[] for _ in run.outputs]
        for x, row in zip(run.watched.inner, pulled, strict=True):
            columns = [
                gradients([row], us, [_unit(x, place)], run.outside) for place in range(x.numel())
            ]
            for i, y in enumerate(run.outputs):
                whole = _stacked([column[i] for column in columns], (x.numel(), *y.shape), y)
                blocks[i].append(whole.movedim(0, -1).reshape(*y.shape, *x.shape))
        return (run.result(blocks), run.aux) if has_aux else run.result(blocks)

    return call


def hessian(func: Callable[..., Any], argnums: Any = 0) -> Callable:
    """A function that returns the second derivatives: :func:`jacrev` of :func:`jacrev`.

    What ``func`` calls must be differentiable twice. Raises as :func:`jacrev`.
    """
    return jacrev(jacrev(func, argnums), argnums)


class _Primals(Selection):
    """All arguments."""

    def __init__(self, op: str, primals: Any) -> None:
        if not isinstance(primals, tuple):
            raise RuntimeError(f"{op}: Expected primals to be a tuple, got {type(primals)}")
        super().__init__(op, tuple(range(len(primals))), primals)

    def directions(self, op: str, tangents: Any) -> Sequence[Any]:
        """The leaves of tangents, checked against the primals'."""
        leaves, spec = tensors_of(op, "tangents", list(tangents))
        if spec != self.spec:
            raise RuntimeError(
                f"{op}: Expected primals and tangents to have the same python structure. "
                f"For example, if primals is a tuple of 3 tensors, tangents also must be."
            )
        for x, v in zip(self.leaves, leaves, strict=True):
            if x.shape != v.shape:
                raise RuntimeError(
                    f"{op}: expected tangents of the shapes of the primals, got {tuple(v.shape)} "
                    f"for {tuple(x.shape)}"
                )
        return leaves


def jvp(
    func: Callable[..., Any],
    primals: Any,
    tangents: Any,
    *,
    strict: bool = False,
    has_aux: Any = False,
) -> tuple:
    """``(func(*primals), J u)`` for ``tangents`` u in the structure of ``primals``, both tuples.

    With ``has_aux``: ``(value, J u, aux)``. What ``func`` calls must be differentiable twice.
    Raises RuntimeError for structures and shapes that differ.
    """
    chosen = _Primals("jvp", primals)
    directions = chosen.directions("jvp", tangents)
    run = _Evaluated("jvp", func, chosen, has_aux)
    reaches = run.outside or (_C.is_grad_enabled() and any(v.requires_grad for v in directions))
    us, pulled = run.pushed(reaches)
    found = run.watched.released(gradients(pulled, us, directions, reaches), reaches)
    result = tree_unflatten(found, run.spec)
    return (run.value(), result, run.aux) if has_aux else (run.value(), result)


def linearize(func: Callable[..., Any], *primals: Any) -> tuple:
    """``(func(*primals), f)``, where ``f(*tangents)`` is J u; it can be called again.

    Raises as :func:`jvp`.
    """
    chosen = _Primals("linearize", primals)
    run = _Evaluated("linearize", func, chosen, False)
    us, pulled = run.pushed(run.outside)

    def push(*tangents: Any) -> Any:
        directions = chosen.directions("linearize", tangents)
        reaches = _C.is_grad_enabled() and (run.outside or any(v.requires_grad for v in directions))
        found = gradients(pulled, us, directions, reaches)
        return tree_unflatten(run.watched.released(found, reaches), run.spec)

    return run.value(), push
