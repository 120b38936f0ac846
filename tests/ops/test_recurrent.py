"""Whole-sequence LSTM, GRU and RNN: values, gradients and complaints against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, check, check_error, randn

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
CELLS = list(GATES)


def parameters(cell, size, hidden, layers=1, directions=1, bias=True, dtype=np.float64, proj=0):
    """The weights in the order of the functions, small enough that nothing explodes."""
    arrays = []
    width, state = GATES[cell] * hidden, proj or hidden
    scale = 0.7 / np.sqrt(hidden)
    for layer in range(layers):
        for direction in range(directions):
            seed = 10 * layer + 5 * direction
            inner = size if layer == 0 else state * directions
            shapes = [(width, inner), (width, state)] + [(width,)] * (2 * bias)
            shapes += [(proj, hidden)] * (proj > 0)
            arrays += [scale * randn(*s, seed=seed + i) for i, s in enumerate(shapes)]
    return [x.astype(dtype) for x in arrays]


def states(cell, layers, batch, hidden, dtype=np.float64, proj=0):
    shapes = [(layers, batch, proj or hidden)] + [(layers, batch, hidden)] * (cell == "lstm")
    return [randn(*s, seed=50 + i).astype(dtype) for i, s in enumerate(shapes)]


def program(cell, count, layers=1, bidirectional=False, batch_first=False, bias=True):
    """The function as ``check`` wants it: (m, x, states..., weights...)."""

    def run(m, x, *arrays):
        hx, params = arrays[:count], list(arrays[count:])
        hx = tuple(hx) if cell == "lstm" else hx[0]
        return getattr(m, cell)(x, hx, params, bias, layers, 0.0, True, bidirectional, batch_first)

    return run


# steps, batch, input size, hidden size, layers, directions
SHAPES = [
    (1, 1, 1, 1, 1, 1),
    (5, 3, 2, 7, 1, 1),
    (4, 13, 5, 37, 2, 2),
    (3, 64, 8, 33, 1, 1),
    (2, 31, 3, 70, 1, 2),
    (6, 2, 4, 16, 3, 1),
]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", CELLS)
def test_like_pytorch(cell, shape, dtype):
    steps, batch, size, hidden, layers, directions = shape
    first = states(cell, layers * directions, batch, hidden, dtype)
    weights = parameters(cell, size, hidden, layers, directions, dtype=dtype)
    x = randn(steps, batch, size, seed=70).astype(dtype)
    run = program(cell, len(first), layers, directions == 2)
    tolerance = 1e-10 if dtype is np.float64 else 5e-5
    check(run, x, *first, *weights, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("cell", CELLS)
def test_batch_first_no_bias_and_strided_input(cell):
    first, weights = states(cell, 1, 5, 6), parameters(cell, 4, 6, bias=False)
    run = program(cell, len(first), batch_first=True, bias=False)
    check(run, randn(5, 7, 4), *first, *weights, rtol=1e-10)
    x = np.asfortranarray(randn(5, 7, 4))
    strided = [np.asfortranarray(w) for w in weights]
    check(run, x, *[np.asfortranarray(s) for s in first], *strided, rtol=1e-10)


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_packed_sequences(cell, directions):
    sizes = [9, 9, 7, 3, 3, 1]  # 9 sequences in blocks of 6; several begin and end together
    rows, batch, hidden = sum(sizes), sizes[0], 11
    first = states(cell, directions, batch, hidden)
    weights = parameters(cell, 4, hidden, 1, directions)
    count = len(first)

    def run(m, x, *arrays):
        hx = tuple(arrays[:count]) if cell == "lstm" else arrays[0]
        return getattr(m, cell)(
            x,
            m.tensor(sizes, device="cpu"),
            hx,
            list(arrays[count:]),
            True,
            1,
            0.0,
            True,
            directions == 2,
        )

    check(run, randn(rows, 4), *first, *weights, rtol=1e-10)


@pytest.mark.parametrize("cell", CELLS)
def test_only_the_final_state_is_used(cell):
    first, weights = states(cell, 1, 3, 5), parameters(cell, 4, 5)
    run = program(cell, len(first))
    check(lambda m, *a: run(m, *a)[1:], randn(4, 3, 4), *first, *weights, rtol=1e-10)


@pytest.mark.parametrize("wanted", range(7))
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_one_gradient_at_a_time(cell, wanted):
    first, weights = states(cell, 1, 20, 5), parameters(cell, 4, 5)
    arrays = [randn(3, 20, 4), *first, *weights]
    wanted = min(wanted, len(arrays) - 1)

    def only(m, *tensors):
        tensors = [t.detach() for t in tensors]
        tensors[wanted].requires_grad_()
        outputs = program(cell, len(first))(m, *tensors)
        return m.autograd.grad(sum((y * y).sum() for y in outputs), tensors[wanted])

    check(only, *arrays, grad=False, rtol=1e-10)


@pytest.mark.parametrize("cell", CELLS)
def test_double_backward(cell):
    first, weights = states(cell, 2, 3, 4), parameters(cell, 2, 4, 1, 2)
    run = program(cell, len(first), bidirectional=True)

    def second(m, x, *arrays):
        loss = sum((y * y).sum() for y in run(m, x, *arrays))
        grads = m.autograd.grad(loss, (x, *arrays), create_graph=True)
        return sum((g * g).sum() for g in grads)

    check(second, randn(3, 3, 2), *first, *weights, rtol=1e-9, atol=1e-9)


def test_gradcheck_of_the_second_derivative_with_related_inputs():
    """One tensor is input, state and part of a weight: no path is counted twice."""
    w = [tg.from_numpy(a) for a in parameters("lstm", 3, 3)]

    def function(x):
        weight = w[1] * x.sum()
        return tg.lstm(
            x, (x[:1] * 2, x[1:2]), [w[0], weight, *w[2:]], True, 1, 0.0, True, False, False
        )[0]

    x = tg.from_numpy(0.5 * randn(3, 2, 3)).requires_grad_()
    assert tg.autograd.gradcheck(function, (x,))
    assert tg.autograd.gradgradcheck(function, (x,))


def test_packed_double_backward():
    weights = parameters("gru", 3, 4)
    sizes = [3, 2, 2]

    def second(m, x, h, *params):
        y, last = m.gru(
            x, m.tensor(sizes, device="cpu"), h, list(params), True, 1, 0.0, True, False
        )
        grads = m.autograd.grad((y * y).sum() + last.sum(), (x, h, *params), create_graph=True)
        return sum((g * g).sum() for g in grads)

    check(second, randn(7, 3), randn(1, 3, 4), *weights, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("directions", [1, 2])
def test_projected_lstm(directions):
    first = states("lstm", 2 * directions, 3, 6, proj=2)
    weights = parameters("lstm", 4, 6, 2, directions, proj=2)
    check(program("lstm", 2, 2, directions == 2), randn(5, 3, 4), *first, *weights, rtol=1e-9)


# steps, batch, input size, hidden size, size after the projection
PROJECTIONS = [(1, 1, 1, 2, 1), (5, 40, 3, 37, 13), (3, 70, 40, 70, 33), (300, 2, 2, 5, 3)]


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [*PROJECTIONS, (3, 0, 4, 6, 2)])
def test_projections(shape, dtype):
    steps, batch, size, hidden, proj = shape
    first = states("lstm", 1, batch, hidden, dtype, proj)
    weights = parameters("lstm", size, hidden, dtype=dtype, proj=proj)
    x = randn(steps, batch, size, seed=70).astype(dtype)
    tolerance = 1e-10 if dtype is np.float64 else 2e-4
    check(program("lstm", 2), x, *first, *weights, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("wanted", range(8))
def test_one_gradient_of_a_projected_lstm(wanted):
    first, weights = states("lstm", 1, 9, 5, proj=3), parameters("lstm", 4, 5, proj=3)

    def only(m, *tensors):
        tensors = [t.detach() for t in tensors]
        tensors[wanted].requires_grad_()
        outputs = program("lstm", 2)(m, *tensors)
        return m.autograd.grad(sum((y * y).sum() for y in outputs), tensors[wanted])

    check(only, randn(3, 9, 4), *first, *weights, grad=False, rtol=1e-10)


def test_projected_packed_sequences():
    sizes = [9, 9, 7, 3, 3, 1]
    first, weights = states("lstm", 2, 9, 11, proj=4), parameters("lstm", 4, 11, 1, 2, proj=4)

    def run(m, x, *arrays):
        hx, params = tuple(arrays[:2]), list(arrays[2:])
        return m.lstm(x, m.tensor(sizes, device="cpu"), hx, params, True, 1, 0.0, True, True)

    check(run, randn(sum(sizes), 4), *first, *weights, rtol=1e-10)


def test_projected_double_backward():
    first, weights = states("lstm", 1, 3, 4, proj=2), parameters("lstm", 2, 4, proj=2)

    def second(m, x, *arrays):
        loss = sum((y * y).sum() for y in program("lstm", 2)(m, x, *arrays))
        grads = m.autograd.grad(loss, (x, *arrays), create_graph=True)
        return sum((g * g).sum() for g in grads)

    check(second, randn(3, 3, 2), *first, *weights, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_cells(cell, bias):
    first, weights = states(cell, 7, 5, 5), parameters(cell, 3, 5, bias=bias)
    first = [x[:, 0] for x in first]

    def run(m, x, *arrays):
        hx = tuple(arrays[: len(first)])
        function = getattr(m, f"{cell}_cell")
        return function(x, hx if cell == "lstm" else hx[0], *arrays[len(first) :])

    check(run, randn(7, 3), *first, *weights, rtol=1e-10)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity(cell, value):
    first = states(cell, 1, 4, 19, np.float32)
    weights = parameters(cell, 3, 19, dtype=np.float32)
    x = randn(3, 4, 3, dtype=np.float32)
    x[1, 2, 1] = value
    with np.errstate(invalid="ignore"):
        check(program(cell, len(first)), x, *first, *weights, grad=False)


@pytest.mark.parametrize("cell", CELLS)
def test_no_sequences(cell):
    first, weights = states(cell, 1, 0, 5), parameters(cell, 3, 5)
    check(program(cell, len(first)), randn(4, 0, 3), *first, *weights, grad=False)


@pytest.mark.host("threads are the CPU's")
@pytest.mark.parametrize("cell", CELLS)
def test_every_number_of_threads_gives_the_same_bits(cell):
    first = [tg.from_numpy(x) for x in states(cell, 2, 50, 20, np.float32)]
    weights = [tg.from_numpy(w) for w in parameters(cell, 8, 20, 1, 2, dtype=np.float32)]
    x = tg.from_numpy(randn(6, 50, 8, dtype=np.float32))
    before, results = tg.get_num_threads(), []
    for threads in (1, 2, 3, 8):
        tg.set_num_threads(threads)
        leaves = [t.clone().requires_grad_() for t in (x, *first, *weights)]
        outputs = program(cell, len(first), bidirectional=True)(tg, *leaves)
        sum(y.sum() for y in outputs).backward()
        results.append([as_array(t) for t in outputs] + [as_array(t.grad) for t in leaves])
    tg.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_change_of_the_output_is_noticed():
    first, weights = states("gru", 1, 2, 3), parameters("gru", 2, 3)
    tensors = [tg.from_numpy(a).requires_grad_() for a in (randn(3, 2, 2), *first, *weights)]
    y, _ = program("gru", 1)(tg, *tensors)
    total = (y * 2).sum()
    y.detach().zero_()
    check_error(RuntimeError, "modified by an inplace operation", total.backward)


def test_the_graph_can_be_walked_twice():
    tensors = [
        tg.from_numpy(a).requires_grad_() for a in (randn(3, 2, 2), *states("lstm", 1, 2, 3))
    ]
    weights = [tg.from_numpy(a).requires_grad_() for a in parameters("lstm", 2, 3)]
    y = program("lstm", 2)(tg, *tensors, *weights)[0].sum()
    y.backward(retain_graph=True)
    once = [as_array(w.grad).copy() for w in weights]
    y.backward()
    for w, g in zip(weights, once, strict=True):
        np.testing.assert_array_equal(as_array(w.grad), 2 * g)


def call(m, cell="lstm", x=(3, 2, 4), h=(1, 2, 5), wh=None, dtype="float32", sizes=None):
    gates = GATES[cell]
    wh = wh or (gates * 5, 5)
    params = [m.zeros(gates * 5, 4), m.zeros(*wh, dtype=getattr(m, dtype))]
    hx = (m.zeros(*h), m.zeros(*h)) if cell == "lstm" else m.zeros(*h)
    x = m.zeros(*x)
    if sizes is not None:
        return getattr(m, cell)(x, sizes, hx, params, False, 1, 0.0, True, False)
    return getattr(m, cell)(x, hx, params, False, 1, 0.0, True, False, False)


COMPLAINTS = [
    ({"x": (0, 2, 4)}, "sequence length to be larger than 0"),
    ({"cell": "gru", "x": (3, 2, 3)}, ""),
    ({"cell": "gru", "wh": (15, 4)}, ""),
    ({"cell": "rnn_relu", "h": (1, 2, 4)}, ""),
    ({"cell": "gru", "dtype": "float64"}, ""),
]


@pytest.mark.parametrize(("arguments", "pattern"), COMPLAINTS)
def test_complaints_like_pytorch(arguments, pattern):
    for m in (tg, torch):
        check_error(RuntimeError, pattern, lambda m=m: call(m, **arguments))


def test_own_complaints():
    sizes = tg.tensor([2, 3], device="cpu")
    check_error(RuntimeError, "never grow", lambda: call(tg, x=(5, 4), h=(1, 3, 5), sizes=sizes))
    sizes = tg.tensor([2, 1], device="cpu")
    check_error(RuntimeError, "rows", lambda: call(tg, x=(5, 4), h=(1, 2, 5), sizes=sizes))
    sizes = tg.tensor([2.0, 1.0], device="cpu")
    check_error(RuntimeError, "int64", lambda: call(tg, x=(3, 4), h=(1, 2, 5), sizes=sizes))
    check_error(RuntimeError, "weight_hh", lambda: call(tg, dtype="float64"))
    check_error(RuntimeError, "expected a matrix", lambda: tg.gru_cell(*[tg.zeros(2)] * 4))
    check_error(TypeError, "expected a Tensor", lambda: tg.gru_cell(1, *[tg.zeros(2)] * 3))
    zeros = [tg.zeros(2, 3), tg.zeros(3, 3), tg.zeros(9, 3), tg.zeros(9, 3)]
    check_error(RuntimeError, "one batch size", lambda: tg.gru_cell(*zeros))


@pytest.mark.host("only there numbers below the normal ones cost time")
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_gradients_that_vanish_are_zero(kind):
    tg.manual_seed(0)
    layer = getattr(tg.nn, kind)(8, 8, batch_first=True)
    x = tg.randn(2, 300, 8, requires_grad=True)
    layer(x)[0][:, -1].sum().backward()
    sizes = x.grad.abs()
    assert (sizes[:, -1] > 0).all() and not sizes[:, 0].any()
    smallest = tg.finfo(tg.float32).tiny
    # A row of the input's gradient is a product of others, the least of which are normal numbers.
    assert (sizes[sizes > 0] > smallest * 1e-3).all()
