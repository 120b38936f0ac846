"""Losses with margins, of likelihoods and of sequences; distances; random and lazy layers."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, check, check_error, randn

SIGNS = np.where(randn(4, 3, seed=9) > 0, 1.0, -1.0)
CLASSES = np.array([2, 0, 1, 2])
LABELS = np.array([[0, 2, -1], [1, -1, 0], [-1, 0, 1], [2, 1, 0]])
POSITIVE = np.exp(randn(4, 3, seed=8))

LOSSES = {
    "hinge_embedding_loss": (randn(4, 3), SIGNS),
    "soft_margin_loss": (randn(4, 3), SIGNS),
    "margin_ranking_loss": (randn(4, 3), randn(4, 3, seed=1), SIGNS),
    "multi_margin_loss": (randn(4, 3), CLASSES),
    "multilabel_margin_loss": (randn(4, 3), LABELS),
    "multilabel_soft_margin_loss": (randn(4, 3), (SIGNS + 1) / 2),
    "cosine_embedding_loss": (randn(4, 3), randn(4, 3, seed=1), SIGNS[:, 0].copy()),
    "triplet_margin_loss": (randn(4, 3), randn(4, 3, seed=1), randn(4, 3, seed=2)),
    "triplet_margin_with_distance_loss": (randn(4, 3), randn(4, 3, seed=1), randn(4, 3, seed=2)),
    "gaussian_nll_loss": (randn(4, 3), randn(4, 3, seed=1), POSITIVE),
    "poisson_nll_loss": (randn(4, 3), POSITIVE),
}


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, reduction):
    def loss(m, *tensors):
        *inputs, target = tensors
        target = target.detach() if name == "soft_margin_loss" else target
        return getattr(m.nn.functional, name)(*inputs, target, reduction=reduction)

    check(loss, *LOSSES[name], rtol=1e-10)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_refuse_other_reductions(name):
    def call(m):
        tensors = [m.from_numpy(x) for x in LOSSES[name]]
        return getattr(m.nn.functional, name)(*tensors, reduction="median")

    with pytest.raises(ValueError, match=r"not (a )?valid"):
        call(torch)
    check_error(ValueError, "not (a )?valid", lambda: call(tg))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("multi_margin_loss", {"p": 2, "margin": 0.5}),
        ("triplet_margin_loss", {"margin": 0.3, "p": 1, "swap": True}),
        ("triplet_margin_with_distance_loss", {"margin": 2.0, "swap": True}),
        ("gaussian_nll_loss", {"full": True, "eps": 0.9}),
        ("poisson_nll_loss", {"full": True}),
        ("hinge_embedding_loss", {"margin": 0.2}),
        ("cosine_embedding_loss", {"margin": -0.3}),
    ],
)
def test_options_of_losses(name, options):
    check(lambda m, *t: getattr(m.nn.functional, name)(*t, **options), *LOSSES[name], rtol=1e-10)


CTC_CASES = {
    "matrix": (np.array([[1, 2, 2], [3, 1, 0], [4, 4, 4]]), [7, 6, 7], [3, 2, 3]),
    "one after the other": (np.array([1, 2, 2, 3, 1, 4]), [7, 5, 4], [3, 2, 1]),
    "empty target": (np.array([[1, 2], [3, 3], [1, 1]]), [7, 7, 1], [2, 0, 0]),
    "too long": (np.array([[1, 1, 1], [2, 3, 4], [2, 2, 1]]), [4, 7, 2], [3, 3, 3]),
}


@pytest.mark.parametrize("zero_infinity", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", CTC_CASES)
def test_ctc(name, reduction, zero_infinity):
    targets, steps, lengths = CTC_CASES[name]
    grad = zero_infinity or name != "too long"

    def loss(m, scores, targets):
        log_probs = m.nn.functional.log_softmax(scores, 2)
        arguments = log_probs, targets, m.tensor(steps), m.tensor(lengths)
        return m.nn.functional.ctc_loss(
            *arguments, reduction=reduction, zero_infinity=zero_infinity
        )

    check(loss, randn(7, 3, 5), targets, rtol=1e-9, atol=1e-9, grad=grad)


def test_ctc_complaints():
    ctc = tg.nn.functional.ctc_loss
    scores, targets = tg.zeros(4, 2, 3), tg.ones(2, 2, dtype=tg.int64)
    for kind, pattern, call in [
        (RuntimeError, "blank must be", lambda: ctc(scores, targets, [4, 4], [2, 2], 3)),
        (RuntimeError, "input_lengths must be of size", lambda: ctc(scores, targets, [4], [2, 2])),
        (RuntimeError, "between 0 and 4", lambda: ctc(scores, targets, [4, 5], [2, 2])),
        (RuntimeError, "at dimension 1", lambda: ctc(scores, targets, [4, 4], [2, 3])),
        (ValueError, "not a valid value", lambda: ctc(scores, targets, [4, 4], [2, 2], 0, "max")),
    ]:  # fmt: skip
        check_error(kind, pattern, call)


DISTANCES = [
    lambda m, x, y: m.nn.functional.cosine_similarity(x, y),
    lambda m, x, y: m.nn.functional.cosine_similarity(x, y[:1], dim=0),
    lambda m, x, y: m.nn.functional.pairwise_distance(x, y, p=3.0, keepdim=True),
    lambda m, x, y: m.nn.functional.normalize(x, p=1.5, dim=0),
    lambda m, x, y: m.nn.functional.normalize(x * 0),
    lambda m, x, y: m.nn.functional.pdist(x, 1.5),
    lambda m, x, y: m.nn.CosineSimilarity(dim=0)(x, y),
    lambda m, x, y: m.nn.PairwiseDistance(p=1)(x, y),
    lambda m, x, y: m.nn.functional.hardshrink(x, 0.3),
    lambda m, x, y: m.nn.functional.softshrink(x, 0.3),
    lambda m, x, y: m.nn.functional.rrelu(x, 0.2, 0.4),
    lambda m, x, y: m.nn.Softmax2d()(x.reshape(1, 2, 2, 3)),
]


@pytest.mark.parametrize("case", range(len(DISTANCES)))
def test_distances_and_activations(case):
    check(DISTANCES[case], randn(4, 3), randn(4, 3, seed=1), rtol=1e-10)


def test_random_activations():
    tg.manual_seed(0)
    f = tg.nn.functional
    x = tg.from_numpy(randn(100_000))
    y = f.alpha_dropout(x, 0.3, True)
    assert abs(y.mean().item()) < 0.03 and abs(y.var().item() - 1) < 0.05
    assert f.alpha_dropout(x, 0.3, False) is x
    z = f.feature_alpha_dropout(tg.ones(2000, 4, 3), 0.5, True)
    assert (z.amax(2) == z.amin(2)).all().item() and len(set(z[:, 0, 0].tolist())) == 2
    slopes = -f.rrelu(tg.full((1000,), -1.0), 0.1, 0.3, training=True)
    assert slopes.min().item() >= 0.1 and slopes.max().item() <= 0.3 and slopes.std().item() > 0.04
    soft = f.gumbel_softmax(tg.from_numpy(randn(50, 4)).requires_grad_(), tau=0.7)
    np.testing.assert_allclose(as_array(soft.sum(1)), 1, rtol=1e-12)
    hard = f.gumbel_softmax(tg.from_numpy(randn(50, 4)), hard=True)
    np.testing.assert_allclose(as_array(hard.sort(1)[0]), [[0, 0, 0, 1]] * 50, atol=1e-12)
    check_error(ValueError, "between 0 and 1", lambda: f.alpha_dropout(x, 2.0, True))
    check_error(RuntimeError, "Lower bound", lambda: f.rrelu(x, 0.5, 0.1))


def test_gumbel_softmax_draws_pytorchs_numbers():
    def draw(m, x):
        m.manual_seed(3)
        return m.nn.functional.gumbel_softmax(x, 0.8)

    check(draw, randn(5, 4, dtype=np.float32), rtol=1e-4, atol=1e-5)


def test_fractional_pooling():
    random = np.random.default_rng(0).random

    def pool(m, x):
        samples = m.from_numpy(random_2d)
        return m.nn.functional.fractional_max_pool2d(
            x, (2, 3), (4, 3), return_indices=True, _random_samples=samples
        )

    random_2d, random_3d = random((2, 3, 2)), random((2, 3, 3))
    check(pool, randn(2, 3, 9, 8), rtol=0, atol=0)

    def volume(m, x):
        return m.nn.functional.fractional_max_pool3d(
            x, 2, output_ratio=(0.5, 0.6, 0.7), _random_samples=m.from_numpy(random_3d)
        )

    check(volume, randn(2, 3, 6, 7, 8), rtol=0)
    layer = tg.nn.FractionalMaxPool2d(2, output_ratio=0.5)
    assert layer(tg.zeros(1, 2, 8, 6)).shape == (1, 2, 4, 3)
    make = tg.nn.FractionalMaxPool2d
    check_error(ValueError, "either an output size", lambda: make(2))
    check_error(ValueError, "only one of", lambda: make(2, 3, 0.5))
    check_error(ValueError, "between 0 and 1", lambda: make(2, output_ratio=1.5))
    check_error(RuntimeError, "too large", lambda: make(2, 9)(tg.zeros(1, 1, 9, 9)))


def test_adaptive_softmax():
    def run(m, x):
        m.manual_seed(0)
        layer = m.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 9], div_value=2.0, head_bias=True)
        layer = layer.double()
        target = m.tensor([0, 3, 5, 8, 9, 19, 2])
        output, loss = layer(x, target)
        loss.backward(retain_graph=True)
        single = layer(x[3], target[3])
        rest = [p.grad for p in layer.parameters()]
        return output, loss, layer.log_prob(x), layer.predict(x), single.output, *rest

    check(run, randn(7, 8), rtol=1e-5, atol=1e-6)
    make = tg.nn.AdaptiveLogSoftmaxWithLoss
    check_error(ValueError, "length larger than 0", lambda: make(4, 5, []))
    check_error(ValueError, "unique, positive", lambda: make(4, 5, [3, 2]))
    layer = make(4, 6, [2])
    check_error(RuntimeError, "0, 5", lambda: layer(tg.zeros(1, 4), tg.tensor([6])))
    check_error(
        RuntimeError, "same size in the batch", lambda: layer(tg.zeros(2, 4), tg.tensor([1]))
    )


LAZY = [
    ("LazyLinear", (5,), {"bias": False}, (2, 3, 4)),
    ("LazyConv1d", (6, 3), {"stride": 2}, (2, 4, 9)),
    ("LazyConv2d", (6, 3), {"padding": 1, "groups": 2}, (2, 4, 5, 5)),
    ("LazyConvTranspose2d", (6, 2), {}, (2, 3, 4, 4)),
    ("LazyBatchNorm1d", (), {}, (5, 4)),
    ("LazyBatchNorm2d", (1e-3,), {"affine": False}, (5, 4, 2, 2)),
    ("LazyInstanceNorm1d", (), {"affine": True}, (5, 4, 6)),
]


@pytest.mark.parametrize(("name", "args", "options", "shape"), LAZY)
def test_lazy_layers(name, args, options, shape):
    def run(m):
        m.manual_seed(0)
        layer = getattr(m.nn, name)(*args, **options)
        lazy = repr(layer)
        assert layer.has_uninitialized_params() or not list(layer.parameters())
        y = layer(m.from_numpy(randn(*shape, dtype=np.float32)))
        assert type(layer).__name__ == name.removeprefix("Lazy")
        return y, lazy, repr(layer), layer.state_dict()

    (y, lazy, made, state), (their_y, *expected, their_state) = run(tg), run(torch)
    np.testing.assert_allclose(as_array(y), as_array(their_y), rtol=1e-4, atol=1e-5)
    assert [lazy, made] == expected and list(state) == list(their_state)


def test_lazy_layers_take_shapes_from_a_state_dict():
    full = tg.nn.Linear(3, 4)
    lazy = tg.nn.LazyLinear(4)
    lazy.load_state_dict(full.state_dict())
    assert lazy.weight.shape == (4, 3) and lazy.weight.tolist() == full.weight.tolist()
    x = tg.from_numpy(randn(2, 3, dtype=np.float32))
    assert lazy(x).tolist() == full(x).tolist() and lazy.in_features == 3
    twin = pickle.loads(pickle.dumps(copy.deepcopy(lazy)))
    assert type(twin) is tg.nn.Linear and twin(x).tolist() == full(x).tolist()
    empty = tg.nn.LazyLinear(4)
    check_error(RuntimeError, "Can't access the shape", lambda: empty.weight.shape)
    optimizer = tg.optim.SGD(empty.parameters(), lr=0.1)
    empty(x).sum().backward()
    optimizer.step()
    check_error(TypeError, "unexpected", lambda: tg.nn.LazyLinear(4, in_features=3))
