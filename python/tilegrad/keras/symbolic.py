"""``KerasTensor``, the shape and dtype of a tensor to come, and the graph that such tensors form.

Calling a layer or a function of ``keras.ops`` on a ``KerasTensor`` computes nothing: it adds a node
to the graph and returns new ``KerasTensor`` objects. ``models/functional.py`` runs the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tilegrad as tg

from . import tree
from .dtypes import dtype_of, standardize_dtype
from .naming import auto_name, unique_name

__all__ = [
    "KerasTensor",
    "Node",
    "Operation",
    "any_symbolic",
    "context",
    "infer",
    "is_keras_tensor",
]


class _Context:
    """What a layer must know about the call it is part of."""

    def __init__(self) -> None:
        self.training: bool | None = None  # of the call around this one
        self.tracing = False  # a trial run, to learn shapes
        self.masks = False  # has any layer produced a mask in this process?
        self.paths: list[str] = []  # names of the layers that are being built


context = _Context()


class KerasTensor:
    """A tensor to come: ``shape`` (None for open sizes), ``dtype`` by name, ``name``."""

    def __init__(
        self,
        shape: Any,
        dtype: Any = "float32",
        sparse: bool = False,
        ragged: bool = False,
        record_history: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.shape = tuple(None if n is None else int(n) for n in shape)
        self.dtype = standardize_dtype(dtype)
        self.name = name or auto_name("keras_tensor")
        self.sparse = False
        self.node: Node | None = None  # what computes it
        self.index = 0  # which of the node's outputs it is

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def _keras_history(self) -> tuple:
        node = self.node
        if node is None:
            return (None, None, None)
        return node.operation, node.operation._inbound_nodes.index(node), self.index

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"

    def _refuse(self, what: str) -> Any:
        raise TypeError(
            "A KerasTensor is symbolic: it's a placeholder for a shape an a dtype. It cannot "
            f"{what}."
            " Use keras.ops or a keras.layers.Layer on it, or call the model on real data."
        )

    def __bool__(self) -> bool:
        return self._refuse("be used as a boolean")

    def __iter__(self) -> Any:
        return self._refuse("be iterated over")

    def __len__(self) -> int:
        return self._refuse("tell its length")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return self._refuse("be converted to a NumPy array")

    def __float__(self) -> float:
        return self._refuse("be converted to a number")

    __int__ = __float__


def _operator(name: str, reflected: bool = False) -> Callable[..., Any]:
    def method(self: Any, *others: Any) -> Any:
        from . import ops

        function = getattr(ops, name)
        return function(others[0], self) if reflected else function(self, *others)

    return method


for _dunder, _function in {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "mod": "mod",
    "floordiv": "floor_divide", "pow": "power", "matmul": "matmul", "and": "logical_and",
    "or": "logical_or", "xor": "logical_xor",
}.items():  # fmt: skip
    setattr(KerasTensor, f"__{_dunder}__", _operator(_function))
    setattr(KerasTensor, f"__r{_dunder}__", _operator(_function, reflected=True))
for _dunder, _function in {
    "neg": "negative", "abs": "absolute", "lt": "less", "le": "less_equal", "gt": "greater",
    "ge": "greater_equal", "ne": "not_equal", "getitem": "get_item", "invert": "logical_not",
    "round": "round",
}.items():  # fmt: skip
    setattr(KerasTensor, f"__{_dunder}__", _operator(_function))


def is_keras_tensor(x: Any) -> bool:
    """Whether it is a tensor to come."""
    return isinstance(x, KerasTensor)


def any_symbolic(structure: Any) -> bool:
    """Whether a ``KerasTensor`` is anywhere in it."""
    if isinstance(structure, KerasTensor):
        return True
    if isinstance(structure, (list, tuple)):
        return any(map(any_symbolic, structure))
    if isinstance(structure, dict):
        return any(map(any_symbolic, structure.values()))
    return False


class Node:
    """One call of an operation: its arguments, and the ``KerasTensor`` objects it returned."""

    def __init__(self, operation: Any, args: tuple, kwargs: dict, outputs: Any) -> None:
        self.operation = operation
        self.args = args
        self.kwargs = kwargs
        self.outputs = outputs
        self.input_tensors = [x for x in tree.flatten([args, kwargs]) if is_keras_tensor(x)]
        self.output_tensors = [x for x in tree.flatten(outputs) if is_keras_tensor(x)]
        for index, output in enumerate(self.output_tensors):
            output.node, output.index = self, index
        operation._inbound_nodes.append(self)
        for x in self.input_tensors:
            if x.node is not None:
                x.node.operation._outbound_nodes.append(self)

    @property
    def is_input(self) -> bool:
        """Whether it stands for an input of a model."""
        return not self.input_tensors

    @property
    def parents(self) -> list[Node]:
        """The nodes that compute the inputs."""
        return [x.node for x in self.input_tensors if x.node is not None]


class Operation:
    """A function of ``keras.ops`` as an operation of a graph; saved by its name."""

    _reads_raw_config = False

    def __init__(self, function: Callable[..., Any], name: str | None = None) -> None:
        self.function = function
        self.name = name or unique_name(function.__name__)
        self._inbound_nodes: list[Node] = []
        self._outbound_nodes: list[Node] = []
        self.built = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if any_symbolic((args, kwargs)):
            outputs = infer(self.function, args, kwargs)
            Node(self, args, kwargs, outputs)
            return outputs
        return self.function(*args, **kwargs)

    @property
    def input(self) -> Any:
        """The tensors to come that it was last called on."""
        return _single(self._inbound_nodes[-1].input_tensors)

    @property
    def output(self) -> Any:
        """The tensors to come that it last returned."""
        return self._inbound_nodes[-1].outputs

    def get_config(self) -> dict[str, Any]:
        """Its name and that of the function."""
        return {"name": self.name, "function": self.function.__name__}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Operation:
        """The operation of a configuration. Raises AttributeError for an unknown function."""
        from . import ops

        return cls(getattr(ops, config["function"]).__wrapped__, config["name"])

    def __repr__(self) -> str:
        return f"<Operation name={self.name}>"


def _single(items: list) -> Any:
    return items[0] if len(items) == 1 else items


def infer(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """The shapes and dtypes of ``function(*args, **kwargs)``, as fresh ``KerasTensor`` objects.

    The function is tried on zeros. Open sizes are filled with one number and then with another: the
    sizes of the results that differ are open too.
    """
    before = context.tracing
    context.tracing = True
    try:
        with tg.no_grad():
            first = _try(function, args, kwargs, (2, 64))
            if not any(None in x.shape for x in tree.flatten([args, kwargs]) if is_keras_tensor(x)):
                return tree.map_structure(lambda x: _spec(x, x), first)
            second = _try(function, args, kwargs, (3, 96))
            return tree.map_structure(_spec, first, second)
    finally:
        context.tracing = before


def _try(function: Callable[..., Any], args: Any, kwargs: Any, sizes: tuple[int, int]) -> Any:
    def sized(x: KerasTensor) -> list[int]:
        return [sizes[i > 0] if n is None else n for i, n in enumerate(x.shape)]

    def stand_in(x: Any) -> Any:
        if not isinstance(x, KerasTensor):
            return x
        made = tg.zeros(sized(x), dtype=dtype_of(x.dtype))
        mask = getattr(x, "_keras_mask", None)
        if mask is not None:
            made._keras_mask = tg.ones(sized(mask), dtype=tg.bool)
        return made

    args, kwargs = tree.map_structure(stand_in, (args, kwargs))
    return function(*args, **kwargs)


def _spec(first: Any, second: Any) -> Any:
    if not isinstance(first, tg.Tensor):
        return first
    shape = [m if m == n else None for m, n in zip(first.shape, second.shape, strict=True)]
    return KerasTensor(shape, standardize_dtype(first.dtype))
