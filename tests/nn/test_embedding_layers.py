"""Embedding and EmbeddingBag against PyTorch: state, options, repr, training."""

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, check, check_error, randn

IDS = np.random.default_rng(0).integers(0, 7, (3, 11))
OPTIONS = [
    {},
    {"padding_idx": 2},
    {"padding_idx": -1},
    {"max_norm": 0.8, "norm_type": 1.5},
    {"scale_grad_by_freq": True},
]


def layers(name, *args, **options):
    """The layer of each library, with PyTorch's weights."""
    theirs = getattr(torch.nn, name)(*args, **options)
    ours = getattr(tg.nn, name)(*args, **options)
    ours.load_state_dict({k: tg.from_numpy(as_array(v)) for k, v in theirs.state_dict().items()})
    return ours, theirs


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", ["Embedding", "EmbeddingBag"])
def test_values_gradients_and_repr(name, options):
    if name == "EmbeddingBag" and "scale_grad_by_freq" in options:
        pytest.skip("PyTorch 2.13's bags divide by other entries' frequencies")
    ours, theirs = layers(name, 8, 3, **options)
    assert repr(ours) == repr(theirs)
    y, expected = ours(tg.from_numpy(IDS)), theirs(torch.from_numpy(IDS))
    np.testing.assert_allclose(as_array(y), as_array(expected), rtol=1e-5, atol=1e-6)
    y.backward(y.detach())
    expected.backward(expected.detach())
    np.testing.assert_allclose(
        as_array(ours.weight.grad), as_array(theirs.weight.grad), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_of_a_layer(mode):
    def bags(m, weight, ids, offsets):
        layer = m.nn.EmbeddingBag.from_pretrained(
            weight, mode=mode, include_last_offset=True, padding_idx=1
        )
        assert not layer.weight.requires_grad
        return layer(ids, offsets)

    check(bags, randn(8, 3), IDS.reshape(-1), np.array([0, 10, 10, 33]), grad=False)


def test_the_row_of_padding_starts_as_zeros_and_stays():
    layer = tg.nn.Embedding(6, 4, padding_idx=-2)
    assert layer.padding_idx == 4
    assert not as_array(layer.weight)[4].any()
    assert as_array(layer.weight)[3].all()
    layer(tg.tensor([4, 3])).sum().backward()
    assert not as_array(layer.weight.grad)[4].any()


def test_from_pretrained():
    weight = tg.from_numpy(randn(6, 4))
    layer = tg.nn.Embedding.from_pretrained(weight)
    assert not layer.weight.requires_grad
    assert layer.weight.dtype is tg.float64
    assert tg.nn.Embedding.from_pretrained(weight, freeze=False).weight.requires_grad
    np.testing.assert_array_equal(as_array(layer(tg.tensor(5))), as_array(weight)[5])


def test_the_same_seed_draws_the_same_table():
    tg.manual_seed(3)
    torch.manual_seed(3)
    ours, theirs = tg.nn.Embedding(40, 5, padding_idx=0), torch.nn.Embedding(40, 5, padding_idx=0)
    np.testing.assert_allclose(as_array(ours.weight), as_array(theirs.weight), rtol=1e-5, atol=1e-6)


def test_complaints():
    table = tg.ones(2)
    check_error(AssertionError, "Padding_idx", lambda: tg.nn.Embedding(5, 2, padding_idx=5))
    check_error(AssertionError, "Shape of weight", lambda: tg.nn.Embedding(5, 2, _weight=table))
    check_error(AssertionError, "2-dim", lambda: tg.nn.Embedding.from_pretrained(table))
    check_error(NotImplementedError, "sparse", lambda: tg.nn.EmbeddingBag(5, 2, sparse=True))
