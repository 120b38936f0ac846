"""What a layer holds: its weights, the layers and metrics below it, and its losses.

Nothing is registered twice: sublayers are found by walking the attributes, through lists and
dictionaries, in the order in which they were assigned.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

import tilegrad as tg

from ...nn.module import Module
from ..dtypes import convert_to_tensor
from ..variable import Variable

__all__ = ["Tracking"]

# Attributes of a layer that lead elsewhere or are listed already.
_NOT_WALKED = {
    "_parameters", "_buffers", "_modules", "_own_weights", "_losses", "_inbound_nodes",
    "_outbound_nodes", "_init_arguments", "_loss_tracker", "_compile_metrics", "_compile_loss",
    "_plan", "optimizer", "history", "_callbacks", "_compile_arguments",
}  # fmt: skip

_HOLD_NOTHING = frozenset({type(None), bool, int, float, str, tg.dtype, tg.Tensor})


class Tracking(Module):
    """The part of a layer that knows what it holds."""

    _own_weights: list[Variable]
    _losses: list[Any]
    _trainable: bool

    if TYPE_CHECKING:  # attributes that a layer has

        def __getattr__(self, name: str) -> Any: ...

    def __setattr__(self, name: str, value: Any) -> None:
        state = self.__dict__
        if isinstance(value, Variable):
            own = state["_own_weights"]
            if not any(value is weight for weight in own):
                own.append(value)
            if isinstance(getattr(type(self), name, None), property):
                object.__setattr__(self, name, value)
                return
        elif (
            name in state.get("_parameters", ()) or name in state.get("_modules", ())
        ) and not isinstance(value, Module):
            self._forget(name)
        elif isinstance(value, Module) and not isinstance(value, Tracking):
            from .torch_wrapper import TorchModuleWrapper

            value = TorchModuleWrapper(value)
        super().__setattr__(name, value)

    # --- finding ------------------------------------------------------------------------------

    def _held(self, kind: type) -> Iterator[Any]:
        """Objects of a class among the attributes, each once."""
        seen: set[int] = set()
        for name, value in list(self.__dict__.items()):
            if type(value) not in _HOLD_NOTHING and name not in _NOT_WALKED:
                for found in _inside(value, kind):
                    if id(found) not in seen:
                        seen.add(id(found))
                        yield found

    @property
    def _layers(self) -> list[Any]:
        """The layers directly below."""
        return list(self._held(Tracking))

    def _flatten_layers(self, include_self: bool = True, recursive: bool = True) -> list[Any]:
        """This layer and those below it, each once, parents first."""
        found: list[Any] = []
        seen: set[int] = set()

        def visit(layer: Any, depth: int) -> None:
            if id(layer) in seen:
                return
            seen.add(id(layer))
            if depth > 0 or include_self:
                found.append(layer)
            if recursive or depth == 0:
                for child in layer._layers:
                    visit(child, depth + 1)

        visit(self, 0)
        return found

    # --- weights ------------------------------------------------------------------------------

    @property
    def weights(self) -> list[Variable]:
        """All weights, trained or not, each once."""
        found: list[Variable] = []
        seen: set[int] = set()
        self._collect_weights(found, seen)
        return found

    def _collect_weights(self, found: list[Variable], seen: set[int]) -> None:
        own = self._own_weights
        ordered = [w for w in own if w._learns] + [w for w in own if not w._learns]
        for weight in ordered:
            if id(weight) not in seen:
                seen.add(id(weight))
                found.append(weight)
        for layer in self._layers:
            layer._collect_weights(found, seen)

    @property
    def variables(self) -> list[Variable]:
        """The weights and the variables of metrics."""
        found = self.weights
        seen = {id(v) for v in found}
        for metric in getattr(self, "metrics", ()):
            for v in metric.variables:
                if id(v) not in seen:
                    seen.add(id(v))
                    found.append(v)
        return found

    @property
    def trainable(self) -> bool:
        """Whether an optimizer changes the weights; setting it reaches all layers below."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        value = bool(value)
        for layer in self._flatten_layers():
            layer.__dict__["_trainable"] = value
            for weight in layer._own_weights:
                if weight._learns:
                    weight.trainable = value

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that an optimizer changes."""
        return [w for w in self.weights if w.trainable] if self.trainable else []

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that an optimizer leaves alone."""
        return [w for w in self.weights if not w.trainable] if self.trainable else self.weights

    @property
    def trainable_variables(self) -> list[Variable]:
        """The same as ``trainable_weights``."""
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[Variable]:
        """All variables that an optimizer leaves alone."""
        trained = {id(w) for w in self.trainable_weights}
        return [v for v in self.variables if id(v) not in trained]

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights as arrays."""
        return [weight.numpy() for weight in self.weights]

    def set_weights(self, weights: Any) -> None:
        """Takes over arrays in the order of :meth:`get_weights`.

        Raises ValueError for another number of them and for other shapes.
        """
        own = self.weights
        weights = list(weights)
        if len(own) != len(weights):
            raise ValueError(
                f"You called `set_weights(weights)` on layer '{self.name}' with a weight list of "
                f"length {len(weights)}, but the layer was expecting {len(own)} weights."
            )
        for weight, value in zip(own, weights, strict=True):
            if tuple(weight.shape) != tuple(np.shape(value)):
                raise ValueError(
                    f"Layer {self.name} weight shape {tuple(weight.shape)} is not compatible with "
                    f"provided weight shape {tuple(np.shape(value))}."
                )
        for weight, value in zip(own, weights, strict=True):
            weight.assign(convert_to_tensor(value).to(weight.dtype))

    def count_params(self) -> int:
        """How many numbers the weights hold. Raises ValueError before they exist."""
        if not self.built:
            raise ValueError(
                f"You tried to call `count_params` on layer '{self.name}', but the layer isn't "
                "built. You can build it manually via: `layer.build(input_shape)`."
            )
        return sum(weight.numel() for weight in self.weights)

    def parameters(self, recurse: bool = True) -> Iterator[Any]:
        """All weights, as for any ``nn.Module``; without ``recurse`` those of this layer only."""
        yield from self.weights if recurse else self._own_weights

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients of all weights, or sets them to zero."""
        for weight in self.weights:
            if set_to_none or weight.grad is None:
                weight.grad = None
            else:
                weight.grad = tg.zeros_like(weight.grad)

    # --- losses -------------------------------------------------------------------------------

    @property
    def losses(self) -> list[Any]:
        """What :meth:`add_loss` and activity regularizers added in the last call, and the penalties
        of the weights."""
        found = [loss for layer in self._flatten_layers() for loss in layer._losses]
        for weight in self.trainable_weights:
            if weight.regularizer is not None:
                found.append(weight.regularizer(weight))
        return found

    def _clear_losses(self) -> None:
        for layer in self._flatten_layers():
            layer._losses.clear()


def _inside(value: Any, kind: type) -> Iterator[Any]:
    if isinstance(value, kind):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _inside(item, kind)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _inside(item, kind)
