"""``clone_model``: the same architecture with weights of its own."""

from __future__ import annotations

from typing import Any

from .. import tree
from ..layers.core import InputLayer
from ..layers.layer import Layer
from .functional import Functional
from .sequential import Sequential

__all__ = ["clone_model"]


def clone_model(
    model: Any,
    input_tensors: Any = None,
    clone_function: Any = None,
    call_function: Any = None,
    recursive: bool = False,
    **kwargs: Any,
) -> Any:
    """A model of new layers, each ``clone_function(layer)`` (by default remade from its
    configuration), connected as those of ``model``.

    Raises ValueError for a subclassed model without a configuration.
    """
    remake = clone_function or _remade
    if isinstance(model, Sequential):
        made = [x if isinstance(x, InputLayer) else remake(x) for x in model._chain]
        made = [_remade(x) if isinstance(x, InputLayer) else x for x in made]
        return Sequential(made, name=model.name)
    if not isinstance(model, Functional):
        return type(model).from_config(model.get_config())
    plan = model._plan
    fresh: dict[int, Any] = {}
    for x in plan.inputs:
        fresh[id(x)] = InputLayer(batch_shape=x.shape, dtype=x.dtype, name=x.name).output
    if input_tensors is not None:
        given = tree.flatten(input_tensors)
        fresh.update({id(x): y for x, y in zip(plan.inputs, given, strict=True)})
    layers: dict[int, Any] = {}
    for node in plan.nodes:
        if all(id(x) in fresh for x in node.output_tensors):
            continue
        operation = node.operation
        if id(operation) not in layers:
            own = isinstance(operation, Layer)
            layers[id(operation)] = remake(operation) if own else operation
        args, options = tree.map_structure(
            lambda x: fresh.get(id(x), x), (list(node.args), node.kwargs)
        )
        outputs = layers[id(operation)](*args, **options)
        for x, y in zip(node.output_tensors, tree.flatten(outputs), strict=True):
            fresh[id(x)] = y

    def replaced(x: Any) -> Any:
        return fresh[id(x)]

    return Functional(
        tree.map_structure(replaced, model.input),
        tree.map_structure(replaced, model.output),
        name=model.name,
    )


def _remade(layer: Any) -> Any:
    from ..registry import deserialize_keras_object, serialize_keras_object

    config = serialize_keras_object(layer)
    config.pop("build_config", None)
    return deserialize_keras_object(config, {type(layer).__name__: type(layer)})
