"""The backward pass.

Every node is younger than the nodes that feed it, so taking the youngest pending node first visits
each node after all of its consumers: no dependency counts, no recursion, any depth.

The queue of pending nodes is C++ (src/py_queue.cpp): it finds the target of each edge, calls
``_fit`` for a gradient that has not the shape and dtype of its input, and sums what arrives at one
place. Leaves get the sum of a pass at its end, so a pass that fails leaves no ``.grad`` half done.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Sequence
from sys import getrefcount
from typing import Any

from .. import _C
from . import anomaly
from .graph import Node
from .hooks import run_hooks
from .streams import StreamFollower

__all__ = ["Captures", "accumulate", "run_backward"]

_accumulation = threading.Lock()  # two threads may add to one leaf


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
        """What was captured for this tensor; None if no gradient reached it."""
        if tensor.grad_fn is None:
            return self.leaves[tensor]
        return self.outputs[tensor.grad_fn][tensor.output_nr]

    def take(self, node: Node, grads: Sequence[Any]) -> bool:
        """Keeps what was asked for of a node's gradients; False if the pass ends at this node."""
        for output_nr in self.outputs.get(node, ()):
            self.outputs[node][output_nr] = grads[output_nr]
        bits = self.needed.get(node, 0)
        _C.limit_needs(node, bits)
        return bits != 0

    def _needed_nodes(self, roots: set[Node]) -> dict[Node, int]:
        """The nodes from which an input can be reached; the pass differentiates no others. With
        each, a bit per input of the node through which that is so."""
        seen, stack = set(roots), list(roots)
        while stack:
            for target, _ in stack.pop().edges():
                if isinstance(target, Node) and target not in seen:
                    seen.add(target)
                    stack.append(target)
        needed: dict[Node, int] = {}
        for node in sorted(seen, key=lambda node: node.sequence):  # producers before consumers
            bits = 0
            for i, (target, output_nr) in enumerate(node.edges()):
                if (
                    (target in needed or output_nr in self.outputs.get(target, ()))
                    if isinstance(target, Node)
                    else target is not None and target in self.leaves
                ):
                    bits |= 1 << i
            if bits:
                needed[node] = bits
        return needed


def run_backward(
    tensors: Sequence[Any],
    grads: Sequence[Any],
    retain_graph: bool,
    create_graph: bool,
    captures: Captures | None = None,
) -> None:
    """Propagates ``grads`` from ``tensors`` to the leaves, or to ``captures`` only."""
    previous = _C.is_grad_enabled()
    streams = StreamFollower() if _C.cuda_streams_in_use() else None
    _C.set_grad_enabled(create_graph)
    try:
        queue = _C.GradientQueue(_fit, operator.add, _C.add_)
        for tensor, grad in zip(tensors, grads, strict=True):
            queue.add(tensor.grad_fn or tensor, tensor.output_nr, grad)
        _visit_nodes(queue, retain_graph, captures, streams)
        if streams is not None:
            streams.hand_over(queue.leaves.values())
        _finish_leaves(queue.leaves, captures)
    finally:
        if streams is not None:
            streams.rejoin()
        _C.set_grad_enabled(previous)
        _C.limit_needs(None, 0)


def _visit_nodes(
    queue: Any, retain_graph: bool, captures: Captures | None, streams: StreamFollower | None
) -> None:
    while (pending := queue.pop()) is not None:
        node, grads = pending
        if streams is not None:
            streams.follow(node)
        if node.context is not None:
            _run_output_hooks(node, grads)
        if captures is not None and not captures.take(node, grads):
            continue
        results = node.backward(node, *grads)
        if anomaly.state.enabled and anomaly.state.check_nan:
            anomaly.check(node, results)
        queue.route(node, results)
        if not retain_graph:
            node.release()


def _fit(node: Node, index: int, grad: Any) -> Any:
    """Undoes what the op did to its input by itself: broadcasting, type promotion, and the move of
    a number, a tensor without dimensions, to the other operand's device."""
    shape, dtype, device = node.expected(index)
    if grad.shape != shape:
        lead = grad.ndim - len(shape)
        kept = grad.shape[lead:] if lead >= 0 else ()
        if lead < 0 or any(a != b and b != 1 for a, b in zip(kept, shape, strict=True)):
            raise RuntimeError(
                f"Function {node.name()} returned an invalid gradient at index {index} - got "
                f"{list(grad.shape)} but expected shape compatible with {list(shape)}"
            )
        grad = grad.sum_to_size(shape)
    if grad.dtype.is_complex and not dtype.is_complex:
        grad = grad.real
    if grad.ndim == 0 and grad.device != device:
        grad = grad.to(device)
    return grad if grad.dtype is dtype else grad.to(dtype)


def _run_output_hooks(node: Node, grads: list[Any]) -> None:
    """Tensor hooks see, and may replace, the gradient of their output."""
    for output_nr, hooks in node.context.items():
        if grads[output_nr] is not None:
            grads[output_nr] = run_hooks(hooks, grads[output_nr])


def _finish_leaves(leaves: dict[Any, Any], captures: Captures | None) -> None:
    """Hands each leaf the sum of this pass: to ``captures``, else to ``leaf.grad``."""
    for leaf in list(leaves):
        if captures is not None and leaf not in captures.leaves:
            continue
        hooks = leaf._grad_hooks
        if hooks is not None and hooks.before:
            leaves[leaf] = run_hooks(hooks.before, leaves[leaf])
        if captures is not None:
            captures.leaves[leaf] = leaves.pop(leaf)
            continue
        accumulate(leaf, leaves.pop(leaf))
        if hooks is not None:
            for hook in list(hooks.after.values()):
                hook(leaf)


def accumulate(tensor: Any, grad: Any) -> None:
    """Adds to ``tensor.grad``, which never shares memory with anything that others can reach."""
    with _accumulation:
        known = tensor._grad
        if known is None:
            # Kept as it is only if nobody else holds it, and it lies as the leaf does; 2 = this
            # frame and the call.
            if getrefcount(grad) <= 2 and _C.may_become_grad(grad, tensor):
                tensor._grad = grad
            elif _C.is_grad_enabled():
                tensor._grad = grad.clone()
            else:
                tensor._grad = _C.copy_in_order(grad, tensor)
        elif _C.is_grad_enabled():  # recording: the old value may be part of a graph
            tensor._grad = known + grad
        else:
            _C.add_(known, grad)
