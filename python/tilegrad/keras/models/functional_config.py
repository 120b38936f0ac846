"""Functional models as configurations: layers, and how their calls hang together."""

from __future__ import annotations

from typing import Any

from .. import tree
from ..layers.layer import Layer
from ..registry import deserialize_keras_object, serialize_keras_object
from ..symbolic import KerasTensor, is_keras_tensor

__all__ = ["functional_config", "functional_from_config"]


def functional_config(model: Any) -> dict[str, Any]:
    """Name, layers with their calls, inputs and outputs."""
    plan = model._plan
    nodes = {id(node) for node in plan.nodes}
    nodes |= {id(x.node) for x in plan.inputs}
    numbers: dict[int, int] = {}  # of each node among those of its operation that are in the model
    layers = []
    for operation in plan.operations:
        own = [node for node in operation._inbound_nodes if id(node) in nodes]
        numbers.update({id(node): i for i, node in enumerate(own)})
    for operation in plan.operations:
        own = [node for node in operation._inbound_nodes if id(node) in nodes]
        entry = serialize_keras_object(operation)
        entry["name"] = operation.name
        entry["inbound_nodes"] = [
            _written([list(node.args), node.kwargs], numbers) for node in own if node.input_tensors
        ]
        layers.append(entry)
    return {
        "name": model.name,
        "trainable": model.trainable,
        "layers": layers,
        "input_layers": _written(model._inputs_struct, numbers),
        "output_layers": _written(model._outputs_struct, numbers),
    }


def _written(structure: Any, numbers: dict[int, int]) -> Any:
    """A structure with the places of its tensors to come."""
    if isinstance(structure, KerasTensor):
        node = structure.node
        assert node is not None
        place = [node.operation.name, numbers.get(id(node), 0), structure.index]
        return {"class_name": "__keras_tensor__", "config": {"keras_history": place}}
    if isinstance(structure, (list, tuple)):
        items = [_written(item, numbers) for item in structure]
        if isinstance(structure, tuple):
            return {"class_name": "__tuple__", "items": items}
        return items
    if isinstance(structure, dict):
        return {key: _written(item, numbers) for key, item in structure.items()}
    return serialize_keras_object(structure)


def functional_from_config(cls: Any, config: dict[str, Any], custom_objects: Any = None) -> Any:
    """The model of a configuration. Raises TypeError for unknown layers, ValueError for calls that
    hang together in no order."""
    from .functional import Functional
    from .model import Model

    made: dict[str, Any] = {}
    outputs: dict[tuple[str, int], list[Any]] = {}  # of each call, by operation and number
    waiting: list[tuple[str, int, Any]] = []
    for entry in config["layers"]:
        operation = deserialize_keras_object(
            {key: value for key, value in entry.items() if key not in ("name", "inbound_nodes")},
            custom_objects,
        )
        name = entry["name"]
        made[name] = operation
        calls = entry["inbound_nodes"]
        if not calls and operation._inbound_nodes:
            outputs[name, 0] = operation._inbound_nodes[0].output_tensors
        waiting += [(name, number, call) for number, call in enumerate(calls)]
    while waiting:
        left = []
        for name, number, call in waiting:
            if all((place[0], place[1]) in outputs for place in _places(call)) and (
                number == 0 or (name, number - 1) in outputs
            ):
                args, kwargs = _read(call, outputs)
                result = made[name](*args, **kwargs)
                outputs[name, number] = [x for x in tree.flatten(result) if is_keras_tensor(x)]
            else:
                left.append((name, number, call))
        if len(left) == len(waiting):
            raise ValueError(
                f"the configuration of model {config.get('name')!r} has calls without inputs: "
                f"{[name for name, _, _ in left]}"
            )
        waiting = left
    inputs = _read(config["input_layers"], outputs)
    results = _read(config["output_layers"], outputs)
    target = Functional if cls in (Functional, Model) else cls
    model = target(inputs=inputs, outputs=results, name=config.get("name"))
    if not config.get("trainable", True):
        for layer in model.layers:
            if isinstance(layer, Layer):
                layer.trainable = False
    return model


def _is_place(structure: Any) -> bool:
    return isinstance(structure, dict) and structure.get("class_name") == "__keras_tensor__"


def _places(structure: Any) -> list[Any]:
    if _is_place(structure):
        return [structure["config"]["keras_history"]]
    if isinstance(structure, dict):
        return [place for item in structure.values() for place in _places(item)]
    if isinstance(structure, list):
        return [place for item in structure for place in _places(item)]
    return []


def _read(structure: Any, outputs: dict[tuple[str, int], list[Any]]) -> Any:
    if _is_place(structure):
        name, number, index = structure["config"]["keras_history"]
        return outputs[name, number][index]
    if isinstance(structure, list):
        return [_read(item, outputs) for item in structure]
    if isinstance(structure, dict) and structure.get("class_name") == "__tuple__":
        return tuple(_read(item, outputs) for item in structure["items"])
    if isinstance(structure, dict) and "class_name" not in structure:
        return {key: _read(item, outputs) for key, item in structure.items()}
    return deserialize_keras_object(structure)
