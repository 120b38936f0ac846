"""``Pipeline``: preprocessing layers one behind the other, as one layer."""

from __future__ import annotations

from typing import Any

from .. import tree
from ..registry import own_module, serialize_keras_object
from .layer import Layer

__all__ = ["Pipeline"]


class Pipeline(Layer):
    """Calls each layer on what the one before it gave. Unlike a model's, its layers act as in
    training unless ``training=False`` is said. Raises ValueError for what is no list of layers."""

    _takes_plain_values = True

    def __init__(self, layers: Any, name: str | None = None) -> None:
        super().__init__(name=name)
        if not isinstance(layers, (list, tuple)) or not all(isinstance(x, Layer) for x in layers):
            raise ValueError(
                f"Pipeline: argument 'layers': expected a list of layers, got {layers}"
            )
        self._pipeline_layers = list(layers)
        self.built = True

    @property
    def layers(self) -> list[Any]:
        """The layers in order."""
        return list(self._pipeline_layers)

    def call(self, inputs: Any, training: Any = True, mask: Any = None) -> Any:
        for layer in self._pipeline_layers:
            info = layer._call_info
            kwargs = {"mask": mask} if info.takes_mask else {}
            if info.takes_training and training is not None:
                kwargs["training"] = training
            inputs = layer(inputs, **kwargs)
            mask = tree.map_structure(lambda x: getattr(x, "_keras_mask", None), inputs)
        return inputs

    def get_config(self) -> dict[str, Any]:
        return {
            "layers": [serialize_keras_object(layer) for layer in self._pipeline_layers],
            "name": self.name,
        }


own_module(globals())
