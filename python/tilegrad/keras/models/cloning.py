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
    configuration), connected as those of ``model``, and compiled as it is.

    ``call_function(layer, *args, **kwargs)`` calls them, in graphs only; ``recursive`` clones
    models within the model too, layer by layer. Raises ValueError for a subclassed model without a
    configuration or with such functions, and for ``call_function`` with a ``Sequential``.
    """
    cache = kwargs.pop("cache", {})
    if kwargs:
        raise ValueError(f"Unexpected keyword argument(s): {tuple(kwargs)}")
    if not isinstance(model, (Sequential, Functional)):
        if clone_function or input_tensors is not None or call_function:
            raise ValueError(
                "Arguments `clone_function`, `call_function` and `input_tensors` are only "
                "supported for Sequential or Functional models. Received model of type "
                f"'{type(model).__name__}'"
            )
        return type(model).from_config(model.get_config())
    remake = _remaking(clone_function or _remade, call_function, recursive, cache)
    if isinstance(model, Sequential):
        if call_function is not None:
            raise ValueError(
                "`call_function` argument is not supported with Sequential models: their layers "
                "are not called when the model is made."
            )
        made: Any = _clone_sequential(model, remake, input_tensors)
    else:
        made = _clone_functional(model, remake, input_tensors, call_function)
    arguments = model.get_compile_config() if model.compiled else None
    if arguments is not None:
        made.compile_from_config(arguments)
    return made


def _remaking(function: Any, call_function: Any, recursive: bool, cache: dict[int, Any]) -> Any:
    """``function``, which gives a layer that comes again the same answer, and looks into models."""

    def remake(layer: Any) -> Any:
        if id(layer) not in cache:
            if recursive and isinstance(layer, (Sequential, Functional)):
                called = None if isinstance(layer, Sequential) else call_function
                cache[id(layer)] = clone_model(
                    layer, None, function, called, recursive=True, cache=cache
                )
            else:
                cache[id(layer)] = function(layer)
        return cache[id(layer)]

    return remake


def _clone_sequential(model: Sequential, remake: Any, input_tensors: Any) -> Sequential:
    made = [_remade(x) if isinstance(x, InputLayer) else remake(x) for x in model._chain]
    if input_tensors is not None:
        (given,) = tree.flatten(input_tensors)
        rest = [x for x in made if not isinstance(x, InputLayer)]
        made = [InputLayer(batch_shape=given.shape, dtype=given.dtype), *rest]
    return Sequential(made, name=model.name, trainable=model.trainable)


def _clone_functional(
    model: Functional, remake: Any, input_tensors: Any, call_function: Any
) -> Functional:
    plan = model._plan
    fresh: dict[int, Any] = {}
    for x in plan.inputs:
        fresh[id(x)] = InputLayer(batch_shape=x.shape, dtype=x.dtype, name=x.name).output
    if input_tensors is not None:
        given = tree.flatten(input_tensors)
        fresh.update({id(x): y for x, y in zip(plan.inputs, given, strict=True)})
    for node in plan.nodes:
        if all(id(x) in fresh for x in node.output_tensors):
            continue
        operation = node.operation
        fresh_one = remake(operation) if isinstance(operation, Layer) else operation
        args, options = tree.map_structure(
            lambda x: fresh.get(id(x), x), (list(node.args), node.kwargs)
        )
        if call_function is not None:
            outputs = call_function(fresh_one, *args, **options)
        else:
            outputs = fresh_one(*args, **options)
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
