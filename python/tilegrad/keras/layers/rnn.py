"""``RNN``: a cell run over the steps of sequences, with masks, states and both directions."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from .. import tree
from ..registry import own_module, serialize_keras_object
from ..symbolic import KerasTensor
from .input_spec import InputSpec
from .layer import Layer

__all__ = ["RNN", "StackedRNNCells"]


class RNN(Layer):
    """Runs ``cell`` over the steps. Shapes: (N, steps, features) to (N, units), or with
    ``return_sequences`` to (N, steps, units); ``return_state`` adds the last states.

    A cell has ``state_size``, ``call(inputs, states)``, which returns an output and new states, and
    perhaps ``get_initial_state(batch_size)``. Where a mask is False the states stay and the output
    is repeated (zero, with ``zero_output_for_mask``). Raises ValueError for what is no cell.
    """

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        if isinstance(cell, (list, tuple)):
            cell = StackedRNNCells(list(cell))
        if not hasattr(cell, "call") or not hasattr(cell, "state_size"):
            raise ValueError(
                "Argument `cell` should have a `call` method and a `state_size`. Received: "
                f"cell={cell}"
            )
        super().__init__(**kwargs)
        self.cell = cell
        self.return_sequences, self.return_state = return_sequences, return_state
        self.go_backwards, self.stateful, self.unroll = go_backwards, stateful, unroll
        self.zero_output_for_mask = zero_output_for_mask
        self.supports_masking = True
        self.input_spec = InputSpec(ndim=3) if self._flat else None
        self.__dict__["states"] = None

    _flat = True  # does a step have one axis of features?

    @property
    def _sizes(self) -> list[Any]:
        size = self.cell.state_size
        return list(size) if isinstance(size, (list, tuple)) else [size]

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        step = (sequences_shape[0], *sequences_shape[2:])
        if isinstance(self.cell, Layer) and not self.cell.built:
            self.cell.build(step)
            self.cell.built = True
        self.__dict__["_build_shape"] = tuple(sequences_shape)

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """The states before the first step: zeros, unless the cell says otherwise."""
        make = getattr(self.cell, "get_initial_state", None)
        if make is not None:
            made = make(batch_size=batch_size)
            return list(made) if isinstance(made, (list, tuple)) else [made]
        return [tg.zeros((batch_size, n), dtype=self._compute) for n in self._sizes]

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = False
    ) -> Any:
        if isinstance(mask, (list, tuple)):
            mask = mask[0]
        if isinstance(sequences, (list, tuple)):
            sequences, *initial_state = sequences
        if not sequences.dtype.is_floating_point:
            sequences = sequences.to(self._compute)
        states = self._first_states(sequences, initial_state)
        if hasattr(self.cell, "reset_dropout_masks"):
            self.cell.reset_dropout_masks()
        outputs, last, states = self._scan(sequences, states, mask, training)
        if self.stateful:
            self.__dict__["states"] = [s.detach() for s in states]
        made = outputs if self.return_sequences else last
        return [made, *states] if self.return_state else made

    def _first_states(self, sequences: Any, given: Any) -> list[Any]:
        if given is not None and not (isinstance(given, list) and not given):
            return list(given) if isinstance(given, (list, tuple)) else [given]
        if self.stateful and self.states is not None:
            if self.states[0].shape[0] == sequences.shape[0]:
                return list(self.states)
            raise ValueError(
                f'Layer "{self.name}" is stateful with states for {self.states[0].shape[0]} '
                f"sequences, but got {sequences.shape[0]}; call reset_state() first"
            )
        return self.get_initial_state(sequences.shape[0])

    def _scan(self, sequences: Any, states: list[Any], mask: Any, training: Any) -> tuple:
        """(outputs of all steps, the last output, the last states)."""
        takes_training = getattr(self.cell, "_call_info", None)
        options = {"training": training} if takes_training and takes_training.takes_training else {}
        count = sequences.shape[1]
        order = range(count - 1, -1, -1) if self.go_backwards else range(count)
        outputs: list[Any] = []
        last: Any = None
        for i in order:
            single = len(states) == 1 and not isinstance(self.cell.state_size, (list, tuple))
            output, new = self.cell(sequences[:, i], states[0] if single else states, **options)
            new = list(new) if isinstance(new, (list, tuple)) else [new]
            if mask is not None:
                seen = mask[:, i]
                before = tg.zeros_like(output) if last is None else last
                kept = tg.zeros_like(output) if self.zero_output_for_mask else before
                shown = _choose(seen, output, kept)
                last = _choose(seen, output, before)
                states = _chosen_states(seen, new, states)
            else:
                shown = last = output
                states = new
            outputs.append(shown)
        return tg.stack(outputs, dim=1) if self.return_sequences else last, last, states

    def compute_output_spec(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = None
    ) -> Any:
        if isinstance(sequences, (list, tuple)):
            sequences = sequences[0]
        shapes = self.compute_output_shape(sequences.shape)
        if self.return_state:
            return [KerasTensor(shape, self.compute_dtype) for shape in shapes]
        return KerasTensor(shapes, self.compute_dtype)

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: Any = None) -> Any:
        batch, steps = sequences_shape[0], sequences_shape[1]
        sizes = [
            tuple(n) if isinstance(n, (list, tuple)) else (n,) for n in tree.flatten(self._sizes)
        ]
        output = getattr(self.cell, "output_size", None)
        own = (
            (output,) if isinstance(output, int) else sizes[0] if output is None else tuple(output)
        )
        made = (batch, steps, *own) if self.return_sequences else (batch, *own)
        return [made, *[(batch, *s) for s in sizes]] if self.return_state else made

    def compute_mask(self, sequences: Any, mask: Any = None) -> Any:
        """The mask of the steps, if steps come out."""
        if isinstance(mask, (list, tuple)):
            mask = mask[0]
        made = mask if self.return_sequences else None
        return [made, *[None] * len(tree.flatten(self._sizes))] if self.return_state else made

    _makes_masks = False

    def reset_state(self) -> None:
        """Forgets the states of a stateful layer."""
        self.__dict__["states"] = None

    reset_states = reset_state

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "return_sequences": self.return_sequences,
            "return_state": self.return_state,
            "go_backwards": self.go_backwards,
            "stateful": self.stateful,
            "unroll": self.unroll,
            "zero_output_for_mask": self.zero_output_for_mask,
            "cell": serialize_keras_object(self.cell),
        }


def _choose(seen: Any, new: Any, old: Any) -> Any:
    while seen.ndim < new.ndim:
        seen = seen.unsqueeze(-1)
    return tg.where(seen, new, old)


def _chosen_states(seen: Any, new: list, old: list) -> list:
    return tree.map_structure(lambda a, b: _choose(seen, a, b), new, list(old))


class StackedRNNCells(Layer):
    """Cells one behind the other as one cell. Raises ValueError for what is no cell."""

    def __init__(self, cells: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for cell in cells:
            if not hasattr(cell, "call") or not hasattr(cell, "state_size"):
                raise ValueError(
                    "All cells must have a `call` method and a `state_size`. Received cell "
                    "without: "
                    f"{cell}"
                )
        self.cells = list(cells)

    @property
    def state_size(self) -> list[Any]:
        """The sizes of the states of all cells."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> Any:
        """The size of the last cell's output."""
        last = self.cells[-1]
        size = getattr(last, "output_size", None)
        return size or tree.flatten(last.state_size)[0]

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """The states of all cells before the first step."""
        made = []
        for cell in self.cells:
            if hasattr(cell, "get_initial_state"):
                made.append(cell.get_initial_state(batch_size=batch_size))
            else:
                sizes = tree.flatten(cell.state_size)
                zeros = [tg.zeros((batch_size, n), dtype=self._compute) for n in sizes]
                made.append(zeros if len(zeros) > 1 else zeros[0])
        return made

    def build(self, input_shape: Any) -> None:
        for cell in self.cells:
            if isinstance(cell, Layer) and not cell.built:
                cell.build(input_shape)
                cell.built = True
            size = getattr(cell, "output_size", None) or tree.flatten(cell.state_size)[0]
            input_shape = (input_shape[0], size)

    def call(self, inputs: Any, states: Any, training: Any = False) -> Any:
        made = []
        for cell, state in zip(self.cells, states, strict=True):
            takes = getattr(cell, "_call_info", None)
            options = {"training": training} if takes and takes.takes_training else {}
            inputs, state = cell(inputs, state, **options)
            made.append(state)
        return inputs, made

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "cells": [serialize_keras_object(c) for c in self.cells]}


own_module(globals())
