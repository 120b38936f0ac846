"""The recorded graph: what a node is and how an op adds one.

An op computes its result, then records how to differentiate it::

    def mul(input, other):
        output = _C.mul(input, other)
        if needs_grad(input, other):
            record(output, mul_backward, (input, other), (input, other))
        return output

    def mul_backward(node, grad):
        input, other = node.saved
        return (grad * other if node.needs(0) else None,
                grad * input if node.needs(1) else None)

``backward(node, *grads)`` receives the gradient of each output and returns the gradient of each
input, ``None`` where there is none; a single input may return its gradient bare. It is written with
public ops, so with ``create_graph`` it is recorded in turn and can itself be differentiated. Shapes
that the op broadcast and dtypes that it promoted are undone by the engine, not by each formula.

``record`` and ``needs_grad`` are C++ (src/py_node.cpp): every recorded op pays for them. A node
keeps an edge per input (to the node that produced it, or to the leaf itself), the saved values with
their version counters, and its place in the order of creation.
"""

from __future__ import annotations

from typing import Any

from .. import _C
from .._C import needs_grad, needs_grad_in_place, record

__all__ = ["AccumulateGrad", "Node", "needs_grad", "needs_grad_in_place", "record"]


class Node(_C.Node):
    """One recorded op, reached as ``tensor.grad_fn``."""

    __slots__ = ("__weakref__",)

    def name(self) -> str:
        """The op's name in PyTorch's spelling, such as ``MulBackward0``."""
        name = getattr(self.backward, "node_name", None)  # of a custom function
        if name is not None:
            return name
        stem = getattr(self.backward, "__name__", "unknown").removesuffix("_backward")
        return "".join(word.capitalize() for word in stem.split("_")) + "Backward0"

    def edges(self) -> list[tuple[Any, int]]:
        """Per input: the node or leaf its gradient goes to, and which output of it; (None, 0) where
        none is wanted."""
        return [self.edge(i) or (None, 0) for i in range(self.edge_count)]

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """Per input: the node that produced it and its output number, an ``AccumulateGrad`` for a
        leaf, ``(None, 0)`` where no gradient is wanted."""
        return tuple(self._next_function(i) for i in range(self.edge_count))

    def _next_function(self, i: int) -> tuple[Any, int]:
        target, output_nr = self.edge(i) or (None, 0)
        if target is None or isinstance(target, Node):
            return target, output_nr
        return AccumulateGrad(target), 0

    @property
    def saved_tensors(self) -> tuple:
        """What the op kept for its gradient. Raises RuntimeError once that was released."""
        return self.saved

    def __repr__(self) -> str:
        return f"<{self.name()}>"


class AccumulateGrad:
    """Where the graph ends at a leaf: ``variable``, to whose ``.grad`` the pass adds.

    It stands for the leaf in ``next_functions``; two of one leaf are equal.
    """

    next_functions = ()

    def __init__(self, variable: Any) -> None:
        self.variable = variable

    def name(self) -> str:
        """``"AccumulateGrad"``."""
        return "AccumulateGrad"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccumulateGrad) and other.variable is self.variable

    def __hash__(self) -> int:
        return hash((AccumulateGrad, id(self.variable)))

    def __repr__(self) -> str:
        return "<AccumulateGrad>"
