"""Recurrent layers over whole sequences: lstm, gru, rnn_tanh, rnn_relu, and single cells.

One layer in one direction is one op. The projections of all steps' inputs are one matrix product,
the kernel walks the steps, and the gradients of the weights are again one product each.

Inside, sequences are packed as in ``nn.utils.rnn``: the rows of all steps lie one after the other,
step t has ``batch_sizes[t]`` of them, or the whole batch if ``batch_sizes`` is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import _C, _autocast
from ..autograd.graph import needs_grad, record
from ..tensor import Tensor
from ._register import takes_tensors
from .activation import relu, sigmoid, tanh
from .dropout import dropout as _dropout
from .join import cat, chunk, split, stack
from .matmul import linear, matmul
from .view import narrow

__all__ = ["gru", "gru_cell", "lstm", "lstm_cell"]
__all__ += ["rnn_relu", "rnn_relu_cell", "rnn_tanh", "rnn_tanh_cell"]

# A layer's arguments: h_0 (batch, state) and c_0 (batch, hidden), c_0 None but for LSTM; weight_ih
# (gates * hidden, in), weight_hh (gates * hidden, state), biases (gates * hidden) or None, and
# weight_hr (state, hidden), the projection of an LSTM's h, or None where state is hidden.


def _layer(
    cell: str,
    input: Any,
    h_0: Any,
    c_0: Any,
    weights: Sequence[Any],
    batch_sizes: Any,
    reverse: bool,
) -> tuple:
    """(y, h_n, c_n) of one layer in one direction: input (rows, in), y (rows, hidden)."""
    weight_ih, weight_hh, bias_ih, bias_hh, weight_hr = weights
    projections = None if _C.recurrent_projects(h_0) else _C.linear(input, weight_ih, bias_ih)
    gates, y, h_n, c_n, cells, candidate = _C.recurrent_forward(
        cell, input, projections, weight_ih, bias_ih, weight_hh, bias_hh, weight_hr, h_0, c_0,
        batch_sizes, reverse,
    )  # fmt: skip
    inputs = (input, h_0, c_0, weight_ih, weight_hh, bias_ih, bias_hh, weight_hr)
    if needs_grad(*inputs):
        saved = (*inputs, y, gates, cells, candidate)
        record((y, h_n, c_n), recurrent_backward, inputs, (*saved, cell, batch_sizes, reverse))
    return y, h_n, c_n


def recurrent_backward(node: Any, grad_y: Any, grad_h_n: Any, grad_c_n: Any) -> tuple:
    if _C.is_grad_enabled():  # the gradient is to be differentiated: built from other ops
        return _recorded_backward(node, (grad_y, grad_h_n, grad_c_n))
    input, h_0, c_0, weight_ih, weight_hh, _, _, weight_hr, *rest = node.saved
    y, gates, cells, candidate, cell, batch_sizes, reverse = rest
    arguments = (cell, gates, y, cells, candidate, weight_hh, h_0, c_0, batch_sizes, reverse)
    both = node.needs(3) and node.needs(4)
    if weight_hr is not None or (both and _C.recurrent_sums_gradients(weight_ih, weight_hh)):
        found = _C.recurrent_gradients(
            *arguments, grad_y, grad_h_n, grad_c_n, input, weight_ih, weight_hr, node.needs(0)
        )
        return tuple(g if node.needs(i) else None for i, g in enumerate(found))
    # Without a GRU's difference between the two products, both weights' gradients are one matrix.
    joined = input if cell != "gru" and node.needs(3) and node.needs(4) else None
    grad_gates, grad_product, h_previous, grad_h_0, grad_c_0 = _C.recurrent_backward(
        *arguments, grad_y, grad_h_n, grad_c_n, joined
    )
    grad_bias_ih = grad_gates.sum(0) if node.needs(5) else None
    grad_bias_hh = None
    if node.needs(6):
        if cell == "gru" or grad_bias_ih is None:
            grad_bias_hh = grad_product.sum(0)
        else:
            grad_bias_hh = grad_bias_ih.clone()
    if joined is not None:
        both = matmul(grad_gates.t(), h_previous)
        grad_weight_ih, grad_weight_hh = split(both, [input.shape[1], h_0.shape[1]], 1)
    else:
        grad_weight_ih = matmul(grad_gates.t(), input) if node.needs(3) else None
        grad_weight_hh = matmul(grad_product.t(), h_previous) if node.needs(4) else None
    return (
        matmul(grad_gates, weight_ih) if node.needs(0) else None,
        grad_h_0 if node.needs(1) else None,
        grad_c_0 if node.needs(2) else None,
        grad_weight_ih,
        grad_weight_hh,
        grad_bias_ih,
        grad_bias_hh,
        None,
    )


def _recorded_backward(node: Any, grads: tuple) -> tuple:
    """The gradient of the layer written with other ops, recorded."""
    from ..autograd import grad

    *inputs, _, _, _, _, cell, batch_sizes, reverse = node.saved
    needed = [node.needs(i) for i in range(len(inputs))]
    # Aliases: where one input was computed from another, that way is the outer graph's business.
    inputs = [x if x is None else x.view(x.shape) for x in inputs]
    input, h_0, c_0, *weights = inputs
    outputs = _composed_layer(cell, input, h_0, c_0, weights, batch_sizes, reverse)
    pairs = [(y, g) for y, g in zip(outputs, grads, strict=True) if g is not None]
    wanted = [x for x, need in zip(inputs, needed, strict=True) if need]
    found = iter(
        grad(
            [y for y, _ in pairs],
            wanted,
            [g for _, g in pairs],
            create_graph=True,
            allow_unused=True,
        )
    )
    return tuple(next(found) if need else None for need in needed)


def _composed_layer(
    cell: str,
    input: Any,
    h_0: Any,
    c_0: Any,
    weights: Sequence[Any],
    batch_sizes: Any,
    reverse: bool,
) -> tuple:
    """The layer step by step, from ops that can be differentiated any number of times."""
    weight_ih, weight_hh, bias_ih, bias_hh, weight_hr = weights
    batch, rows = h_0.shape[0], input.shape[0]
    sizes = [batch] * (rows // max(batch, 1)) if batch_sizes is None else batch_sizes.tolist()
    steps = list(split(linear(input, weight_ih, bias_ih), sizes))
    first = [h_0] if c_0 is None else [h_0, c_0]
    state, ended, outputs = first, [], []
    if reverse:
        steps.reverse()
        state = [x[: steps[0].shape[0]] for x in first]
    for gates in steps:
        active, known = gates.shape[0], state[0].shape[0]
        if active < known:  # the last sequences have ended
            ended.append([x[active:] for x in state])
            state = [x[:active] for x in state]
        elif active > known:  # walking backward: longer sequences begin
            begun = [x[known:active] for x in first]
            state = [cat((x, y)) for x, y in zip(state, begun, strict=True)]
        state = _step(cell, gates, state, linear(state[0], weight_hh, bias_hh), weight_hr)
        outputs.append(state[0])
    if reverse:
        outputs.reverse()
    ended.append(state)
    final = [cat([part[k] for part in reversed(ended)]) for k in range(len(state))]
    return cat(outputs), final[0], final[1] if len(final) > 1 else None


def _step(cell: str, gates: Any, state: list, product: Any, weight_hr: Any) -> list:
    """The next state, from the projected input and the recurrent product."""
    h = state[0]
    if cell == "lstm":
        input, forget, new, output = chunk(gates + product, 4, 1)
        c = sigmoid(forget) * state[1] + sigmoid(input) * tanh(new)
        h = sigmoid(output) * tanh(c)
        return [h if weight_hr is None else linear(h, weight_hr), c]
    if cell == "gru":
        size = h.shape[1]
        both = sigmoid(narrow(gates, 1, 0, 2 * size) + narrow(product, 1, 0, 2 * size))
        reset, update = chunk(both, 2, 1)
        new = tanh(narrow(gates, 1, 2 * size, size) + reset * narrow(product, 1, 2 * size, size))
        return [new + update * (h - new)]
    return [tanh(gates + product) if cell == "rnn_tanh" else relu(gates + product)]


def _in_autocast(cell: str, hx: Any, function: Any, *args: Any) -> Any:
    """In mixed precision all cells compute in the small dtype on CUDA devices. On the CPU the plain
    ones do, and layers of LSTM over sequences of one length; the other gated ones, whose states are
    sums over all steps, compute in float32, with results of the states' dtype. Those are PyTorch's
    dtypes."""
    state = hx if isinstance(hx, Tensor) else hx[0]
    if cell.startswith("rnn") or state.is_cuda or (cell == "lstm" and _is_whole(function, args)):
        return _autocast.lower(function, *args)
    result = _autocast.raised(function, *args)
    dtype = state.dtype
    return tuple(x.to(dtype) for x in result) if isinstance(result, tuple) else result.to(dtype)


def _is_whole(function: Any, args: tuple) -> bool:
    """Whether these are layers, without projections, over sequences that are not packed."""
    if function is not run_layers:
        return False
    batch_sizes, (h, c) = args[2:4]
    return batch_sizes is None and h.shape == c.shape


def run_layers(
    cell: str,
    input: Any,
    batch_sizes: Any,
    states: Sequence[Any],
    params: Sequence[Any],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
) -> tuple[Any, ...]:
    """All layers over packed rows: input (rows, in) -> (rows, out) and the final states.

    ``states`` is (h_0,), or (h_0, c_0) for LSTM, each (layers * directions, batch, hidden).
    """
    if _autocast.enabled and _autocast.is_on():
        rest = (params, has_biases, num_layers, dropout, train, bidirectional)
        return _in_autocast(cell, states, run_layers, cell, input, batch_sizes, states, *rest)
    directions = 2 if bidirectional else 1
    per_layer = len(params) // (num_layers * directions)
    finals: list[list[Any]] = [[] for _ in states]
    for layer in range(num_layers):
        outputs = []
        for direction in range(directions):
            k = layer * directions + direction
            weights = list(params[k * per_layer : (k + 1) * per_layer])
            if not has_biases:
                weights[2:2] = [None, None]
            first = [x[k] for x in states]
            y, *last = _layer(
                cell,
                input,
                first[0],
                first[1] if len(first) > 1 else None,
                (*weights, *[None] * (5 - len(weights))),
                batch_sizes,
                direction == 1,
            )
            outputs.append(y)
            for final, x in zip(finals, last, strict=False):
                final.append(x)
        input = outputs[0] if directions == 1 else cat(outputs, 1)
        if dropout > 0 and train and layer < num_layers - 1:
            input = _dropout(input, dropout)
    return input, *(x[0].unsqueeze(0) if len(x) == 1 else stack(x) for x in finals)


def _run(cell: str, args: tuple, single_state: bool) -> tuple:
    """Both forms of the functions below: one input of steps, or packed rows with batch sizes."""
    packed = isinstance(args[1], Tensor) and not (single_state and not isinstance(args[2], Tensor))
    if packed:
        data, batch_sizes, hx, *rest = args
        states = (hx,) if single_state else tuple(hx)
        return run_layers(cell, data, batch_sizes, states, *rest)
    input, hx, *rest, batch_first = args
    if input.ndim != 3:
        raise RuntimeError(f"{cell}: expected a 3D input, got shape {tuple(input.shape)}")
    if input.shape[1 if batch_first else 0] == 0:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    if batch_first:
        input = input.transpose(0, 1)
    steps, batch = input.shape[:2]
    states = (hx,) if single_state else tuple(hx)
    y, *finals = run_layers(cell, input.reshape(steps * batch, input.shape[2]), None, states, *rest)
    y = y.reshape(steps, batch, y.shape[1])
    return y.transpose(0, 1) if batch_first else y, *finals


@takes_tensors
def lstm(
    input: Any,
    hx: Any,
    params: Any,
    has_biases: Any,
    num_layers: Any,
    dropout: Any,
    train: Any,
    bidirectional: Any,
    batch_first: Any,
) -> tuple[Any, Any, Any]:
    """Long short-term memory: what :class:`nn.LSTM` computes. Returns (output, h_n, c_n).

    ``input`` is (steps, batch, in), or (batch, steps, in) with ``batch_first``; ``hx`` is (h_0,
    c_0), each (layers * directions, batch, hidden); ``params`` lists weight_ih, weight_hh and the
    biases of each layer and direction. Packed sequences: ``lstm(data, batch_sizes, hx, params,
    has_biases, num_layers, dropout, train, bidirectional)``.

    Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997). Raises RuntimeError for shapes and
    dtypes that do not match and for sequences without a step.
    """
    rest = (has_biases, num_layers, dropout, train, bidirectional, batch_first)
    return _run("lstm", (input, hx, params, *rest), False)


def _single_state_function(cell: str, summary: str) -> Any:
    def function(
        input: Any,
        hx: Any,
        params: Any,
        has_biases: Any,
        num_layers: Any,
        dropout: Any,
        train: Any,
        bidirectional: Any,
        batch_first: Any,
    ) -> tuple[Any, Any]:
        rest = (has_biases, num_layers, dropout, train, bidirectional, batch_first)
        return _run(cell, (input, hx, params, *rest), True)

    function.__name__ = function.__qualname__ = cell
    function.__doc__ = f"""{summary} Returns (output, h_n).

    The arguments are those of :func:`lstm`, but ``hx`` is h_0 alone. Raises RuntimeError for shapes
    and dtypes that do not match and for sequences without a step.
    """
    return takes_tensors(function)


gru = _single_state_function("gru", "Gated recurrent units: what :class:`nn.GRU` computes.")
rnn_tanh = _single_state_function("rnn_tanh", "The recurrent layer of Elman (1990), with tanh.")
rnn_relu = _single_state_function("rnn_relu", "The recurrent layer of Elman (1990), with ReLU.")


@takes_tensors
def lstm_cell(
    input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None
) -> tuple[Any, Any]:
    """One step of :func:`lstm`: input (batch, in), hx = (h, c), each (batch, hidden).

    Returns the next (h, c). Raises RuntimeError for shapes and dtypes that do not match.
    """
    if _autocast.enabled and _autocast.is_on():
        return _in_autocast("lstm", hx, lstm_cell, input, hx, w_ih, w_hh, b_ih, b_hh)
    h, c = hx
    _expect_matrices("lstm_cell", input=input, h=h, c=c)
    _, h, c = _layer("lstm", input, h, c, (w_ih, w_hh, b_ih, b_hh, None), None, False)
    return h, c


def _single_state_cell(cell: str) -> Any:
    def function(
        input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None
    ) -> Any:
        if _autocast.enabled and _autocast.is_on():
            return _in_autocast(cell, hx, function, input, hx, w_ih, w_hh, b_ih, b_hh)
        _expect_matrices(function.__name__, input=input, hx=hx)
        return _layer(cell, input, hx, None, (w_ih, w_hh, b_ih, b_hh, None), None, False)[1]

    function.__name__ = function.__qualname__ = f"{cell}_cell"
    function.__doc__ = f"""One step of :func:`{cell}`: input (batch, in), hx (batch, hidden).

    Returns the next state. Raises RuntimeError for shapes and dtypes that do not match.
    """
    return function


gru_cell = _single_state_cell("gru")
rnn_tanh_cell = _single_state_cell("rnn_tanh")
rnn_relu_cell = _single_state_cell("rnn_relu")


def _expect_matrices(op: str, **tensors: Any) -> None:
    for name, x in tensors.items():
        if not isinstance(x, Tensor):
            raise TypeError(f"{op}: argument '{name}': expected a Tensor, got {type(x).__name__}")
        if x.ndim != 2:
            raise RuntimeError(f"{op}: argument '{name}': expected a matrix, got {tuple(x.shape)}")
    batch = {x.shape[0] for x in tensors.values()}
    if len(batch) > 1:
        raise RuntimeError(f"{op}: expected one batch size, got {sorted(batch)}")
