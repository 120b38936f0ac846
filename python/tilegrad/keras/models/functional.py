"""``Functional``: a model made of a graph of layers, from inputs to outputs to come."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from .. import tree
from ..config import settings
from ..dtypes import convert_to_tensor, dtype_of
from ..layers.core import InputLayer
from ..layers.layer import Layer
from ..layers.signature import shape_of
from ..registry import deserialize_keras_object, own
from ..symbolic import KerasTensor, Node, Operation, context, is_keras_tensor
from .model import Model

__all__ = ["Functional", "Graph"]


class Graph:
    """The nodes between inputs and outputs, in an order in which they can run.

    Raises ValueError if an output depends on something that is not among the inputs.
    """

    def __init__(self, inputs: list[KerasTensor], outputs: list[KerasTensor]) -> None:
        self.inputs, self.outputs = inputs, outputs
        given = {id(x) for x in inputs}
        self.nodes: list[Node] = []
        done: set[int] = set()
        stack: list[tuple[Node, bool]] = []
        for output in reversed(outputs):
            if output.node is not None:
                stack.append((output.node, False))
        while stack:  # depth first, without recursion: nodes come after those they depend on
            node, finished = stack.pop()
            if id(node) in done:
                continue
            if finished:
                done.add(id(node))
                self.nodes.append(node)
                continue
            stack.append((node, True))
            if all(id(x) in given for x in node.output_tensors):
                continue
            for x in reversed(node.input_tensors):
                if id(x) not in given and x.node is not None and id(x.node) not in done:
                    stack.append((x.node, False))
            if not node.input_tensors:
                raise ValueError(
                    "The `inputs` are not connected to the `outputs`: "
                    f"{node.output_tensors[0]} is needed, but it is not among the inputs"
                )
        self._number_depths()
        self._plan(given)

    def _number_depths(self) -> None:
        """How far each node is from the outputs; layers are listed by it, as in Keras."""
        depths: dict[int, int] = {}
        of_operation: dict[int, int] = {}
        order: dict[int, int] = {}
        operations: dict[int, Any] = {}
        given = {id(x) for x in self.inputs}
        for node in self.nodes:
            order.setdefault(id(node.operation), len(order))
            operations[id(node.operation)] = node.operation
        for node in reversed(self.nodes):
            depth = max(depths.get(id(node), 0), of_operation.get(id(node.operation), 0))
            of_operation[id(node.operation)] = depth
            depths[id(node)] = depth
            for x in node.input_tensors:
                if x.node is not None and id(x) not in given:
                    key = id(x.node)
                    depths[key] = max(depths.get(key, 0), depth + 1)
                elif x.node is not None:
                    operation = x.node.operation
                    of_operation[id(operation)] = max(of_operation.get(id(operation), 0), depth + 1)
        for x in self.inputs:
            if x.node is not None:
                operation = x.node.operation
                operations[id(operation)] = operation
                of_operation.setdefault(id(operation), 0)
                order[id(operation)] = order.get(id(operation), len(order))
        self.operations = [
            operations[key]
            for key in sorted(operations, key=lambda k: (-of_operation[k], order[k]))
        ]

    def _plan(self, given: set[int]) -> None:
        """Each step as (operation, its arguments with slots for tensors, the slots it fills)."""
        slots: dict[int, int] = {}
        for x in self.inputs:
            slots[id(x)] = len(slots)
        self._steps = []
        for node in self.nodes:
            if all(id(x) in given for x in node.output_tensors):
                continue
            single = len(node.args) == 1 and not node.kwargs and is_keras_tensor(node.args[0])
            where: Any = slots[id(node.args[0])] if single else self._slotted(node, slots)
            for x in node.output_tensors:
                slots.setdefault(id(x), len(slots))
            into = [slots[id(x)] for x in node.output_tensors]
            one: Any = into[0] if is_keras_tensor(node.outputs) else None
            direct = single and one is not None and _is_plain(node.operation)
            takes = direct and node.operation._call_info.takes_training
            self._steps.append((node.operation, single, where, one, into, direct, takes))
        self._count = len(slots)
        self._results = [slots[id(x)] for x in self.outputs]

    @staticmethod
    def _slotted(node: Node, slots: dict[int, int]) -> tuple:
        def slot(x: Any) -> Any:
            return _Slot(slots[id(x)]) if is_keras_tensor(x) else x

        return tree.map_structure(slot, (list(node.args), node.kwargs))

    def run(self, values: list[Any]) -> list[Any]:
        """The outputs for tensors in the place of the inputs."""
        held: list[Any] = [*values, *[None] * (self._count - len(values))]
        training = context.training
        whole = context.masks or any(type(x) is KerasTensor for x in values)
        for operation, single, where, one, into, direct, takes in self._steps:
            if direct and not whole and operation._hooks is None:
                # What __call__ would do beside is done: the graph was checked when it was made.
                if takes:
                    held[into[0]] = operation.call(held[where], training=training)
                else:
                    held[into[0]] = operation.call(held[where])
                continue
            if single:
                made = operation(held[where])
            else:
                args, kwargs = tree.map_structure(
                    lambda x: held[x.index] if type(x) is _Slot else x, where
                )
                made = operation(*args, **kwargs)
            if one is not None:
                held[one] = made
            else:
                for index, value in zip(into, tree.flatten(made), strict=True):
                    held[index] = value
        return [held[index] for index in self._results]


def _is_plain(operation: Any) -> bool:
    """Whether calling the layer is no more than its ``call``: one of ours, without penalties on
    activities, and of the same dtype as its inputs."""
    return (
        isinstance(operation, Layer)
        and not isinstance(operation, Model)
        and type(operation).__module__.startswith("tilegrad.keras.layers.")
        and type(operation).__call__ is Layer.__call__
        and operation.activity_regularizer is None
        and not operation._makes_masks
        and operation._policy.name == "float32" == settings.floatx
        and all(x.dtype == "float32" for x in operation._inbound_nodes[0].input_tensors)
    )


class _Slot:
    """Where a tensor of a run is kept."""

    def __init__(self, index: int) -> None:
        self.index = index


class Functional(Model):
    """A model from ``inputs`` to ``outputs``, which may be lists or dictionaries of tensors to
    come.

    Raises ValueError if they are not connected or no tensors to come.
    """

    _reads_raw_config = True

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, **kwargs: Any) -> None:
        trainable = kwargs.pop("trainable", None)
        Layer.__init__(self, name=name, **kwargs)
        self._init_training()
        for what, given in (("inputs", inputs), ("outputs", outputs)):
            for x in tree.flatten(given):
                if not isinstance(x, KerasTensor):
                    raise ValueError(
                        f"All `{what}` values must be KerasTensors. Received: {what}={given} "
                        f"including invalid value {x} of type {type(x)}"
                    )
        state = self.__dict__
        state["_inputs_struct"], state["_outputs_struct"] = inputs, outputs
        flat = tree.flatten(inputs)
        inner = [x for x in flat if x.node is None or not isinstance(x.node.operation, InputLayer)]
        if inner:  # a model from the middle of another: its inputs get layers of their own
            flat, outputs = _cut_out(inputs, flat, outputs)
            state["_inputs_struct"] = tree.pack_sequence_as(inputs, flat)
            state["_outputs_struct"] = outputs
        state["_plan"] = Graph(flat, tree.flatten(outputs))
        state["_is_chain"] = isinstance(inputs, KerasTensor) and isinstance(outputs, KerasTensor)
        state["_fits"] = None  # shape and dtype of the last input of a chain
        state["_list_of_layers"] = [x for x in self._plan.operations if isinstance(x, Layer)]
        self.built = True
        if trainable is not None and not trainable:
            self.trainable = False

    @property
    def layers(self) -> list[Any]:
        """The layers, from the inputs to the outputs."""
        return list(self._list_of_layers)

    @property
    def _layers(self) -> list[Any]:
        found = list(self._list_of_layers)
        seen = {id(x) for x in found}
        return found + [x for x in super()._layers if id(x) not in seen]

    @property
    def inputs(self) -> list[KerasTensor]:
        """The tensors to come that go in."""
        return self._plan.inputs

    @property
    def outputs(self) -> list[KerasTensor]:
        """The tensors to come that come out."""
        return self._plan.outputs

    @property
    def input(self) -> Any:
        """The inputs in their structure."""
        return self._inputs_struct

    @property
    def output(self) -> Any:
        """The outputs in their structure."""
        return self._outputs_struct

    @property
    def input_shape(self) -> Any:
        """The shapes of the inputs."""
        return shape_of(self._inputs_struct)

    @property
    def output_shape(self) -> Any:
        """The shapes of the outputs."""
        return shape_of(self._outputs_struct)

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs."""
        return [x.name for x in self.inputs]

    @property
    def output_names(self) -> list[str]:
        """The names of the layers that give the outputs."""
        return [x.node.operation.name if x.node else x.name for x in self.outputs]

    def build(self, input_shape: Any = None) -> None:
        """Nothing: the layers were built when the graph was made."""

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if self._is_chain and type(inputs) is tg.Tensor:
            kind = (inputs.shape, inputs.dtype)
            if kind != self._fits:
                fitted = self._fitted(inputs, self._plan.inputs[0], 0)
                if fitted is inputs:
                    self.__dict__["_fits"] = kind
                inputs = fitted
            return self._plan.run([inputs])[0]
        values = self._standardized(inputs)
        return tree.pack_sequence_as(self._outputs_struct, self._plan.run(values))

    def compute_output_spec(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        flat = self._standardized(inputs)
        same = all(a.shape == b.shape for a, b in zip(flat, self.inputs, strict=True))
        if same:
            return tree.map_structure(lambda x: KerasTensor(x.shape, x.dtype), self._outputs_struct)
        fresh = [KerasTensor(x.shape, x.dtype) for x in flat]
        made = self._plan.run(fresh)
        return tree.pack_sequence_as(
            self._outputs_struct, [KerasTensor(x.shape, x.dtype) for x in made]
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        flat = tree.flatten(_shapes_as_leaves(input_shape))
        fresh = [KerasTensor(s.shape, x.dtype) for s, x in zip(flat, self.inputs, strict=True)]
        made = self._plan.run(fresh)
        return shape_of(tree.pack_sequence_as(self._outputs_struct, made))

    def _standardized(self, inputs: Any) -> list[Any]:
        """The tensors that go in, in order, checked and in the dtypes of the inputs."""
        flat = self._ordered(inputs)
        wanted = self._plan.inputs
        if len(flat) != len(wanted):
            raise ValueError(
                f'Layer "{self.name}" expects {len(wanted)} input(s), but it received {len(flat)} '
                f"input tensors. Inputs received: {[shape_of(x) for x in flat]}"
            )
        return [
            self._fitted(x, spec, i) for i, (x, spec) in enumerate(zip(flat, wanted, strict=True))
        ]

    def _ordered(self, inputs: Any) -> list[Any]:
        structure = self._inputs_struct
        if isinstance(inputs, dict) and not isinstance(structure, dict):
            names = [x.name for x in self._plan.inputs]
            missing = [name for name in names if name not in inputs]
            if missing:
                raise ValueError(
                    f"Missing data for input {missing[0]!r}. You passed a data dictionary with "
                    "keys "
                    f"{list(inputs)}. Expected the following keys: {names}"
                )
            return [inputs[name] for name in names]
        if isinstance(inputs, dict):
            missing = [key for key in structure if key not in inputs]
            if missing:
                raise ValueError(
                    f"Missing data for input {missing[0]!r}. You passed a data dictionary with "
                    "keys "
                    f"{list(inputs)}. Expected the following keys: {list(structure)}"
                )
            return tree.flatten({key: inputs[key] for key in structure})
        return tree.flatten(inputs)

    def _fitted(self, x: Any, spec: KerasTensor, index: int) -> Any:
        if x is None:
            return None
        if not isinstance(x, (tg.Tensor, KerasTensor)):
            x = convert_to_tensor(x)
        shape, wanted = tuple(x.shape), spec.shape
        if len(shape) != len(wanted):
            if len(shape) == len(wanted) - 1 and wanted[-1] == 1:
                x = x.unsqueeze(-1) if isinstance(x, tg.Tensor) else x
            elif len(shape) == len(wanted) + 1 and shape[-1] == 1 and isinstance(x, tg.Tensor):
                x = x.squeeze(-1)
            else:
                self._refuse(shape, wanted, index)
        elif any(
            m is not None and n is not None and m != n for m, n in zip(wanted, shape, strict=True)
        ):
            self._refuse(shape, wanted, index)
        if isinstance(x, tg.Tensor) and str(x.dtype)[9:] != spec.dtype:
            dtype = dtype_of(spec.dtype)
            if x.dtype is not dtype:
                x = x.to(dtype)
        return x

    def _refuse(self, shape: tuple, wanted: tuple, index: int) -> None:
        name = self._plan.inputs[index].name
        raise ValueError(
            f'Input {index} ("{name}") of model "{self.name}" is incompatible with it: expected '
            f"shape={wanted}, found shape={shape}. Hand over data of the expected shape (None: any "
            "size; the first axis is that of the samples), or change the shape of its Input."
        )

    def get_config(self) -> dict[str, Any]:
        if type(self) not in (Functional, Model):
            return Layer.get_config(self)
        from .functional_config import functional_config

        return functional_config(self)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """The model of a configuration. Raises TypeError for unknown layers."""
        if "layers" not in config:
            plain = {k: deserialize_keras_object(v) for k, v in config.items()}
            return cls(**plain)
        from .functional_config import functional_from_config

        return functional_from_config(cls, config, custom_objects)


class _Shape:
    def __init__(self, shape: tuple) -> None:
        self.shape = shape


def _shapes_as_leaves(shape: Any) -> Any:
    if isinstance(shape, (tuple, list)) and all(n is None or isinstance(n, int) for n in shape):
        return _Shape(tuple(shape))
    if isinstance(shape, dict):
        return {key: _shapes_as_leaves(item) for key, item in shape.items()}
    return [_shapes_as_leaves(item) for item in shape]


def _cut_out(inputs: Any, flat: list[KerasTensor], outputs: Any) -> tuple[list, Any]:
    """Fresh inputs in the place of tensors inside a graph, and the outputs recomputed from them."""
    part = Graph(flat, tree.flatten(outputs))
    fresh = [
        x
        if x.node is not None and isinstance(x.node.operation, InputLayer)
        else InputLayer(batch_shape=x.shape, dtype=x.dtype, name=x.name).output
        for x in flat
    ]
    return fresh, tree.pack_sequence_as(outputs, part.run(fresh))


own(Functional, Operation)
