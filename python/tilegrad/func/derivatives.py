"""``grad``, ``grad_and_value`` and ``vjp``: reverse mode of one function, to be nested at will.

A function is called with aliases of its arguments, and differentiated by these. What is recorded
outside goes on through an alias, so derivatives of derivatives, and by tensors that the function
finds elsewhere, need nothing more. Whether anything outside wants a gradient is read off the graph:
only then is the backward pass itself recorded.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from .. import _C
from ..autograd.graph import Node, record
from ..autograd.mode import enable_grad, set_grad_enabled
from ..tensor import Tensor
from ..utils._pytree import tree_flatten, tree_leaves, tree_unflatten

__all__ = [
    "Selection",
    "Watched",
    "detached",
    "grad",
    "grad_and_value",
    "gradients",
    "split_aux",
    "tensors_of",
    "vjp",
]


def _identity_backward(node: Any, grad: Any) -> Any:
    return grad


_identity_backward.__name__ = "alias_backward"


def _alias(x: Any) -> Any:
    """The same values and memory, produced by a node of its own."""
    y = _C.detach(x)
    record(y, _identity_backward, (x,))
    return y


def tensors_of(op: str, what: str, tree: Any) -> tuple[list[Any], Any]:
    """The leaves of a tree and its structure. Raises TypeError for a leaf that is no tensor."""
    leaves, spec = tree_flatten(tree)
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise TypeError(f"{op}: expected {what} to hold tensors only, got {type(leaf)}")
    return leaves, spec


class Watched:
    """Tensors to differentiate by, ``inner``, and their aliases to call a function with."""

    def __init__(self, op: str, tensors: Sequence[Any]) -> None:
        for x in tensors:
            if not (x.dtype.is_floating_point or x.dtype.is_complex):
                raise RuntimeError(
                    f"{op}: only tensors of floating point and complex dtype can require gradients,"
                    f" got {x.dtype}"
                )
        with enable_grad():
            self.inner = [_alias(x) if x.requires_grad else _leaf(x) for x in tensors]
            self.aliases = [_alias(x) for x in self.inner]
        self._own = {id(x) for x in self.inner if x.is_leaf}

    def is_seen_from_outside(self, outputs: Sequence[Any]) -> bool:
        """Whether outputs depend on a leaf that is none of ours and wants a gradient."""
        stack = [y.grad_fn for y in outputs if y.grad_fn is not None]
        seen = set(stack)
        while stack:
            for target, _ in stack.pop().edges():
                if isinstance(target, Node):
                    if target not in seen:
                        seen.add(target)
                        stack.append(target)
                elif target is not None and id(target) not in self._own:
                    return True
        return any(y.requires_grad and y.grad_fn is None for y in outputs)

    def released(self, outputs: Sequence[Any], outside: bool) -> list[Any]:
        """Outputs as the caller sees them: without the graph, unless it leads outside."""
        return [y if outside and y.requires_grad else y.detach() for y in outputs]


def _leaf(x: Any) -> Any:
    return _C.detach(x).requires_grad_()


def gradients(
    outputs: Sequence[Any], inputs: Sequence[Any], seeds: Any, create_graph: bool
) -> list[Any]:
    """The derivatives of outputs weighted by ``seeds``; zeros where there is no dependence."""
    from ..autograd import grad as reverse

    pairs = [(y, None if seeds is None else seeds[i]) for i, y in enumerate(outputs)]
    pairs = [(y, seed) for y, seed in pairs if y.requires_grad]
    if not pairs:
        return [x.new_zeros(x.shape) for x in inputs]
    ys, vs = zip(*pairs, strict=True)
    with enable_grad():
        found = reverse(
            ys, inputs, None if seeds is None else vs, True, create_graph, allow_unused=True
        )
    pairs_of = zip(found, inputs, strict=True)
    return [x.new_zeros(x.shape) if g is None else g for g, x in pairs_of]


def split_aux(op: str, output: Any, has_aux: bool) -> tuple[Any, Any]:
    """The output proper and what comes with it."""
    if not has_aux:
        return output, None
    if not isinstance(output, tuple) or len(output) != 2:
        raise RuntimeError(
            f"{op}: with has_aux=True the function is expected to return a tuple (output, aux), "
            f"got {type(output).__name__}"
        )
    return output


def detached(tree: Any, outside: bool) -> Any:
    """``aux`` as the caller sees it."""
    leaves, spec = tree_flatten(tree)
    kept = [x.detach() if isinstance(x, Tensor) and not outside else x for x in leaves]
    return tree_unflatten(kept, spec)


class Selection:
    """The arguments that ``argnums`` names, taken out and put in again."""

    def __init__(self, op: str, argnums: Any, args: tuple) -> None:
        self.is_single = isinstance(argnums, int) and not isinstance(argnums, bool)
        numbers = (argnums,) if self.is_single else argnums
        if not isinstance(numbers, tuple) or not all(isinstance(n, int) for n in numbers):
            raise RuntimeError(
                f"{op}: argnums: expected an int or a tuple of ints, got {argnums!r}"
            )
        if not numbers:
            raise RuntimeError(f"{op}: argnums must be non-empty")
        for n in numbers:
            if not -len(args) <= n < len(args):
                raise RuntimeError(f"{op}: Got argnum={n}, but only {len(args)} positional inputs")
        self.places = [n % len(args) for n in numbers]
        if len(set(self.places)) != len(self.places):
            raise RuntimeError(f"{op}: argnums elements must be unique, got {argnums}")
        chosen = [args[n] for n in self.places]
        self.leaves, self.spec = tensors_of(
            op, "the arguments by which it differentiates", chosen[0] if self.is_single else chosen
        )
        self._args = args

    def arguments(self, leaves: Sequence[Any]) -> list[Any]:
        """All arguments, with other tensors in the chosen ones."""
        args, tree = list(self._args), self.tree(leaves, as_list=True)
        for place, value in zip(self.places, tree, strict=True):
            args[place] = value
        return args

    def tree(self, leaves: Sequence[Any], as_list: bool = False) -> Any:
        """Tensors in the structure of the chosen arguments: that of one, or a tuple."""
        tree = tree_unflatten(leaves, self.spec)
        if as_list:
            return [tree] if self.is_single else tree
        return tree if self.is_single else tuple(tree)


def grad_and_value(func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False) -> Callable:
    """A function that returns the gradient of ``func``, a scalar, and its value.

    - ``argnums``: by which arguments: an int or a tuple of ints
    - ``has_aux``: ``func`` returns ``(value, aux)``; the result is ``(gradient, (value, aux))``

    The gradient has the structure of the argument, or is a tuple of them. Raises RuntimeError for a
    result that is not a single tensor without dimensions, and for ``argnums`` that do not fit.
    """

    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        op, outer = "grad_and_value", _C.is_grad_enabled()
        chosen = Selection(op, argnums, args)
        watched = Watched(op, chosen.leaves)
        with enable_grad():
            output = func(*chosen.arguments(watched.aliases), **kwargs)
            value, aux = split_aux(op, output, has_aux)
        if not isinstance(value, Tensor):
            raise RuntimeError(
                f"{op}: Expected to be given a function that returns a tensor, got {type(value)}"
            )
        if value.ndim != 0:
            raise RuntimeError(
                f"{op}: Expected the function to return a scalar tensor, got tensor with "
                f"{value.ndim} dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
            )
        parts = [x for x in tree_leaves((value, aux)) if isinstance(x, Tensor)]
        outside = outer and watched.is_seen_from_outside(parts)
        found = gradients([value], watched.inner, None, outside)
        found = watched.released(found, outside)
        (value,) = watched.released([value], outside)
        result = chosen.tree(found)
        return (result, (value, detached(aux, outside))) if has_aux else (result, value)

    return call


def grad(func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False) -> Callable:
    """A function that returns the gradient of ``func``, a scalar; see :func:`grad_and_value`.

    With ``has_aux`` it returns ``(gradient, aux)``. The same errors.
    """

    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        found, value = grad_and_value(func, argnums, has_aux)(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return call


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple:
    """``(func(*primals), f)``, where ``f`` turns factors of the outputs into gradients, ``v^T J``.

    ``f`` takes tensors in the structure of the output and returns a tuple with an entry per
    primal; it can be called again. With ``has_aux`` the result is ``(output, f, aux)``.
    Raises TypeError for what holds no tensors, RuntimeError for factors of another structure or
    shape.
    """
    outer = _C.is_grad_enabled()
    leaves, spec = tensors_of("vjp", "primals", list(primals))
    watched = Watched("vjp", leaves)
    with enable_grad():
        output = func(*tree_unflatten(watched.aliases, spec))
        output, aux = split_aux("vjp", output, has_aux)
    outputs, out_spec = tensors_of("vjp", "the function's result", output)
    parts = [*outputs, *(x for x in tree_leaves(aux) if isinstance(x, Tensor))]
    outside = outer and watched.is_seen_from_outside(parts)

    def pull(*cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        given = cotangents[0] if len(cotangents) == 1 else cotangents
        seeds, seed_spec = tensors_of("vjp", "cotangents", given)
        if seed_spec != out_spec:
            raise RuntimeError(
                f"vjp: Expected pytree structure of cotangents to be the same as pytree structure "
                f"of outputs to the function. cotangents: {seed_spec}, primal output: {out_spec}"
            )
        wanted = _C.is_grad_enabled() if create_graph is None else create_graph
        reaches = wanted and (outside or any(seed.requires_grad for seed in seeds))
        found = watched.released(gradients(outputs, watched.inner, seeds, reaches), reaches)
        return tuple(tree_unflatten(found, spec))

    result = tree_unflatten(watched.released(outputs, outside), out_spec)
    with set_grad_enabled(outer):
        return (result, pull, detached(aux, outside)) if has_aux else (result, pull)
