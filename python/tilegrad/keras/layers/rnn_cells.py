"""SimpleRNNCell, GRUCell and LSTMCell: one step each."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from .. import activations
from ..random import SeedGenerator
from ..registry import own_module
from .core import Weighted

__all__ = ["GRUCell", "LSTMCell", "SimpleRNNCell"]

_OPTIONS = (
    "kernel_initializer", "recurrent_initializer", "bias_initializer", "kernel_regularizer",
    "recurrent_regularizer", "bias_regularizer", "kernel_constraint", "recurrent_constraint",
    "bias_constraint",
)  # fmt: skip
_DEFAULTS = {
    "kernel_initializer": "glorot_uniform",
    "recurrent_initializer": "orthogonal",
    "bias_initializer": "zeros",
}


class Cell(Weighted):
    """What the cells share: weights, dropout, the first state.

    Raises ValueError for ``units`` that is no positive integer.
    """

    _WEIGHTS = ("kernel", "recurrent", "bias")
    gates: int
    states = 1

    def _setup(
        self,
        units: int,
        activation: Any,
        use_bias: bool,
        dropout: float,
        recurrent_dropout: float,
        seed: Any,
        options: dict[str, Any],
    ) -> None:
        if not isinstance(units, int) or units <= 0:
            raise ValueError(
                "Received an invalid value for argument `units`, expected a positive integer, got "
                f"{units}"
            )
        self.units, self.use_bias = units, use_bias
        self.activation = activations.get(activation)
        self._set_options({name: options.get(name, _DEFAULTS.get(name)) for name in _OPTIONS})
        self.dropout = min(1.0, max(0.0, dropout))
        self.recurrent_dropout = min(1.0, max(0.0, recurrent_dropout))
        self.seed = seed
        self.seed_generator = SeedGenerator(seed)
        self.__dict__["_dropped"] = {}
        self.state_size = units if self.states == 1 else [units] * self.states
        self.output_size = units

    def _bias_shape(self) -> tuple[int, ...]:
        return (self.gates * self.units,)

    def build(self, input_shape: Any) -> None:
        width = self.gates * self.units
        self.kernel = self._weight("kernel", (input_shape[-1], width))
        self.recurrent_kernel = self._weight("recurrent_kernel", (self.units, width), "recurrent")
        self.bias = self._make_bias() if self.use_bias else None

    def _make_bias(self) -> Any:
        return self._weight("bias", self._bias_shape())

    def get_initial_state(self, batch_size: Any = None) -> Any:
        """Zeros."""
        return [tg.zeros((batch_size, self.units), dtype=self._compute) for _ in range(self.states)]

    def reset_dropout_masks(self) -> None:
        """Lets the next step draw what is dropped anew; all steps of a batch drop the same."""
        self._dropped.clear()

    def _drop(self, x: Any, rate: float, which: str, training: Any) -> Any:
        if not training or rate == 0:
            return x
        if which not in self._dropped:
            kept = self.seed_generator.draw(tg.rand, x.shape) >= rate
            self._dropped[which] = kept.to(x.dtype) / (1 - rate)
        return x * self._dropped[which]

    def _inputs(self, inputs: Any, state: Any, training: Any) -> tuple[Any, Any]:
        return (
            self._drop(inputs, self.dropout, "inputs", training),
            self._drop(state, self.recurrent_dropout, "state", training),
        )

    def compute_output_shape(self, input_shape: Any, states_shape: Any = None) -> Any:
        one = (input_shape[0], self.units)
        return one, ([one] * self.states if self.states > 1 else one)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            **self._options_config(),
            "dropout": self.dropout,
            "recurrent_dropout": self.recurrent_dropout,
            "seed": self.seed,
        }


def _listed(states: Any) -> list[Any]:
    return list(states) if isinstance(states, (list, tuple)) else [states]


class SimpleRNNCell(Cell):
    """``activation(x @ kernel + h @ recurrent_kernel + bias)``."""

    gates = 1

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        *,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        **kwargs: Any,
    ) -> None:
        options = {name: kwargs.pop(name) for name in _OPTIONS if name in kwargs}
        super().__init__(**kwargs)
        self._setup(units, activation, use_bias, dropout, recurrent_dropout, seed, options)

    def call(self, sequence: Any, states: Any, training: Any = False) -> Any:
        x, h = self._inputs(sequence, _listed(states)[0], training)
        made = x @ self.kernel + h @ self.recurrent_kernel
        made = self.activation(made if self.bias is None else made + self.bias)
        return made, [made] if isinstance(states, (list, tuple)) else made


class GRUCell(Cell):
    """A gated recurrent unit (Cho et al., 2014); with ``reset_after`` the reset gate acts behind
    the matrix product."""

    gates = 3

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        *,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: Any = None,
        **kwargs: Any,
    ) -> None:
        options = {name: kwargs.pop(name) for name in _OPTIONS if name in kwargs}
        kwargs.pop("implementation", None)
        super().__init__(**kwargs)
        self._setup(units, activation, use_bias, dropout, recurrent_dropout, seed, options)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.reset_after = reset_after

    def _bias_shape(self) -> tuple[int, ...]:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def call(self, inputs: Any, states: Any, training: Any = False) -> Any:
        x, h = self._inputs(inputs, _listed(states)[0], training)
        units = self.units
        projected = x @ self.kernel
        inner = None
        if self.bias is not None:
            projected = projected + (self.bias[0] if self.reset_after else self.bias)
            inner = self.bias[1] if self.reset_after else None
        if self.reset_after:
            product = h @ self.recurrent_kernel
            product = product if inner is None else product + inner
        else:
            product = h @ self.recurrent_kernel[:, : 2 * units]
        z = self.recurrent_activation(projected[:, :units] + product[:, :units])
        r = self.recurrent_activation(
            projected[:, units : 2 * units] + product[:, units : 2 * units]
        )
        if self.reset_after:
            candidate = r * product[:, 2 * units :]
        else:
            candidate = (r * h) @ self.recurrent_kernel[:, 2 * units :]
        candidate = self.activation(projected[:, 2 * units :] + candidate)
        made = z * _listed(states)[0] + (1 - z) * candidate
        return made, [made] if isinstance(states, (list, tuple)) else made

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "recurrent_activation": activations.serialize(self.recurrent_activation),
            "reset_after": self.reset_after,
        }


class LSTMCell(Cell):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997). ``unit_forget_bias`` starts the
    bias of the forget gate at one (Jozefowicz et al., 2015)."""

    gates = 4
    states = 2

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        *,
        unit_forget_bias: bool = True,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        **kwargs: Any,
    ) -> None:
        options = {name: kwargs.pop(name) for name in _OPTIONS if name in kwargs}
        kwargs.pop("implementation", None)
        super().__init__(**kwargs)
        self._setup(units, activation, use_bias, dropout, recurrent_dropout, seed, options)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.unit_forget_bias = unit_forget_bias

    def _make_bias(self) -> Any:
        bias = super()._make_bias()
        if self.unit_forget_bias:
            with tg.no_grad():
                bias[self.units : 2 * self.units] = 1.0
        return bias

    def call(self, inputs: Any, states: Any, training: Any = False) -> Any:
        before, carry = states
        x, h = self._inputs(inputs, before, training)
        z = x @ self.kernel + h @ self.recurrent_kernel
        z = z if self.bias is None else z + self.bias
        i, f, c, o = tg.chunk(z, 4, dim=1)
        i, f = self.recurrent_activation(i), self.recurrent_activation(f)
        carry = f * carry + i * self.activation(c)
        made = self.recurrent_activation(o) * self.activation(carry)
        return made, [made, carry]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "recurrent_activation": activations.serialize(self.recurrent_activation),
            "unit_forget_bias": self.unit_forget_bias,
        }


own_module(globals())
