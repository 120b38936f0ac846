"""``Model``: a layer that can be trained, described and saved."""

from __future__ import annotations

import json
from typing import Any

import tilegrad as tg

from ..dtypes import dtype_of
from ..layers.layer import Layer
from ..layers.signature import is_shape
from ..registry import deserialize_keras_object, own, serialize_keras_object
from ..symbolic import any_symbolic, context
from ..trainers.trainer import Trainer

__all__ = ["Model", "model_from_json"]


class Model(Trainer, Layer):
    """``Model(inputs, outputs)`` of a graph, or a class of one's own with a ``call``."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is Model and _is_functional(args, kwargs):
            from .functional import Functional

            return Layer.__new__(Functional, *args, **kwargs)
        self = super().__new__(cls, *args, **kwargs)
        self._init_training()
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        from .functional import Functional

        if _is_functional(args, kwargs) and not isinstance(self, Functional):
            # The class of one's own becomes a kind of Functional.
            cls = type(self)
            self.__class__ = type(cls.__name__, (cls, Functional), {"__module__": cls.__module__})
            made: Any = self
            Functional.__init__(made, *args, **kwargs)
            return
        if args:
            raise ValueError(
                f"{type(self).__name__}: expected keyword arguments such as name, or inputs and "
                f"outputs made by keras.Input, got {args}"
            )
        Layer.__init__(self, **kwargs)

    # --- layers -------------------------------------------------------------------------------

    @property
    def layers(self) -> list[Any]:
        """The layers directly below."""
        return self._layers

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """The layer of that name or number. Raises ValueError if there is none."""
        layers = self.layers
        if index is not None:
            if name is not None:
                raise ValueError("Provide only a layer name or a layer index.")
            if not -len(layers) <= index < len(layers):
                raise ValueError(
                    f"Was asked to retrieve layer at index {index} but model only has "
                    f"{len(layers)} "
                    "layers."
                )
            return layers[index]
        if name is None:
            raise ValueError("Provide either a layer name or layer index at `get_layer`.")
        for layer in layers:
            if layer.name == name:
                return layer
        raise ValueError(
            f"No such layer: {name}. Existing layers are: {[layer.name for layer in layers]}."
        )

    def build(self, input_shape: Any = None) -> None:
        """Makes all weights by a trial run on zeros of that shape. Raises ValueError if ``call``
        cannot run on them."""
        if self.built or input_shape is None:
            self.built = True
            return
        self._try([_zeros(input_shape)], {}, f"of shape {input_shape}")
        self.__dict__["_build_shape"] = input_shape
        self.built = True

    def _try(self, args: list, kwargs: dict, what: str) -> None:
        before = context.tracing
        context.tracing = True
        try:
            with tg.no_grad():
                self.call(*args, **kwargs)
        except NotImplementedError:
            raise
        except Exception as error:
            raise ValueError(
                f"Model {self.name} cannot be built by calling it on zeros {what}: "
                f"{error}. Call the model on real data, or define build()."
            ) from error
        finally:
            context.tracing = before

    def _build_for(self, args: tuple, kwargs: dict) -> None:
        if type(self).build is not Model.build:
            super()._build_for(args, kwargs)
        elif any_symbolic((args, kwargs)):
            self.compute_output_spec(*args, **kwargs)
        others = {name: value for name, value in kwargs.items() if name != "training"}
        self.__dict__["_first_call"] = _described([list(args), others])
        self.__dict__["built"] = True

    def get_build_config(self) -> dict[str, Any] | None:
        """The shape it was built for, or what it was first called on."""
        first = self.__dict__.get("_first_call")
        if first is None or self.__dict__.get("_build_shape") is not None:
            return super().get_build_config()
        return {"first_call": first}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Builds as :meth:`get_build_config` says."""
        if "first_call" not in config:
            super().build_from_config(config)
        elif not self.built:
            args, kwargs = _zeros_as_described(config["first_call"])
            self._try(args, kwargs, "of the shapes it was first called on")
            self.__dict__["_first_call"] = config["first_call"]
            self.built = True

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Computes the outputs; a class of one's own overrides it."""
        raise NotImplementedError(
            f"Model {type(self).__name__} does not have a `call()` method implemented."
        )

    # --- description --------------------------------------------------------------------------

    def summary(
        self,
        line_length: int | None = None,
        positions: Any = None,
        print_fn: Any = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Any = None,
    ) -> None:
        """Prints a table of the layers, their output shapes and numbers of weights."""
        from ..utils.summary import print_summary

        print_summary(
            self, line_length, positions, print_fn, expand_nested, show_trainable, layer_range
        )

    def to_json(self, **kwargs: Any) -> str:
        """The configuration as text."""
        return json.dumps(serialize_keras_object(self), **kwargs)

    # --- saving -------------------------------------------------------------------------------

    def save(
        self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
    ) -> None:
        """Saves configuration, weights and the optimizer's state to a file ``.keras``.

        Raises ValueError for another ending, FileExistsError without ``overwrite``.
        """
        from ..saving import save_model

        save_model(self, filepath, overwrite, zipped, **kwargs)

    def save_weights(
        self, filepath: Any, overwrite: bool = True, max_shard_size: Any = None
    ) -> None:
        """Saves the weights to a file ``.weights.h5`` or ``.safetensors`` in safetensors format.

        Raises ValueError for another ending, FileExistsError without ``overwrite``.
        """
        from ..saving import save_weights

        save_weights(self, filepath, overwrite, max_shard_size)

    def load_weights(self, filepath: Any, skip_mismatch: bool = False, **kwargs: Any) -> None:
        """Takes over weights from a file of :meth:`save_weights` or :meth:`save`.

        Raises ValueError for weights that do not fit, unless they are to be skipped.
        """
        from ..saving import load_weights

        load_weights(self, filepath, skip_mismatch, **kwargs)

    def export(self, filepath: Any, format: str = "tf_saved_model", **kwargs: Any) -> None:
        """Not supported: raises NotImplementedError."""
        raise NotImplementedError(
            "export: there is no TensorFlow to write a SavedModel for; use model.save('x.keras')"
        )

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """The model of a configuration."""
        if "layers" in config and "input_layers" in config:
            from .functional_config import functional_from_config

            return functional_from_config(cls, config, custom_objects)
        return cls(**config)


def _is_functional(args: tuple, kwargs: dict) -> bool:
    return (
        len(args) == 2
        or (len(args) == 1 and "outputs" in kwargs)
        or ("inputs" in kwargs and "outputs" in kwargs)
    )


def _zeros(shape: Any) -> Any:
    if is_shape(shape):
        return tg.zeros([2 if n is None and i == 0 else (64 if n is None else n)
                         for i, n in enumerate(shape)])  # fmt: skip
    if isinstance(shape, dict):
        return {key: _zeros(item) for key, item in shape.items()}
    return [_zeros(item) for item in shape]


def _described(x: Any) -> Any:
    """Arguments of a call with tensors as shape and dtype; what JSON does not know is None."""
    if isinstance(x, dict):
        return {key: _described(item) for key, item in x.items()}
    if isinstance(x, (list, tuple)):
        return [_described(item) for item in x]
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        shape = [None if n is None or axis == 0 else int(n) for axis, n in enumerate(x.shape)]
        return {"shape": shape, "dtype": str(x.dtype).split(".")[-1]}
    return x if isinstance(x, (bool, int, float, str)) else None


def _zeros_as_described(x: Any) -> Any:
    if isinstance(x, list):
        return [_zeros_as_described(item) for item in x]
    if not isinstance(x, dict):
        return x
    if set(x) == {"shape", "dtype"}:
        return _zeros(x["shape"]).to(dtype_of(x["dtype"]))
    return {key: _zeros_as_described(item) for key, item in x.items()}


def model_from_json(json_string: str, custom_objects: Any = None) -> Any:
    """The model that ``model.to_json()`` described."""
    return deserialize_keras_object(json.loads(json_string), custom_objects)


own(Model)
