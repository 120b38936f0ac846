"""nn.LSTM, GRU, RNN and their cells, and nn.utils.rnn, against PyTorch."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, assert_same, check, check_error, flatten, randn

OPTIONS = [
    ("LSTM", {}),
    ("LSTM", {"num_layers": 2, "bidirectional": True, "batch_first": True}),
    ("LSTM", {"proj_size": 2, "num_layers": 2}),
    ("LSTM", {"bias": False}),
    ("GRU", {}),
    ("GRU", {"num_layers": 2, "bidirectional": True}),
    ("GRU", {"batch_first": True, "bias": False}),
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu", "num_layers": 3, "batch_first": True}),
    ("RNN", {"bidirectional": True}),
]


def pair(name, *args, **options):
    """The same layer in both libraries, with PyTorch's float64 weights."""
    theirs = getattr(torch.nn, name)(*args, **options).double()
    ours = getattr(tg.nn, name)(*args, **options).double()
    ours.load_state_dict({k: tg.from_numpy(as_array(v)) for k, v in theirs.state_dict().items()})
    return ours, theirs


def compare(ours, theirs, run):
    """run(m, layer) gives the same values and parameter gradients with both."""
    results = []
    for m, layer in ((tg, ours), (torch, theirs)):
        outputs = flatten(run(m, layer))
        floats = [y for y in outputs if y.requires_grad]
        sum((y * y).sum() for y in floats).backward()
        results.append(outputs + [p.grad for p in layer.parameters()])
    for i, (a, b) in enumerate(zip(*results, strict=True)):
        assert_same(a, b, 1e-9, 1e-9, f"result {i}")


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_parameters_and_repr(name, options):
    ours, theirs = (getattr(m.nn, name)(3, 5, **options) for m in (tg, torch))
    assert [(k, tuple(p.shape)) for k, p in ours.named_parameters()] == [
        (k, tuple(p.shape)) for k, p in theirs.named_parameters()
    ]
    assert repr(ours) == repr(theirs)
    assert [len(w) for w in ours.all_weights] == [len(w) for w in theirs.all_weights]
    assert all(float(p.abs().max()) <= 5**-0.5 for p in ours.parameters())
    ours.flatten_parameters()


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_forward_and_gradients(name, options, batched, given):
    ours, theirs = pair(name, 3, 5, **options)
    places = ours.num_layers * (2 if ours.bidirectional else 1)
    x = randn(4, 6, 3) if batched else randn(4, 3)
    batch = (4 if ours.batch_first else 6,) if batched else ()
    sizes = [ours.proj_size or 5] + [5] * (name == "LSTM")
    hx = [randn(places, *batch, size, seed=i) for i, size in enumerate(sizes)]

    def run(m, layer):
        if not given:
            return layer(m.from_numpy(x))
        state = tuple(m.from_numpy(h) for h in hx)
        return layer(m.from_numpy(x), state if name == "LSTM" else state[0])

    compare(ours, theirs, run)


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_packed(name, options, in_order, given):
    ours, theirs = pair(name, 3, 5, **options)
    places = ours.num_layers * (2 if ours.bidirectional else 1)
    lengths = [6, 5, 5, 2, 1] if in_order else [2, 5, 1, 6, 5]
    sequences = [randn(n, 3, seed=n) for n in lengths]
    sizes = [ours.proj_size or 5] + [5] * (name == "LSTM")
    hx = [randn(places, 5, size, seed=i) for i, size in enumerate(sizes)]

    def run(m, layer):
        rnn = m.nn.utils.rnn
        packed = rnn.pack_sequence([m.from_numpy(s) for s in sequences], enforce_sorted=in_order)
        state = tuple(m.from_numpy(h) for h in hx)
        state = (state if name == "LSTM" else state[0],) if given else ()
        output, final = layer(packed, *state)
        return *rnn.pad_packed_sequence(output, batch_first=True), final

    compare(ours, theirs, run)


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("name", "options"), [("LSTMCell", {}), ("GRUCell", {}), ("RNNCell", {}),
                          ("RNNCell", {"nonlinearity": "relu"})]
)  # fmt: skip
def test_cells(name, options, bias, batched, given):
    ours, theirs = pair(name, 3, 5, bias=bias, **options)
    assert repr(ours) == repr(theirs)
    lead = (4,) if batched else ()

    def run(m, cell):
        state = [m.from_numpy(randn(*lead, 5, seed=i)) for i in range(2)]
        hx = ((tuple(state) if name == "LSTMCell" else state[0]),) if given else ()
        return cell(m.from_numpy(randn(*lead, 3)), *hx)

    compare(ours, theirs, run)


def test_dropout_between_layers():
    layer = tg.nn.LSTM(3, 40, 2, dropout=0.5)
    x = tg.randn(5, 8, 3)
    tg.manual_seed(0)
    a = layer(x)[0]
    b = layer(x)[0]
    assert not tg.equal(a, b)
    layer.eval()
    assert tg.equal(layer(x)[0], layer(x)[0])
    always = tg.nn.GRU(3, 4, 2, dropout=1.0)  # the second layer sees nothing but zeros
    one = tg.nn.GRU(3, 4, 2, dropout=1.0)
    one.load_state_dict(always.state_dict())
    assert tg.equal(always(x)[0], one(x * 2)[0])
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        tg.nn.GRU(3, 4, dropout=0.5)


def test_copies_and_dtypes():
    layer = tg.nn.GRU(3, 4, bidirectional=True)
    x = tg.randn(5, 2, 3)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert tg.equal(twin(x)[0], layer(x)[0])
    assert layer.double()(x.double())[0].dtype is tg.float64


def test_padding_and_packing():
    arrays = [randn(n, 2, seed=n) for n in (2, 5, 1)]
    for batch_first in (False, True):
        for side in ("left", "right"):
            check(lambda m, *s, b=batch_first, p=side: m.nn.utils.rnn.pad_sequence(s, b, 7.0, p),
                  *arrays)  # fmt: skip

        def packed(m, x, b=batch_first):
            rnn = m.nn.utils.rnn
            p = rnn.pack_padded_sequence(x, m.tensor([2, 4, 1]), b, enforce_sorted=False)
            return *p, *rnn.pad_packed_sequence(p, b, -1.0, 6), *rnn.unpack_sequence(p)

        check(packed, randn(3, 4, 2) if batch_first else randn(4, 3, 2))
    check(lambda m, x: m.nn.utils.rnn.pack_padded_sequence(x, [4, 4]).data, randn(4, 2, 1, 3))
    check(lambda m, *s: m.nn.utils.rnn.unpad_sequence(m.nn.utils.rnn.pad_sequence(s, True),
          m.tensor([2, 5, 1]), True), *arrays)  # fmt: skip


def test_packed_sequence_object():
    rnn = tg.nn.utils.rnn
    p = rnn.pack_sequence([tg.ones(1, 2), tg.ones(3, 2)], enforce_sorted=False)
    assert isinstance(p, tuple) and p._fields == (
        "data", "batch_sizes", "sorted_indices", "unsorted_indices")  # fmt: skip
    assert p.float() is p and p.double().data.dtype is tg.float64 and not p.cpu().is_cuda
    assert p.batch_sizes.tolist() == [2, 1, 1] and p.sorted_indices.tolist() == [1, 0]
    assert tg.equal(rnn.PackedSequence((p.data, p.batch_sizes)).data, p.data)
    assert rnn.invert_permutation(tg.tensor([2, 0, 1])).tolist() == [1, 2, 0]
    assert rnn.invert_permutation(None) is None


COMPLAINTS = [
    (lambda m, r: r.pack_padded_sequence(m.zeros(4, 3, 2), [2, 3, 1]), "must be sorted"),
    (lambda m, r: r.pack_padded_sequence(m.zeros(4, 3, 2), [3, 2]), "equal to batch_size"),
    (lambda m, r: r.pack_padded_sequence(m.zeros(4, 3, 2), [3, 2, 0]), "greater than 0"),
    (lambda m, r: r.pack_padded_sequence(m.zeros(0, 3, 2), [3, 2, 1]), "empty tensors"),
    (lambda m, r: r.pack_padded_sequence(m.zeros(4, 3, 2), m.tensor([[3, 2, 1]])), "1D CPU int64"),
    (lambda m, r: r.pad_sequence([]), "empty list"),
    (lambda m, r: r.pad_sequence(3), "Expected iterable"),
    (lambda m, r: r.pad_sequence([m.zeros(2)], padding_side="x"), "left or right"),
    (lambda m, r: r.pad_sequence([m.zeros(2, 3), m.zeros(2, 4)]), ""),
    (lambda m, r: r.pad_packed_sequence(r.pack_sequence([m.zeros(3, 1)]), total_length=2),
     "at least the length"),
    (lambda m, r: r.unpad_sequence(m.zeros(3, 2), m.tensor([1, 2, 3])), ""),
    (lambda m, r: r.PackedSequence(m.zeros(2)), "list or tuple of length 2"),
    (lambda m, r: m.nn.LSTM(2, 3)(m.zeros(0, 3, 2)), "larger than 0"),
    (lambda m, r: m.nn.LSTM(2, 3)(m.zeros(1, 2, 3, 2)), "2D or 3D"),
    (lambda m, r: m.nn.LSTM(2, 3)(m.zeros(3, 2, 4)), "Expected 2, got 4"),
    (lambda m, r: m.nn.LSTM(2, 3)(m.zeros(3, 2, 2).double()), "does not match weight dtype"),
    (lambda m, r: m.nn.LSTM(2, 3)(m.zeros(3, 2, 2), (m.zeros(1, 3, 3), m.zeros(1, 2, 3))),
     r"Expected hidden\[0\] size \(1, 2, 3\), got \[1, 3, 3\]"),
    (lambda m, r: m.nn.GRU(2, 3)(m.zeros(3, 2), m.zeros(1, 1, 3)), "should also be 2-D"),
    (lambda m, r: m.nn.GRU(2, 3)(m.zeros(3, 2, 2), m.zeros(1, 3)), "should also be 3-D"),
    (lambda m, r: m.nn.GRU(2, 3)(r.pack_sequence([m.zeros(3, 2)]), m.zeros(1, 2, 3)),
     "Expected hidden size"),
    (lambda m, r: m.nn.GRU(2, 3, proj_size=1), "only supported for LSTM"),
    (lambda m, r: m.nn.RNN(2, 3, nonlinearity="x"), "Unknown nonlinearity"),
    (lambda m, r: m.nn.LSTM(2, 3, num_layers=0), "greater than zero"),
    (lambda m, r: m.nn.LSTM(2, 0), "greater than zero"),
    (lambda m, r: m.nn.LSTM(2.5, 3), "of type int"),
    (lambda m, r: m.nn.LSTM(2, 3, bias=1), "of type bool"),
    (lambda m, r: m.nn.LSTM(2, 3, dropout=2.0), "dropout should be"),
    (lambda m, r: m.nn.LSTM(2, 3, proj_size=3), "smaller than hidden_size"),
    (lambda m, r: m.nn.LSTMCell(2, 3)(m.zeros(2, 2, 2)), "1D or 2D"),
    (lambda m, r: m.nn.LSTMCell(2, 3)(m.zeros(2, 4)), "got 4 expected 2"),
    (lambda m, r: m.nn.GRUCell(2, 3)(m.zeros(2, 2), m.zeros(2, 4)), "got 4, expected 3"),
    (lambda m, r: m.nn.GRUCell(2, 3)(m.zeros(2, 2), m.zeros(3, 3)), "batch size 3"),
    (lambda m, r: m.nn.GRUCell(2, 3)(m.zeros(2, 2), m.zeros(2, 3, 1)), "got 3D"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "pattern"), COMPLAINTS)
def test_complaints_like_pytorch(call, pattern):
    with pytest.raises(Exception) as theirs:
        call(torch, torch.nn.utils.rnn)
    check_error(type(theirs.value), pattern, lambda: call(tg, tg.nn.utils.rnn))


def test_lengths_beyond_the_input():
    rnn = tg.nn.utils.rnn
    check_error(
        RuntimeError, "longer than", lambda: rnn.pack_padded_sequence(tg.zeros(2, 1, 1), [3])
    )


def test_an_lstm_learns_to_remember():
    """The first number of a sequence, from the final state."""
    tg.manual_seed(1)
    rng = np.random.default_rng(0)
    layer, head = tg.nn.LSTM(1, 16), tg.nn.Linear(16, 1)
    optimizer = tg.optim.Adam([*layer.parameters(), *head.parameters()], lr=0.02)
    for _ in range(150):
        x = tg.from_numpy(rng.standard_normal((6, 64, 1), np.float32))
        loss = ((head(layer(x)[0][-1]) - x[0]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss) < 0.1  # a constant guess reaches 1
