"""Recurrent layers: LSTM, GRU, RNN over whole sequences, and their cells for single steps."""

from __future__ import annotations

import math
import warnings
from typing import Any

from .. import _autocast
from ..ops import recurrent as ops
from . import init
from .linear import new_parameter
from .module import Module
from .utils.rnn import PackedSequence

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase"]

_CELLS = {"LSTM": "lstm", "GRU": "gru", "RNN_TANH": "rnn_tanh", "RNN_RELU": "rnn_relu"}
_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


class RNNBase(Module):
    """What :class:`LSTM`, :class:`GRU` and :class:`RNN` share.

    Layer k has ``weight_ih_l{k}`` (gates * hidden, in), ``weight_hh_l{k}`` (gates * hidden,
    hidden), ``bias_ih_l{k}`` and ``bias_hh_l{k}`` (gates * hidden), and with ``proj_size``
    ``weight_hr_l{k}`` (proj_size, hidden); the names of the backward direction end in ``_reverse``.
    All start uniform in ±1/sqrt(hidden_size).

    Raises ValueError and TypeError for arguments out of range.
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if mode not in _CELLS:
            raise ValueError(f"Unrecognized RNN mode: {mode}")
        _check_options(input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size)
        self.mode, self.input_size, self.hidden_size = mode, input_size, hidden_size
        self.num_layers, self.bias, self.batch_first = num_layers, bias, batch_first
        self.dropout, self.bidirectional = float(dropout), bidirectional
        self.proj_size = proj_size
        width, state = _GATES[mode] * hidden_size, proj_size or hidden_size
        self._names: list[list[str]] = []  # of the parameters, per layer and direction
        for layer in range(num_layers):
            size = input_size if layer == 0 else state * (2 if bidirectional else 1)
            shapes: dict[str, tuple[int, ...]] = {
                "weight_ih": (width, size),
                "weight_hh": (width, state),
            }
            if bias:
                shapes |= {"bias_ih": (width,), "bias_hh": (width,)}
            if proj_size > 0:
                shapes["weight_hr"] = (proj_size, hidden_size)
            for suffix in ("", "_reverse") if bidirectional else ("",):
                names = {f"{name}_l{layer}{suffix}": shape for name, shape in shapes.items()}
                for name, shape in names.items():
                    setattr(self, name, new_parameter(*shape, dtype=dtype, device=device))
                self._names.append(list(names))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all parameters anew."""
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Does nothing; PyTorch's arranges the weights in memory for cuDNN."""

    @property
    def all_weights(self) -> list[list[Any]]:
        """The parameters, a list per layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._names]

    def forward(self, input: Any, hx: Any = None) -> Any:
        """(output, final state); a state is h, or (h, c) for LSTM.

        ``input``: (steps, batch, input_size), (batch, steps, input_size) with ``batch_first``,
        (steps, input_size) without batch, or a PackedSequence. ``hx``: the first state, each part
        (layers * directions, batch, size) or without batch; None for zeros.
        """
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.ndim not in (2, 3):
            raise ValueError(
                f"{type(self).__name__}: Expected input to be 2D or 3D, got {input.ndim}D instead"
            )
        batched, batch_dim = input.ndim == 3, 0 if self.batch_first else 1
        states = self._states(hx)
        self._check_batched(states, batched)
        if not batched:
            input = input.unsqueeze(batch_dim)
            states = [x.unsqueeze(1) for x in states]
        if input.shape[1 - batch_dim] == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        if self.batch_first:
            input = input.transpose(0, 1)
        steps, batch, size = input.shape
        self._check_input(input)
        states = self._check_states(states, batch, input)
        output, *final = self._run(input.reshape(steps * batch, size), None, states)
        output = output.reshape(steps, batch, output.shape[1])
        if self.batch_first:
            output = output.transpose(0, 1)
        if not batched:
            output, final = output.squeeze(batch_dim), [x.squeeze(1) for x in final]
        return output, self._as_hx(final)

    def _forward_packed(self, input: PackedSequence, hx: Any) -> Any:
        data, batch_sizes, sorted_indices, unsorted_indices = input
        if data.ndim != 2:
            raise RuntimeError(f"input must have 2 dimensions, got {data.ndim}")
        self._check_input(data)
        states = self._states(hx)
        if sorted_indices is not None:
            states = [x.index_select(1, sorted_indices) for x in states]
        states = self._check_states(states, int(batch_sizes[0]), data)
        output, *final = self._run(data, batch_sizes, states)
        if unsorted_indices is not None:
            final = [x.index_select(1, unsorted_indices) for x in final]
        packed = PackedSequence(output, batch_sizes, sorted_indices, unsorted_indices)
        return packed, self._as_hx(final)

    def _run(self, rows: Any, batch_sizes: Any, states: list[Any]) -> tuple[Any, ...]:
        params = [getattr(self, name) for names in self._names for name in names]
        return ops.run_layers(
            _CELLS[self.mode],
            rows,
            batch_sizes,
            states,
            params,
            self.bias,
            self.num_layers,
            self.dropout,
            self.training,
            self.bidirectional,
        )

    def _states(self, hx: Any) -> list[Any]:
        """The parts of the state as a list, empty for None."""
        if hx is None:
            return []
        return list(hx) if self.mode == "LSTM" else [hx]

    def _as_hx(self, states: list[Any]) -> Any:
        return tuple(states) if self.mode == "LSTM" else states[0]

    def _check_batched(self, states: list[Any], batched: bool) -> None:
        expected = 3 if batched else 2
        if any(x.ndim != expected for x in states):
            given = ", ".join(f"{x.ndim}-D" for x in states)
            kind = "batched 3-D" if batched else "unbatched 2-D"
            raise RuntimeError(
                f"For {kind} input, hx should also be {expected}-D but got {given} tensor"
            )

    def _check_input(self, input: Any) -> None:
        weight = getattr(self, self._names[0][0])
        if input.dtype != weight.dtype and not (_autocast.enabled and _autocast.is_on()):
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). "
                f"Convert input: input.to({weight.dtype}), or convert model: "
                f"model.to({input.dtype})"
            )
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                "input.size(-1) must be equal to input_size. Expected "
                f"{self.input_size}, got {input.shape[-1]}"
            )

    def _check_states(self, states: list[Any], batch: int, input: Any) -> list[Any]:
        """The states, zeros where none were given."""
        places = self.num_layers * (2 if self.bidirectional else 1)
        shapes = [(places, batch, self.proj_size or self.hidden_size)]
        if self.mode == "LSTM":
            shapes.append((places, batch, self.hidden_size))
        if not states:
            return [input.new_zeros(shape) for shape in shapes]
        for i, (x, shape) in enumerate(zip(states, shapes, strict=True)):
            if tuple(x.shape) != shape:
                which = f"hidden[{i}]" if self.mode == "LSTM" else "hidden"
                raise RuntimeError(f"Expected {which} size {shape}, got {list(x.shape)}")
        return states

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        defaults = {
            "proj_size": 0,
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0,
            "bidirectional": False,
        }
        for name, default in defaults.items():
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text


def _check_options(
    input_size: Any,
    hidden_size: Any,
    num_layers: Any,
    bias: Any,
    batch_first: Any,
    dropout: Any,
    proj_size: Any,
) -> None:
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout <= 1:
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an "
            "element being zeroed"
        )
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout "
            f"expects num_layers greater than 1, but got dropout={dropout} and num_layers=1",
            stacklevel=4,
        )
    for name, value, kind in (
        ("bias", bias, bool),
        ("batch_first", batch_first, bool),
        ("input_size", input_size, int),
        ("hidden_size", hidden_size, int),
    ):
        if not isinstance(value, kind):
            raise TypeError(
                f"{name} should be of type {kind.__name__}, got: {type(value).__name__}"
            )
    for name, value in (
        ("input_size", input_size),
        ("hidden_size", hidden_size),
        ("num_layers", num_layers),
    ):
        if value <= 0:
            raise ValueError(f"{name} must be greater than zero")
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")


def _refuse_projection(options: dict[str, Any]) -> None:
    if "proj_size" in options:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997), with a forget gate.

    ``i, f, o = sigmoid(...)``, ``g = tanh(...)``, ``c = f * c + i * g``, ``h = o * tanh(c)``, each
    gate from ``weight_ih @ x + bias_ih + weight_hh @ h + bias_hh``; with ``proj_size``
    ``h = weight_hr @ h``. ``lstm(input, (h_0, c_0))`` returns (output, (h_n, c_n)); see
    :class:`RNNBase` for arguments and parameters.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)


class GRU(RNNBase):
    """Gated recurrent units (Cho et al., 2014), the reset gate behind the recurrent product.

    ``r, z = sigmoid(...)``, ``n = tanh(W_in x + b_in + r * (W_hn h + b_hn))``,
    ``h = (1 - z) * n + z * h``. ``gru(input, h_0)`` returns (output, h_n); see :class:`RNNBase` for
    arguments and parameters.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse_projection(kwargs)
        super().__init__("GRU", *args, **kwargs)


class RNN(RNNBase):
    """The recurrent layer of Elman (1990): ``h = tanh(W_ih x + b_ih + W_hh h + b_hh)``.

    ``nonlinearity`` (the fourth positional argument) is "tanh" or "relu". ``rnn(input, h_0)``
    returns (output, h_n); see :class:`RNNBase` for arguments and parameters.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse_projection(kwargs)
        if len(args) > 3:
            self.nonlinearity, args = args[3], (*args[:3], *args[4:])
        else:
            self.nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if self.nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"Unknown nonlinearity '{self.nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        super().__init__(f"RNN_{self.nonlinearity.upper()}", *args, **kwargs)


class RNNCellBase(Module):
    """What the cells share: ``weight_ih`` (gates * hidden, in), ``weight_hh`` (gates * hidden,
    hidden), ``bias_ih``, ``bias_hh`` (gates * hidden), all uniform in ±1/sqrt(hidden_size)."""

    bias_ih: Any
    bias_hh: Any
    nonlinearity = "tanh"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        width = num_chunks * hidden_size
        options = {"dtype": dtype, "device": device}
        self.weight_ih = new_parameter(width, input_size, **options)
        self.weight_hh = new_parameter(width, hidden_size, **options)
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, new_parameter(width, **options) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all parameters anew."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _step(self, op: Any, input: Any, states: list[Any]) -> list[Any]:
        """Checks, gives an input without batch one, and calls ``op`` with all parameters."""
        name = type(self).__name__
        if input.ndim not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.ndim}D instead")
        for i, x in enumerate(states):
            if x.ndim not in (1, 2):
                which = f"hx[{i}]" if isinstance(self, LSTMCell) else "hidden"
                raise ValueError(f"{name}: Expected {which} to be 1D or 2D, got {x.ndim}D instead")
        batched = input.ndim == 2
        if not batched:
            input, states = input.unsqueeze(0), [x.unsqueeze(0) for x in states]
        if input.shape[1] != self.input_size:
            raise RuntimeError(
                f"input has inconsistent input_size: got {input.shape[1]} expected "
                f"{self.input_size}"
            )
        for i, x in enumerate(states):
            if x.shape[0] != input.shape[0]:
                raise RuntimeError(
                    f"Input batch size {input.shape[0]} doesn't match hidden{i} batch size "
                    f"{x.shape[0]}"
                )
            if x.shape[1] != self.hidden_size:
                raise RuntimeError(
                    f"hidden{i} has inconsistent hidden_size: got {x.shape[1]}, expected "
                    f"{self.hidden_size}"
                )
        if not states:
            zeros = input.new_zeros((input.shape[0], self.hidden_size))
            states = [zeros, zeros] if isinstance(self, LSTMCell) else [zeros]
        hx = tuple(states) if isinstance(self, LSTMCell) else states[0]
        result = op(input, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        results = list(result) if isinstance(result, tuple) else [result]
        return results if batched else [x.squeeze(0) for x in results]

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if not self.bias:
            text += f", bias={self.bias}"
        if self.nonlinearity != "tanh":
            text += f", nonlinearity={self.nonlinearity}"
        return text


class RNNCell(RNNCellBase):
    """One step of :class:`RNN`: ``h = cell(input, h)``, input (batch, in) or (in)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Any = None) -> Any:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        op = ops.rnn_tanh_cell if self.nonlinearity == "tanh" else ops.rnn_relu_cell
        return self._step(op, input, [] if hx is None else [hx])[0]


class LSTMCell(RNNCellBase):
    """One step of :class:`LSTM`: ``h, c = cell(input, (h, c))``, input (batch, in) or (in)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        h, c = self._step(ops.lstm_cell, input, [] if hx is None else list(hx))
        return h, c


class GRUCell(RNNCellBase):
    """One step of :class:`GRU`: ``h = cell(input, h)``, input (batch, in) or (in)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Any, hx: Any = None) -> Any:
        return self._step(ops.gru_cell, input, [] if hx is None else [hx])[0]
