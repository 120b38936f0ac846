"""SimpleRNN, GRU and LSTM: cells with layers of their own, run by tilegrad's kernels."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from .. import activations
from ..registry import own_module
from .rnn import RNN
from .rnn_cells import _OPTIONS, Cell, GRUCell, LSTMCell, SimpleRNNCell
from .rnn_kernels import run_kernel

__all__ = ["GRU", "LSTM", "SimpleRNN"]

_OF_RNN = ("return_sequences", "return_state", "go_backwards", "stateful", "unroll")


class _WithCell(RNN):
    """A layer whose cell is made from its own arguments."""

    cell: Cell
    _kernel: str

    def _start(self, cell_class: Any, names: tuple[str, ...], given: dict[str, Any]) -> None:
        own = {name: given[name] for name in (*_OPTIONS, *names, "dropout", "recurrent_dropout")}
        kwargs = given["kwargs"]
        kwargs.pop("implementation", None)
        cell = cell_class(
            given["units"], use_bias=given["use_bias"], seed=given["seed"],
            dtype=kwargs.get("dtype"), trainable=kwargs.get("trainable", True), name="cell", **own,
        )  # fmt: skip
        super().__init__(
            cell,
            **{name: given[name] for name in _OF_RNN},
            activity_regularizer=given["activity_regularizer"],
            **kwargs,
        )

    @property
    def units(self) -> int:
        """The number of features that come out."""
        return self.cell.units

    @property
    def activation(self) -> Any:
        """The function of the new state."""
        return self.cell.activation

    @property
    def use_bias(self) -> bool:
        """Whether there is a bias."""
        return self.cell.use_bias

    @property
    def dropout(self) -> float:
        """The share of inputs that is dropped while training."""
        return self.cell.dropout

    @property
    def recurrent_dropout(self) -> float:
        """The share of the state that is dropped while training."""
        return self.cell.recurrent_dropout

    def _fits_kernel(self) -> bool:
        cell = self.cell
        return (
            cell.activation is activations.tanh
            and getattr(cell, "recurrent_activation", activations.sigmoid) is activations.sigmoid
            and getattr(cell, "reset_after", True)
        )

    def _weights(self) -> tuple:
        cell = self.cell
        return cell.kernel.t(), cell.recurrent_kernel.t(), cell.bias, None

    def _scan(self, sequences: Any, states: list[Any], mask: Any, training: Any) -> tuple:
        cell = self.cell
        if self._fits_kernel() and not (training and cell.recurrent_dropout) and sequences.shape[1]:
            x, seen = sequences, mask
            if self.go_backwards:
                x = tg.flip(x, (1,))
                seen = None if mask is None else tg.flip(mask, (1,))
            if training and cell.dropout:
                first = x[:, 0]
                x = x * cell._drop(tg.ones_like(first), cell.dropout, "inputs", True).unsqueeze(1)
            weights = tuple(None if w is None else w.contiguous() for w in self._weights())
            made = run_kernel(self._kernel, x, states, weights, seen)
            if made is not None and self.zero_output_for_mask and seen is not None:
                shown = tg.where(seen.unsqueeze(-1), made[0], tg.zeros_like(made[0]))
                return shown, *made[1:]
            if made is not None:
                return made
        return super()._scan(sequences, states, mask, training)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for name in ("cell", "zero_output_for_mask"):
            del config[name]
        own = self.cell.get_config()
        return {
            **config,
            **{
                name: value
                for name, value in own.items()
                if name not in ("name", "dtype", "trainable")
            },
        }


class SimpleRNN(_WithCell):
    """The recurrent layer of Elman (1990). Shapes: (N, steps, features) to (N, units), or with
    ``return_sequences`` to (N, steps, units). Raises ValueError for an input of another rank."""

    _kernel = "rnn_tanh"

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: Any = None,
        **kwargs: Any,
    ) -> None:
        self._start(SimpleRNNCell, ("activation",), locals())


class GRU(_WithCell):
    """Gated recurrent units (Cho et al., 2014). Shapes: (N, steps, features) to (N, units), or with
    ``return_sequences`` to (N, steps, units). Raises ValueError for an input of another rank."""

    _kernel = "gru"

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ) -> None:
        self._start(GRUCell, ("activation", "recurrent_activation", "reset_after"), locals())

    def _weights(self) -> tuple:
        cell, n = self.cell, self.cell.units

        def reordered(x: Any) -> Any:  # update, reset, new -> reset, update, new
            return tg.cat([x[..., n : 2 * n], x[..., :n], x[..., 2 * n :]], dim=-1)

        first = second = None
        if cell.bias is not None:
            bias = reordered(cell.bias)
            first, second = bias[0], bias[1]
        return reordered(cell.kernel).t(), reordered(cell.recurrent_kernel).t(), first, second


class LSTM(_WithCell):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997). Shapes: (N, steps, features) to
    (N, units), or with ``return_sequences`` to (N, steps, units); ``return_state`` adds the state
    and the carry. Raises ValueError for an input of another rank."""

    _kernel = "lstm"

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ) -> None:
        self._start(LSTMCell, ("activation", "recurrent_activation", "unit_forget_bias"), locals())


own_module(globals())
