"""Modules of ``nn`` within layers and models of Keras, and masks that a graph knows of."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import array, both, close, ours, theirs

import tilegrad as tg
from tilegrad import nn
from tilegrad.keras import layers, ops

X, TARGETS = array(40, 3), array(40, 1, seed=2)


def network(keras, modules):
    """A model of Keras with a dense module of another library inside, its weights given."""
    torch = modules

    class Mixed(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = torch.nn.Linear(3, 4)
            self.norm = torch.nn.BatchNorm1d(4)
            self.last = keras.layers.Dense(1)

        def call(self, x):
            return self.last(torch.nn.functional.relu(self.norm(self.first(x))))

    return Mixed()


def test_modules_are_trained_as_in_keras():
    torch = pytest.importorskip("torch")
    found, arrays = [], [array(4, 3), array(4), array(4), array(4), array(4, 1), array(1)]
    for keras, library in ((theirs, torch), (ours, tg)):
        model = network(keras, library)
        model(keras.ops.convert_to_tensor(X))
        trained = model.trainable_weights
        assert len(trained) == 6
        for weight, value in zip(trained, arrays, strict=True):
            weight.assign(value)
        model.compile(keras.optimizers.SGD(0.1), "mse")
        history = model.fit(X, TARGETS, epochs=3, batch_size=20, shuffle=False, verbose=0).history
        after = [keras.ops.convert_to_numpy(w) for w in model.trainable_weights]
        found.append((history, after))
    close(found[0], found[1], rtol=1e-3, atol=1e-4)


def test_a_wrapped_module_is_a_layer(tmp_path):
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    layer = layers.TorchModuleWrapper(module, name="own")
    assert layer.module is module and layer.built
    assert [w.path for w in layer.weights][:3] == ["own/0.weight", "own/0.bias", "own/1.weight"]
    assert len(layer.weights) == 9 and len(layer.trainable_weights) == 6
    assert layer.weights[0] is module[0].weight and layer[3] is module[3]
    inputs = ours.Input((3,))
    model = ours.Model(inputs, layer(inputs))
    assert model.output_shape == (None, 2) and int(module[1].num_batches_tracked) == 0
    model.compile("adam", "mse")
    model.fit(X, X[:, :2], epochs=2, verbose=0)
    assert int(module[1].num_batches_tracked) == 4
    still = model.predict(X, verbose=0)
    assert not module.training
    close(still, model.predict(X, verbose=0), 0, 0)
    model.save_weights(tmp_path / "x.weights.h5")
    fresh = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    again = ours.Sequential([ours.Input((3,)), layers.TorchModuleWrapper(fresh)])
    again.load_weights(tmp_path / "x.weights.h5")
    close(still, again.predict(X, verbose=0), 0, 0)
    layer.trainable = False
    assert model.trainable_weights == [] and not module[0].weight.requires_grad
    with pytest.raises(NotImplementedError, match="save_weights"):
        model.save(tmp_path / "x.keras")
    for wrong in (layers.Dense(2), 3):
        with pytest.raises(TypeError, match=r"expected an nn\.Module"):
            layers.TorchModuleWrapper(wrong)
    given = layers.TorchModuleWrapper(nn.Linear(3, 2), output_shape=(None, 2))
    assert given.compute_output_shape((None, 3)) == (None, 2)


def test_lists_of_modules_and_buffers_that_are_replaced():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", tg.zeros(()))

        def forward(self, x):
            self.calls = self.calls + 1
            return x * self.calls

    class Deep(ours.Model):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList(nn.Linear(3, 3) for _ in range(2))
            self.counting = Counting()

        def call(self, x):
            for block in self.blocks:
                x = block(x)
            return self.counting(x)

    model = Deep()
    model.compile("sgd", "mse")
    before = [w.numpy() for w in model.trainable_weights]
    model.fit(X, X, batch_size=10, verbose=0)
    assert len(before) == 4 and len(model.blocks) == 2
    assert not any(map(np.array_equal, before, [w.numpy() for w in model.trainable_weights]))
    (calls,) = model.non_trainable_weights
    assert float(calls) == 4 and float(model.counting.calls) == 4


# --- masks ----------------------------------------------------------------------------------------


def split_layer(keras):
    class Halves(keras.layers.Layer):
        def call(self, x):
            return keras.ops.split(x, 2, axis=1)

        def compute_mask(self, inputs, mask=None):
            return None if mask is None else keras.ops.split(mask, 2, axis=1)

    return Halves()


def test_a_layer_with_a_mask_of_its_own_passes_it_on():
    tokens = np.array([[5, 3, 0, 0], [2, 1, 4, 0]])

    def masks(keras):
        embedded = keras.layers.Embedding(9, 2, mask_zero=True)(tokens)
        return [
            keras.ops.convert_to_numpy(half._keras_mask) for half in split_layer(keras)(embedded)
        ]

    close(*both(masks))


def test_a_graph_knows_which_masks_will_come():
    class Softmax(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.supports_masking = True

        def call(self, x, mask=None):
            assert mask is not None
            share = ops.exp(x) * ops.expand_dims(ops.cast(mask, "float32"), -1)
            return share / ops.sum(share, axis=1, keepdims=True)

    inputs = ours.Input((None,), dtype="int32")
    x = layers.Embedding(10, 4, mask_zero=True)(inputs)
    assert x._keras_mask.shape == (None, None) and x._keras_mask.dtype == "bool"
    x = layers.Dense(1)(layers.Dropout(0.1)(x))
    outputs = Softmax()(x)
    assert outputs._keras_mask.shape == (None, None)
    assert not hasattr(layers.LSTM(3)(x), "_keras_mask")
    model = ours.Model(inputs, outputs)
    made = model(np.array([[1, 2, 0], [3, 0, 0]])).detach().numpy()[..., 0]
    close(np.ones(2, "float32"), made.sum(1))
    assert made[0, 2] == 0 and made[1].tolist() == [1, 0, 0]


# --- graphs ---------------------------------------------------------------------------------------


def test_positions_and_comparisons_in_graphs_with_open_lengths():
    """Twenty positions are enough for the data, though not for the trial run of a graph."""
    tokens = np.array([[3, 1, 0, 0], [2, 2, 5, 0]])

    def encoder(keras):
        class Positions(keras.layers.Layer):
            def __init__(self):
                super().__init__()
                self.token = keras.layers.Embedding(9, 4)
                self.place = keras.layers.Embedding(20, 4)

            def call(self, x):
                places = keras.ops.cumsum(keras.ops.ones_like(x), axis=-1) - 1
                return self.token(x) + self.place(places)

        class Table(keras.layers.Layer):
            def build(self, shape):
                self.table = self.add_weight(shape=(5, 4), initializer="ones")

            def call(self, x):
                steps = keras.ops.arange(keras.ops.shape(x)[1])
                return x + keras.ops.take(self.table, steps, axis=0)

        inputs = keras.Input((None,), dtype="int32")
        x = Table()(Positions()(inputs))
        seen = keras.ops.cast((inputs != 0) & (inputs < 5), "float32")
        x = x * keras.ops.expand_dims(seen, -1)
        return keras.Model(inputs, x)

    there, here = encoder(theirs), encoder(ours)
    assert there.output_shape == here.output_shape == (None, None, 4)
    for weight, value in zip(here.weights, there.get_weights(), strict=True):
        weight.assign(value)
    close(there.predict(tokens, verbose=0), here.predict(tokens, verbose=0))
    with pytest.raises(IndexError, match="out of range"):
        here.predict(np.ones((1, 21), "int64"), verbose=0)


def test_operators_of_tensors_to_come():
    def shapes(keras):
        x, y = keras.Input((3,)), keras.Input((3,), dtype="bool")
        made = [x != 0, x != x, y & y, True & y, y | False, False ^ y, ~y, round(x), 2**x, x % 2]
        return [(tuple(z.shape), z.dtype) for z in made]

    assert shapes(theirs) == shapes(ours)


@ours.saving.register_keras_serializable("tests")
def apart(pair):
    """The distance of two vectors; a function of several inputs."""
    first, second = pair
    return ((first - second) ** 2).sum(-1, keepdim=True) ** 0.5


def test_functions_of_several_inputs_say_their_shapes():
    def model(keras):
        a, b = keras.Input((3,)), keras.Input((3,))
        return keras.Model([a, b], keras.layers.Lambda(apart, output_shape=(1,))([a, b]))

    there, here = model(theirs), model(ours)
    assert there.output_shape == here.output_shape == (None, 1)
    data = [array(4, 3), array(4, 3, seed=1)]
    close(there.predict(data, verbose=0), here.predict(data, verbose=0))
    again = layers.deserialize(layers.serialize(here.layers[-1]))
    assert again.compute_output_shape([(7, 3), (7, 3)]) == (7, 1)
    by_function = layers.Lambda(apart, output_shape=lambda shapes: (shapes[0][0], 1))
    assert by_function([ours.Input((3,)), ours.Input((3,))]).shape == (None, 1)
    plain = layers.Lambda(lambda x: x[:, :2] * 2)
    assert plain(ours.Input((3,))).shape == (None, 2)
    assert plain.compute_output_shape((5, 3)) == (5, 2)


def test_targets_of_truths():
    """One-hot rows as booleans, as NumPy programs often make them."""
    y, p = np.eye(3, dtype=bool)[[0, 2, 1, 1]], np.abs(array(4, 3))

    def results(keras):
        metrics, found = keras.metrics, []
        for metric in (
            metrics.CategoricalAccuracy(), metrics.TopKCategoricalAccuracy(2),
            metrics.F1Score(), metrics.OneHotIoU(3, [0, 1]), metrics.MeanSquaredError(),
        ):  # fmt: skip
            metric.update_state(y, p)
            found.append(keras.ops.convert_to_numpy(metric.result()))
        return [*found, keras.ops.argmax(y, -1), keras.ops.argmin(y, -1)]

    close(*both(results))
    model = ours.Sequential([layers.Dense(3, activation="softmax")])
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(X[:4], y, validation_data=(X[:4], y), verbose=0).history
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
