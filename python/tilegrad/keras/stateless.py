"""Calls that take the values of variables and return new ones instead of changing anything.

Keras has them for frameworks in which functions may not change what they did not get. Here they
put the given values in place, call, read what became of them, and put the old ones back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tilegrad as tg

from .dtypes import convert_to_tensor

__all__ = ["StatelessLayer", "StatelessMetric", "StatelessOptimizer"]


@contextmanager
def _holding(variables: list[Any], values: Any, what: str) -> Iterator[None]:
    """Within ``with`` the variables have these values. Raises ValueError for another number."""
    values = [convert_to_tensor(value).detach() for value in values]
    if len(values) != len(variables):
        raise ValueError(
            f"Argument `{what}` must be a list of tensors of length {len(variables)}. Received "
            f"{len(values)} of them"
        )
    before = [variable.detach().clone() for variable in variables]
    _put(variables, values)
    try:
        yield
    finally:
        _put(variables, before)


def _put(variables: list[Any], values: list[Any]) -> None:
    with tg.no_grad():
        for variable, value in zip(variables, values, strict=True):
            variable.copy_(value.clone())


def _read(variables: list[Any]) -> list[Any]:
    return [variable.detach().clone() for variable in variables]


class StatelessMetric:
    """The part of a metric that keeps nothing."""

    def stateless_update_state(self: Any, metric_variables: Any, *args: Any, **kwargs: Any) -> Any:
        """The variables behind ``update_state``. Raises ValueError for another number of them."""
        variables = self.variables
        with _holding(variables, metric_variables, "metric_variables"):
            self.update_state(*args, **kwargs)
            return _read(variables)

    def stateless_result(self: Any, metric_variables: Any) -> Any:
        """The number that these variables stand for."""
        with _holding(self.variables, metric_variables, "metric_variables"):
            return self.result()

    def stateless_reset_state(self: Any) -> Any:
        """The variables of a metric that has seen nothing."""
        variables = self.variables
        with _holding(variables, variables, "metric_variables"):
            self.reset_state()
            return _read(variables)


class StatelessOptimizer:
    """The part of an optimizer that keeps nothing."""

    def stateless_apply(
        self: Any, optimizer_variables: Any, grads: Any, trainable_variables: Any
    ) -> tuple[list[Any], list[Any]]:
        """The weights and the optimizer's variables behind one step. Raises ValueError before the
        optimizer is built."""
        if not self.built:
            raise ValueError(
                f"To call `stateless_apply`, {type(self).__name__} must be built (i.e. its "
                "variables must have been created). You can build it via "
                "`optimizer.build(trainable_variables)`."
            )
        weights = self._trainable_variables
        kept: dict[str, Any] = {str(i): v.numpy() for i, v in enumerate(self.variables)}
        given = {
            str(i): convert_to_tensor(v).detach().numpy() for i, v in enumerate(optimizer_variables)
        }
        with _holding(weights, trainable_variables, "trainable_variables"):
            self.load_own_variables(given)
            try:
                self.apply(list(grads), weights)
                return _read(weights), _read(self.variables)
            finally:
                self.load_own_variables(kept)


class StatelessLayer:
    """The part of a layer that keeps nothing."""

    def stateless_call(
        self: Any,
        trainable_variables: Any,
        non_trainable_variables: Any,
        *args: Any,
        return_losses: bool = False,
        **kwargs: Any,
    ) -> tuple:
        """The outputs with these weights, and what became of the non-trainable ones; with
        ``return_losses`` also the added losses. Gradients flow to ``trainable_variables``.

        Raises ValueError before the layer is built and for other numbers of variables.
        """
        if not self.built:
            raise ValueError(
                f"To call stateless_call, {type(self).__name__} must be built (i.e. its variables "
                "must have been already created). You can build it by calling it on some data."
            )
        own, rest = self.trainable_variables, self.non_trainable_variables
        given = [convert_to_tensor(value) for value in trainable_variables]
        if len(given) != len(own):
            raise ValueError(
                "Argument `trainable_variables` must be a list of tensors corresponding 1:1 to "
                f"{type(self).__name__}().trainable_variables. Received list with length "
                f"{len(given)}, but expected {len(own)} variables."
            )
        replaced = {id(v): x for v, x in zip(own, given, strict=True) if x is not v}
        with (
            _holding(rest, non_trainable_variables, "non_trainable_variables"),
            _swapped(self, replaced),
        ):
            outputs = self(*args, **kwargs)
            losses = None
            if return_losses:
                losses = [x for layer in self._flatten_layers() for x in layer._losses]
                pairs = [(v.regularizer, x) for v, x in zip(own, given, strict=True)]
                losses += [penalty(x) for penalty, x in pairs if penalty is not None]
            after = _read(rest)
        return (outputs, after) if losses is None else (outputs, after, losses)


@contextmanager
def _swapped(layer: Any, replaced: dict[int, Any]) -> Iterator[None]:
    """Within ``with``, other tensors stand in the places of weights, also in lists."""
    places: list[tuple[dict, str, Any]] = []
    for part in layer._flatten_layers() if replaced else ():
        for room in (part.__dict__, part.__dict__.get("_parameters", {})):
            for name, value in room.items():
                if id(value) in replaced or isinstance(value, (list, tuple)):
                    swapped = _replacing(value, replaced)
                    if swapped is not value and name != "_own_weights":
                        places.append((room, name, value))
    for room, name, value in places:
        room[name] = _replacing(value, replaced)
    try:
        yield
    finally:
        for room, name, value in places:
            room[name] = value


def _replacing(value: Any, replaced: dict[int, Any]) -> Any:
    if id(value) in replaced:
        return replaced[id(value)]
    if type(value) in (list, tuple):
        made = [_replacing(item, replaced) for item in value]
        if any(a is not b for a, b in zip(made, value, strict=True)):
            return type(value)(made)
    return value
