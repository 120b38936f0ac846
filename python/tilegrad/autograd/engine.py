"""The backward pass.

Every node is younger than the nodes that feed it, so taking the youngest pending node first visits
each node after all of its consumers: no dependency counts, no recursion, any depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from sys import getrefcount
from typing import Any

from .. import _C
from .graph import Node

__all__ = ["Captures", "apply_hooks", "run_backward"]


class Captures:
    """The tensors whose gradients ``autograd.grad`` asks for, and those gradients once known."""

    def __init__(self, inputs: Sequence[Any], roots: Sequence[Any]) -> None:
        self.leaves: dict[Any, Any] = {t: None for t in inputs if t.grad_fn is None}
        self.outputs: dict[Node, dict[int, Any]] = {}
        for t in inputs:
            if t.grad_fn is not None:
                self.outputs.setdefault(t.grad_fn, {})[t.output_nr] = None
        self.needed = self._needed_nodes({t.grad_fn for t in roots if t.grad_fn is not None})

    def result(self, tensor: Any) -> Any:
        if tensor.grad_fn is None:
            return self.leaves[tensor]
        return self.outputs[tensor.grad_fn][tensor.output_nr]

    def _needed_nodes(self, roots: set[Node]) -> set[Node]:
        """The nodes from which an input can be reached; the pass differentiates no others."""
        seen, stack = set(roots), list(roots)
        while stack:
            for target, _ in stack.pop().next_functions:
                if isinstance(target, Node) and target not in seen:
                    seen.add(target)
                    stack.append(target)
        needed: set[Node] = set()
        for node in sorted(seen, key=lambda node: node.sequence):  # producers before consumers
            for target, output_nr in node.next_functions:
                if (
                    (target in needed or output_nr in self.outputs.get(target, ()))
                    if isinstance(target, Node)
                    else target in self.leaves
                ):
                    needed.add(node)
                    break
        return needed


def run_backward(
    tensors: Sequence[Any],
    grads: Sequence[Any],
    retain_graph: bool,
    create_graph: bool,
    captures: Captures | None = None,
) -> None:
    """Propagates ``grads`` from ``tensors`` to the leaves, or to ``captures`` only."""
    pending: dict[Node, list[Any]] = {}  # per node: the gradient of each of its outputs so far
    heap: list[tuple[int, Node]] = []
    leaves: dict[Any, Any] = {}

    def deliver(target: Any, output_nr: int, grad: Any) -> None:
        if not isinstance(target, Node):
            known = leaves.get(target)
            leaves[target] = grad if known is None else known + grad
            return
        slots = pending.get(target)
        if slots is None:
            slots = pending[target] = [None] * target.output_count
            heappush(heap, (-target.sequence, target))
        known = slots[output_nr]
        slots[output_nr] = grad if known is None else known + grad

    previous = _C.is_grad_enabled()
    _C.set_grad_enabled(create_graph)
    try:
        for tensor, grad in zip(tensors, grads, strict=True):
            deliver(tensor.grad_fn or tensor, tensor.output_nr, grad)
        while heap:
            node = heappop(heap)[1]
            outputs = pending.pop(node)
            if node.context is not None:
                _run_hooks(node, outputs)
            if captures is not None:
                for output_nr in captures.outputs.get(node, ()):
                    captures.outputs[node][output_nr] = outputs[output_nr]
                if node not in captures.needed:
                    continue
            results = node.backward(node, *outputs)
            if not isinstance(results, tuple):
                results = (results,)
            for i, grad in enumerate(results):
                if grad is None:
                    continue
                edge = node.edge(i)
                if edge is None:
                    continue
                misfit = node.misfit(i, grad)
                if misfit is not None:
                    grad = _fit(grad, *misfit, node)
                deliver(edge[0], edge[1], grad)
            outputs = results = grad = None  # the leaves below must hold the only references
            if not retain_graph:
                node.release()
        _finish_leaves(leaves, create_graph, captures)
    finally:
        _C.set_grad_enabled(previous)


def _fit(grad: Any, shape: Any, dtype: Any, node: Node) -> Any:
    """Undoes what the op did to its input by itself: broadcasting and type promotion."""
    if grad.shape != shape:
        lead = grad.ndim - len(shape)
        kept = grad.shape[lead:] if lead >= 0 else ()
        if lead < 0 or any(a != b and b != 1 for a, b in zip(kept, shape, strict=True)):
            raise RuntimeError(
                f"{node.name()} returned an invalid gradient: "
                f"got {list(grad.shape)} but expected shape compatible with {list(shape)}"
            )
        grad = grad.sum_to_size(shape)
    return grad if grad.dtype is dtype else grad.to(dtype)


def _run_hooks(node: Node, outputs: list[Any]) -> None:
    """Tensor hooks see, and may replace, the gradient of their output."""
    for output_nr, hooks in node.context.items():
        if outputs[output_nr] is not None:
            outputs[output_nr] = apply_hooks(hooks, outputs[output_nr])


def apply_hooks(hooks: dict[int, Any], grad: Any) -> Any:
    """Calls each hook with the gradient; a result other than None replaces it."""
    for hook in list(hooks.values()):
        result = hook(grad)
        if result is not None:
            grad = result
    return grad


def _finish_leaves(leaves: dict[Any, Any], create_graph: bool, captures: Captures | None) -> None:
    """Hands each leaf the sum of this pass: to ``captures``, else to ``leaf.grad``."""
    while leaves:
        leaf, grad = leaves.popitem()
        if captures is not None and leaf not in captures.leaves:
            continue
        if leaf._grad_hooks:
            grad = apply_hooks(leaf._grad_hooks, grad)
        if captures is not None:
            captures.leaves[leaf] = grad
        elif leaf._grad is None:
            # Kept as it is only if nobody else can see its memory; 2 = this frame and the call.
            unique = getrefcount(grad) <= 2 and _C.is_exclusive(grad)
            leaf._grad = grad if unique or create_graph else _C.clone(grad)
        elif create_graph:
            leaf._grad = leaf._grad + grad
        else:
            _C.add_(leaf._grad, grad)
