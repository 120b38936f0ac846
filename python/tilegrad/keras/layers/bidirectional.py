"""``Bidirectional``: a recurrent layer from the front and another from the back."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ..registry import deserialize_keras_object, own_module, serialize_keras_object
from ..symbolic import KerasTensor
from .layer import Layer

__all__ = ["Bidirectional"]

_MODES = ("sum", "mul", "ave", "concat", None)


class Bidirectional(Layer):
    """Runs a recurrent layer and a copy of it backwards, and merges what they give by
    ``merge_mode``: ``"concat"``, ``"sum"``, ``"mul"``, ``"ave"`` or None for a list.

    ``weights`` are those to start with. Raises ValueError for another mode and for what is no
    recurrent layer.
    """

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: Any = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(layer, Layer) or not hasattr(layer, "return_sequences"):
            raise ValueError(
                "Please initialize `Bidirectional` layer with a `keras.layers.Layer` instance that "
                f"is recurrent. Received: {layer}"
            )
        if merge_mode not in _MODES:
            raise ValueError(
                f"Invalid merge mode. Received: {merge_mode}. Merge mode should be one of "
                f"{list(_MODES)}"
            )
        super().__init__(**kwargs)
        config = layer.get_config()
        config["name"] = "forward_" + layer.name
        self.forward_layer = _again(layer, config)
        if backward_layer is None:
            config = layer.get_config()
            config["go_backwards"] = not layer.go_backwards
            config["name"] = "backward_" + layer.name
            self.backward_layer = _again(layer, config)
        else:
            self.backward_layer = backward_layer
            if layer.go_backwards == backward_layer.go_backwards:
                raise ValueError(
                    "Forward layer and backward layer should have different `go_backwards` value."
                )
        for half in (self.forward_layer, self.backward_layer):
            half.zero_output_for_mask = True  # what is masked adds nothing to what is merged
        self.merge_mode = merge_mode
        self.__dict__["_initial_weights"] = weights
        self.return_sequences, self.return_state = layer.return_sequences, layer.return_state
        self.stateful = layer.stateful
        self.supports_masking = True
        self.input_spec = layer.input_spec

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        for layer in (self.forward_layer, self.backward_layer):
            if not layer.built:
                layer.build(sequences_shape)
                layer.built = True
        if self._initial_weights is not None:
            self.set_weights(self._initial_weights)
            self.__dict__["_initial_weights"] = None
        self.__dict__["_build_shape"] = tuple(sequences_shape)

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = None
    ) -> Any:
        ahead: dict[str, Any] = {"mask": mask, "training": training}
        behind = dict(ahead)
        if initial_state is not None:
            half = len(initial_state) // 2
            ahead["initial_state"] = list(initial_state[:half])
            behind["initial_state"] = list(initial_state[half:])
        y = self.forward_layer(sequences, **ahead)
        y_back = self.backward_layer(sequences, **behind)
        states: list[Any] = []
        if self.return_state:
            states = [*y[1:], *y_back[1:]]
            y, y_back = y[0], y_back[0]
        if self.return_sequences:
            y_back = tg.flip(y_back, (1,))
        merged = self._merged(y, y_back)
        if not self.return_state:
            return merged
        return [*merged, *states] if self.merge_mode is None else [merged, *states]

    def _merged(self, y: Any, y_back: Any) -> Any:
        if self.merge_mode == "concat":
            return tg.cat([y, y_back], dim=-1)
        if self.merge_mode == "sum":
            return y + y_back
        if self.merge_mode == "ave":
            return (y + y_back) / 2
        if self.merge_mode == "mul":
            return y * y_back
        return [y, y_back]

    def compute_output_spec(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = None
    ) -> Any:
        shape = self.forward_layer.compute_output_shape(sequences.shape)
        states: list[Any] = []
        if self.return_state:
            shape, *states = shape
        if self.merge_mode == "concat":
            shape = (*shape[:-1], 2 * shape[-1])
        made: Any = KerasTensor(shape, self.compute_dtype)
        if self.merge_mode is None:
            made = [made, KerasTensor(shape, self.compute_dtype)]
        if not self.return_state:
            return made
        kept = [KerasTensor(s, self.compute_dtype) for s in [*states, *states]]
        return [*made, *kept] if self.merge_mode is None else [made, *kept]

    def compute_mask(self, sequences: Any, mask: Any = None) -> Any:
        """The mask of the steps, if steps come out."""
        if isinstance(mask, (list, tuple)):
            mask = mask[0]
        made = mask if self.return_sequences else None
        return [made, made] if self.merge_mode is None else made

    _makes_masks = False

    def reset_state(self) -> None:
        """Forgets the states of stateful layers."""
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    reset_states = reset_state

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "layer": serialize_keras_object(self.forward_layer),
            "backward_layer": serialize_keras_object(self.backward_layer),
            "merge_mode": self.merge_mode,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The layer of a configuration."""
        return cls(**config)


def _again(layer: Any, config: dict[str, Any]) -> Any:
    """Another layer of the same class, its nested configurations read."""
    return type(layer).from_config({k: deserialize_keras_object(v) for k, v in config.items()})


own_module(globals())
