"""``Sequential``: layers one behind the other."""

from __future__ import annotations

from typing import Any

from ..layers.core import Input, InputLayer
from ..layers.layer import Layer
from ..registry import deserialize_keras_object, own, serialize_keras_object
from ..symbolic import KerasTensor
from .functional import Functional
from .model import Model

__all__ = ["Sequential"]


class Sequential(Model):
    """Each layer takes what the one before it gives. It is built when the shape of the input is
    known: from ``keras.Input`` as the first layer, or from the first call.

    Raises TypeError for what is no layer, ValueError for two layers of the same name.
    """

    _reads_raw_config = True

    def __init__(
        self, layers: Any = None, trainable: bool = True, name: str | None = None, **kwargs: Any
    ) -> None:
        Layer.__init__(self, name=name, **kwargs)
        state = self.__dict__
        state["_chain"] = []
        state["_functional"] = None
        for layer in layers or ():
            self._append(layer)
        self._maybe_rebuild()
        if not trainable:
            self.trainable = False

    @property
    def _layers(self) -> list[Any]:
        return list(self._chain)

    @property
    def layers(self) -> list[Any]:
        """The layers, without the input."""
        return [layer for layer in self._chain if not isinstance(layer, InputLayer)]

    def add(self, layer: Any, rebuild: bool = True) -> None:
        """Puts a layer at the end."""
        self._append(layer)
        if rebuild:
            self._maybe_rebuild()

    def pop(self, rebuild: bool = True) -> Any:
        """Takes the last layer away and returns it."""
        layer = self._chain.pop()
        self.__dict__["_functional"] = None
        self.built = False
        if rebuild:
            self._maybe_rebuild()
        return layer

    def _append(self, layer: Any) -> None:
        chain = self._chain
        if isinstance(layer, KerasTensor) and layer.node is not None:
            layer = layer.node.operation
        if not isinstance(layer, Layer):
            if callable(layer) and hasattr(layer, "__name__"):
                raise ValueError(
                    "Only instances of `keras.Layer` can be added to a Sequential model. "
                    "Received: "
                    f"{layer} (of type {type(layer)}); wrap a function in keras.layers.Lambda"
                )
            raise ValueError(
                "Only instances of `keras.Layer` can be added to a Sequential model. Received: "
                f"{layer} (of type {type(layer)})"
            )
        if any(layer.name == other.name for other in chain):
            raise ValueError(
                "All layers added to a Sequential model should have unique names. Name "
                f"'{layer.name}' is already the name of a layer in this model. Update the `name` "
                "argument to pass a unique name."
            )
        if isinstance(layer, InputLayer) and chain:
            raise ValueError(
                f"Sequential model '{self.name}' has already been configured to use input shape "
                f"{self._first_shape()}. You cannot add a different Input layer to it."
            )
        if not chain and layer.__dict__.get("_given_shape") is not None:
            chain.append(Input(batch_shape=layer._given_shape).node.operation)
        chain.append(layer)
        self.__dict__["_functional"] = None
        self.built = False

    def _first_shape(self) -> Any:
        first = self._chain[0]
        return first.batch_shape if isinstance(first, InputLayer) else None

    def _maybe_rebuild(self) -> None:
        chain = self._chain
        if len(chain) > 1 and isinstance(chain[0], InputLayer):
            self._connect(chain[0])
        elif len(chain) > 1 and isinstance(chain[0], Functional):
            self._connect(Input(batch_shape=chain[0].input_shape).node.operation)

    def _connect(self, first: InputLayer) -> None:
        """Makes the graph from the input through all layers."""
        inputs = x = first.output
        for layer in self._chain:
            if layer is first:
                continue
            try:
                x = layer(x)
            except NotImplementedError:
                return  # a layer of one's own that cannot run on shapes alone
        self.__dict__["_functional"] = Functional(inputs, x, name=self.name)
        self.built = True

    def build(self, input_shape: Any = None) -> None:
        """Builds all layers for inputs of that shape, batch included."""
        if self.__dict__["_functional"] is not None:
            return
        if not self._chain:
            raise ValueError(
                f"Sequential model {self.name} cannot be built because it has no layers. Call "
                "`model.add(layer)`."
            )
        if input_shape is None:
            return
        first = self._chain[0]
        if not isinstance(first, InputLayer):
            first = Input(batch_shape=tuple(input_shape)).node.operation
            self._chain.insert(0, first)  # so that layers may still come and go
            self._connect(first)
        else:
            self._connect(first)

    def _build_for(self, args: tuple, kwargs: dict) -> None:
        first = args[0] if args else next(iter(kwargs.values()))
        shape = getattr(first, "shape", None)
        if shape is not None and not isinstance(self._chain[0], InputLayer):
            dtype = str(first.dtype).split(".")[-1]
            self._connect(Input(batch_shape=(None, *tuple(shape)[1:]), dtype=dtype).node.operation)
        self.__dict__["built"] = True

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        functional = self.__dict__["_functional"]
        if functional is not None:
            return functional.call(inputs, training, mask)
        for layer in self._chain:
            if not isinstance(layer, InputLayer):
                inputs = layer(inputs)
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        if self._functional is not None:
            return self._functional.compute_output_shape(input_shape)
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    def compute_output_spec(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if self._functional is not None:
            return self._functional.compute_output_spec(inputs)
        x = inputs
        for layer in self.layers:
            x = layer.compute_output_spec(x)
        return x

    def _graph(self) -> Functional:
        if self._functional is None:
            raise ValueError(
                f"Sequential model '{self.name}' has no defined input shape yet: call it on data, "
                "or "
                "start it with keras.Input(shape=...)."
            )
        return self._functional

    @property
    def inputs(self) -> list[KerasTensor]:
        """The tensor to come that goes in, in a list."""
        return self._graph().inputs

    @property
    def outputs(self) -> list[KerasTensor]:
        """The tensor to come that comes out, in a list."""
        return self._graph().outputs

    @property
    def input(self) -> Any:
        """The tensor to come that goes in."""
        return self._graph().input

    @property
    def output(self) -> Any:
        """The tensor to come that comes out."""
        return self._graph().output

    @property
    def input_shape(self) -> Any:
        """The shape of the input."""
        return self._graph().input_shape

    @property
    def output_shape(self) -> Any:
        """The shape of the output."""
        return self._graph().output_shape

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": self._policy.name,
            "layers": [serialize_keras_object(layer) for layer in self._chain],
        }
        if self._functional is not None:
            config["build_input_shape"] = self.input_shape
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """The model of a configuration. Raises TypeError for unknown layers."""
        model = cls(name=config.get("name"))
        for entry in config["layers"]:
            model.add(deserialize_keras_object(entry, custom_objects), rebuild=False)
        model._maybe_rebuild()
        shape = deserialize_keras_object(config.get("build_input_shape"))
        if shape is not None and model._functional is None:
            model.build(shape)
        if not config.get("trainable", True):
            model.trainable = False
        return model


own(Sequential)
