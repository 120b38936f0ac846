"""ConvLSTM1D to ConvLSTM3D: long short-term memory whose products are convolutions."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from .. import activations
from ..random import SeedGenerator
from ..registry import own_module
from ..symbolic import KerasTensor
from .convolution import _CONVOLVE, BaseConvolution
from .geometry import channels_first, channels_last, pad_spatial, same_padding, with_channels
from .input_spec import InputSpec
from .rnn import RNN
from .rnn_cells import _OPTIONS

__all__ = ["ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"]

_OF_RNN = ("return_sequences", "return_state", "go_backwards", "stateful")
_OF_CELL = (
    "filters", "kernel_size", "strides", "padding", "data_format", "dilation_rate", "activation",
    "recurrent_activation", "use_bias", "unit_forget_bias", "dropout", "recurrent_dropout", "seed",
)  # fmt: skip


class ConvLSTMCell(BaseConvolution):
    """One step: images and states are convolved instead of multiplied.

    Raises ValueError for open sizes of images and for the options of a convolution.
    """

    _WEIGHTS = ("kernel", "recurrent", "bias")

    def __init__(self, rank: int, options: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rank = rank
        filters = options["filters"]
        if not isinstance(filters, int) or filters <= 0:
            raise ValueError(
                "Invalid value for argument `filters`. Expected a strictly positive value. "
                f"Received filters={filters}."
            )
        self.filters = filters
        self._set_geometry(options)
        self.recurrent_activation = activations.get(options["recurrent_activation"])
        self.unit_forget_bias = options["unit_forget_bias"]
        self.dropout = min(1.0, max(0.0, options["dropout"]))
        self.recurrent_dropout = min(1.0, max(0.0, options["recurrent_dropout"]))
        self.seed = options["seed"]
        self.seed_generator = SeedGenerator(self.seed)
        self.state_size = [filters, filters]

    def build(self, input_shape: Any) -> None:
        channels = self._channels(input_shape)
        axis = -1 if self.data_format == "channels_last" else 1
        sizes = [n for i, n in enumerate(input_shape) if i not in (0, axis % len(input_shape))]
        if None in sizes:
            raise ValueError(
                "ConvLSTM layers only support static input shapes for the spatial dimension. "
                f"Received invalid input shape: input_shape={tuple(input_shape)}"
            )
        self.__dict__["_sizes_out"] = self._output_sizes(input_shape)
        width = 4 * self.filters
        self.kernel = self._weight("kernel", (*self.kernel_size, channels, width))
        self.recurrent_kernel = self._weight(
            "recurrent_kernel", (*self.kernel_size, self.filters, width), "recurrent"
        )
        bias = self._weight("bias", (width,)) if self.use_bias else None
        self.bias = bias
        if bias is not None and self.unit_forget_bias:
            with tg.no_grad():
                bias[self.filters : 2 * self.filters] = 1.0

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Zeros of the shape of the outputs."""
        shape = with_channels((batch_size,), self._sizes_out, self.filters, self.data_format)
        return [tg.zeros(shape, dtype=self._compute) for _ in range(2)]

    def _gates_of_inputs(self, x: Any, training: Any) -> Any:
        """What the images say to the four gates, (N, 4 * filters, ...), for many steps at once."""
        axes = self.rank
        weight = self.kernel.permute(axes + 1, axes, *range(axes))
        if not training or self.dropout == 0:
            return self._convolve(x, weight, self.bias, 1)
        biases = [None] * 4 if self.bias is None else self.bias.chunk(4)
        parts = zip(weight.chunk(4), biases, strict=True)
        return tg.cat(
            [self._convolve(self._dropped(x, self.dropout), w, b, 1) for w, b in parts], 1
        )

    def _gates_of_state(self, h: Any, training: Any) -> Any:
        axes = self.rank
        weight = self.recurrent_kernel.permute(axes + 1, axes, *range(axes))
        pads = [same_padding(n, k, 1) for n, k in zip(h.shape[2:], self.kernel_size, strict=True)]
        if not training or self.recurrent_dropout == 0:
            return _CONVOLVE[axes](pad_spatial(h, pads), weight)
        parts = [pad_spatial(self._dropped(h, self.recurrent_dropout), pads) for _ in range(4)]
        made = [_CONVOLVE[axes](x, w) for x, w in zip(parts, weight.chunk(4), strict=True)]
        return tg.cat(made, 1)

    def _dropped(self, x: Any, rate: float) -> Any:
        kept = self.seed_generator.draw(tg.rand, x.shape) >= rate
        return x * (kept.to(x.dtype) / (1 - rate))

    def _step(self, gates: Any, states: list[Any], training: Any) -> list[Any]:
        """The state and the carry behind a step, channels first."""
        i, f, c, o = (gates + self._gates_of_state(states[0], training)).chunk(4, 1)
        i, f = self.recurrent_activation(i), self.recurrent_activation(f)
        carry = f * states[1] + i * self.activation(c)
        return [self.recurrent_activation(o) * self.activation(carry), carry]

    def call(self, inputs: Any, states: Any, training: Any = False) -> Any:
        last = self.data_format == "channels_last"
        x, *before = (channels_first(t) if last else t for t in (inputs, *states))
        made = self._step(self._gates_of_inputs(x, training), before, training)
        made = [channels_last(t) for t in made] if last else made
        return made[0], made

    def compute_output_shape(self, input_shape: Any, states_shape: Any = None) -> Any:
        sizes = self._output_sizes(input_shape)
        one = with_channels(input_shape, sizes, self.filters, self.data_format)
        return one, [one, one]


class ConvLSTM(RNN):
    """What the three layers share."""

    _flat = False
    rank: int
    cell: ConvLSTMCell

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
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
        **kwargs: Any,
    ) -> None:
        given = locals()
        options = {name: given[name] for name in (*_OF_CELL, *_OPTIONS)}
        cell = ConvLSTMCell(self.rank, options, dtype=kwargs.get("dtype"), name="conv_lstm_cell")
        super().__init__(
            cell,
            **{name: given[name] for name in _OF_RNN},
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self.input_spec = InputSpec(ndim=self.rank + 3)

    def _scan(self, sequences: Any, states: list[Any], mask: Any, training: Any) -> tuple:
        """The images of all steps are convolved in one call, the states step by step."""
        cell, count = self.cell, sequences.shape[1]
        if mask is not None or not count:
            return super()._scan(sequences, states, mask, training)
        last = cell.data_format == "channels_last"
        x = sequences.reshape(-1, *sequences.shape[2:])
        gates = cell._gates_of_inputs(channels_first(x) if last else x, training)
        steps = gates.reshape(-1, count, *gates.shape[1:]).unbind(1)
        states = [channels_first(t) if last else t for t in states]
        outputs = []
        for step in reversed(steps) if self.go_backwards else steps:
            states = cell._step(step, states, training)
            outputs.append(states[0])
        states = [channels_last(t) for t in states] if last else states
        if not self.return_sequences:
            return states[0], states[0], states
        made = tg.stack(outputs, 1)
        if last:
            made = made.permute(0, 1, *range(3, made.ndim), 2)
        return made, states[0], states

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
        batch, steps, *rest = sequences_shape
        one = self.cell.compute_output_shape((batch, *rest))[0]
        made = (batch, steps, *one[1:]) if self.return_sequences else one
        return (made, one, one) if self.return_state else made

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for name in ("cell", "zero_output_for_mask", "unroll"):
            del config[name]
        cell = self.cell
        return {
            **config,
            "filters": cell.filters,
            **cell._geometry_config(),
            "recurrent_activation": activations.serialize(cell.recurrent_activation),
            "unit_forget_bias": cell.unit_forget_bias,
            "dropout": cell.dropout,
            "recurrent_dropout": cell.recurrent_dropout,
            "seed": cell.seed,
        }


class ConvLSTM1D(ConvLSTM):
    """LSTM of sequences (Shi et al., 2015). Shapes: (N, steps, rows, channels) to (N, new rows,
    filters), with ``return_sequences`` to (N, steps, new rows, filters). Raises ValueError for an
    open number of rows and for options that a convolution refuses."""

    rank = 1


class ConvLSTM2D(ConvLSTM):
    """LSTM of images. Shapes: (N, steps, height, width, channels) to (N, new height, new width,
    filters), with ``return_sequences`` to (N, steps, ...). Errors are those of
    :class:`ConvLSTM1D`."""

    rank = 2


class ConvLSTM3D(ConvLSTM):
    """LSTM of volumes. Shapes: (N, steps, depth, height, width, channels) to (N, ..., filters),
    with ``return_sequences`` to (N, steps, ..., filters). Errors are those of
    :class:`ConvLSTM1D`."""

    rank = 3


own_module(globals())
