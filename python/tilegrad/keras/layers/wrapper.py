"""Layers around another layer: Wrapper and TimeDistributed."""

from __future__ import annotations

from typing import Any

from ..registry import own_module, serialize_keras_object
from .layer import Layer

__all__ = ["TimeDistributed", "Wrapper"]


class Wrapper(Layer):
    """The base class. Raises TypeError for what is no layer."""

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(layer, Layer):
            raise TypeError(
                f"Layer {layer} supplied to Wrapper isn't a supported layer type. Please ensure "
                "wrapped layer is a valid Keras layer."
            )
        self.layer = layer

    def build(self, input_shape: Any = None) -> None:
        if not self.layer.built:
            self.layer.build(input_shape)
            self.layer.built = True

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "layer": serialize_keras_object(self.layer)}


class TimeDistributed(Wrapper):
    """A layer applied to every step. Shapes: (N, steps, ...) to (N, steps, ...); of a mask (N,
    steps, ...) the layer gets what belongs to the step.

    Raises ValueError for an input of rank below 3 and for a mask that does not fit.
    """

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        self.supports_masking = True

    def build(self, input_shape: Any = None) -> None:
        if len(input_shape) < 3:
            raise ValueError(
                "`TimeDistributed` Layer should be passed an `input_shape` with at least 3 "
                f"dimensions, received: {tuple(input_shape)}"
            )
        super().build((input_shape[0], *input_shape[2:]))

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        batch, steps = inputs.shape[:2]
        if mask is not None and tuple(mask.shape[:2]) != (batch, steps):
            raise ValueError(
                f"The `mask` passed to the `TimeDistributed` layer has a shape {tuple(mask.shape)} "
                f"that is incompatible with the input shape {tuple(inputs.shape)}: the first two "
                "sizes must be the same."
            )
        info = self.layer._call_info
        kwargs = {"training": training} if info.takes_training else {}
        if mask is not None and info.takes_mask:
            kwargs["mask"] = mask.reshape(batch * steps, *mask.shape[2:])
        y = self.layer(inputs.reshape(batch * steps, *inputs.shape[2:]), **kwargs)
        return y.reshape(batch, steps, *y.shape[1:])

    def compute_output_shape(self, input_shape: Any) -> Any:
        inner = self.layer.compute_output_shape((input_shape[0], *input_shape[2:]))
        return (inner[0], input_shape[1], *inner[1:])


own_module(globals())
