"""Attention with its options against Keras; categories and text by what they must give."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import array, close, ours, theirs

X, V = array(2, 5, 8), array(2, 6, 8, seed=1)
ALLOWED = array(2, 5, 6, seed=2) > -0.5


def weighted_twins(name, *args, data, **options):
    layers = [getattr(keras.layers, name)(*args, **options) for keras in (theirs, ours)]
    for layer in layers:
        layer(*data)
    layers[1].set_weights(layers[0].get_weights())
    return layers


@pytest.mark.parametrize(
    ("options", "call"),
    [({}, {}), ({"value_dim": 3, "output_shape": 7}, {}), ({"use_bias": False}, {}),
     ({}, {"attention_mask": ALLOWED}), ({"value_dim": 3}, {"attention_mask": ALLOWED})],
)  # fmt: skip
def test_multi_head_attention(options, call):
    pair = weighted_twins("MultiHeadAttention", 2, 4, data=(X, V), **options)
    for scores in (False, True):
        made = [layer(X, V, return_attention_scores=scores, **call) for layer in pair]
        if not scores:
            made = [[y] for y in made]
        arrays = [[y.detach().numpy() for y in ys] for ys in made]
        close(*arrays, rtol=1e-4)


def test_causal_and_grouped_attention():
    pair = weighted_twins("MultiHeadAttention", 2, 4, data=(X, X))
    close(*[layer(X, X, use_causal_mask=True).detach().numpy() for layer in pair], rtol=1e-4)
    pair = weighted_twins("GroupQueryAttention", 4, 4, 2, data=(X, V))
    close(*[layer(X, V).detach().numpy() for layer in pair], rtol=1e-4)
    for masked in (False, True):
        layer = [keras.layers.Attention() for keras in (theirs, ours)]
        given = {"mask": [None, np.ones((2, 6), bool)]} if masked else {"use_causal_mask": True}
        close(*[one([X, V], **given).detach().numpy() for one in layer], rtol=1e-4)


@pytest.mark.parametrize(
    ("equation", "shape", "bias"), [("abc,cd->abd", (None, 7), "d"), ("abc,bde->ade", (3, 4), None)]
)
def test_einsum_dense(equation, shape, bias):
    if bias is None:
        equation, shape = "abc,cde->abde", (None, 3, 4)
    pair = weighted_twins("EinsumDense", equation, shape, bias_axes=bias, data=(X,))
    close(*[layer(X).detach().numpy() for layer in pair], rtol=1e-4)


def test_text_becomes_numbers(tmp_path):
    texts = ["The cat sat, on the mat!", "a dog ate the cat"]
    layer = ours.layers.TextVectorization()
    with pytest.raises(ValueError, match="adapt"):
        layer(texts)
    layer.adapt(texts)
    assert layer.get_vocabulary()[:4] == ["", "[UNK]", "the", "cat"]
    assert layer(texts).shape == (2, 6) and layer("the bird").numpy().tolist() == [2, 1]
    again = ours.layers.deserialize(ours.layers.serialize(layer))
    np.testing.assert_array_equal(again(texts).numpy(), layer(texts).numpy())
    short = ours.layers.TextVectorization(max_tokens=4, output_sequence_length=3)
    short.adapt(texts)
    assert short(texts).numpy().tolist() == [[2, 3, 1], [1, 1, 1]]
    bigrams = ours.layers.TextVectorization(ngrams=2, output_mode="multi_hot")
    bigrams.adapt(texts)
    assert "the cat" in bigrams.get_vocabulary() and set(np.unique(bigrams(texts))) == {0.0, 1.0}
    counts = ours.layers.TextVectorization(output_mode="count")
    counts.adapt(texts)
    assert counts(texts).sum(1).numpy().tolist() == [6, 5]


def test_categories():
    layers = ours.layers
    lookup = layers.StringLookup(vocabulary=["a", "b"])
    assert lookup(np.array([["b", "z"], ["a", "b"]])).numpy().tolist() == [[2, 0], [1, 2]]
    back = layers.StringLookup(vocabulary=["a", "b"], invert=True)
    assert back([2, 0]).tolist() == ["b", "[UNK]"]
    numbers = layers.IntegerLookup()
    numbers.adapt(np.array([7, 7, 5]))
    assert numbers(np.array([5, 7, 9])).numpy().tolist() == [2, 1, 0]
    hot = layers.CategoryEncoding(4, output_mode="multi_hot")(np.array([[0, 1], [3, 3]]))
    assert hot.numpy().tolist() == [[1, 1, 0, 0], [0, 0, 0, 1]]
    with pytest.raises(ValueError, match="num_tokens=4"):
        layers.CategoryEncoding(4)(np.array([[0, 4]]))
    bins = layers.Discretization(num_bins=4)
    bins.adapt(np.arange(100.0))
    assert bins(np.array([0.0, 30.0, 60.0, 99.0])).numpy().tolist() == [0, 1, 2, 3]
    hashed = layers.Hashing(5)(np.array(["a", "b", "a"])).numpy()
    assert hashed[0] == hashed[2] and hashed.min() >= 0 and hashed.max() < 5
