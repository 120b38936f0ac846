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

``record`` and ``needs_grad`` are C++ (src/py_node.cpp): every recorded op pays for them. A node keeps
an edge per input (to the node that produced it, or to the leaf itself), the saved values with their
version counters, and its place in the order of creation.
"""

from __future__ import annotations

from .. import _C
from .._C import needs_grad, record

__all__ = ["Node", "needs_grad", "record"]


class Node(_C.Node):
    """One recorded op, reached as ``tensor.grad_fn``."""

    __slots__ = ()

    def name(self) -> str:
        """The op's name in PyTorch's spelling, such as ``MulBackward0``."""
        stem = getattr(self.backward, "__name__", "unknown").removesuffix("_backward")
        return "".join(word.capitalize() for word in stem.split("_")) + "Backward0"

    @property
    def next_functions(self) -> tuple:
        """The nodes that produced the inputs, each with its output number; leaves as themselves."""
        return tuple(self.edge(i) or (None, 0) for i in range(self.edge_count))

    def __repr__(self) -> str:
        return f"<{self.name()}>"
