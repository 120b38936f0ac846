"""Programs as courses on Keras have them, run by Keras and by us on the same weights."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from oracle import array, close, ours, theirs

import tilegrad as tg

BOTH = ((theirs, torch), (ours, tg))
X, LABELS, TARGETS = array(40, 6), np.arange(40) * 7 % 3, array(40, 1, seed=3)


def with_weights(model):
    random = np.random.default_rng(0)
    model.set_weights([random.normal(0, 0.3, w.shape) for w in model.get_weights()])
    return model


def two_outputs(keras):
    x = keras.Input((6,))
    dense = keras.layers.Dense
    outputs = [dense(1, name="price")(x), dense(3, activation="softmax", name="kind")(x)]
    return x, outputs


def stepping(keras, m):
    class Stepping(keras.Model):
        def train_step(self, data):
            x, y = data
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred)
            self.zero_grad()
            loss.backward()
            weights = list(self.trainable_weights)
            with m.no_grad():
                self.optimizer.apply([w.value.grad for w in weights], weights)
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
                elif not metric.name.endswith("_loss"):
                    metric.update_state(y, y_pred)
            return {metric.name: metric.result() for metric in self.metrics}

    return Stepping


def test_a_train_step_updates_the_metrics_of_compile_from_the_first_batch():
    def history(keras, m):
        x = keras.Input((6,))
        y = keras.layers.Dense(3, activation="softmax")(x)
        model = with_weights(stepping(keras, m)(x, y))
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        options = {"batch_size": 8, "shuffle": False, "verbose": 0}
        return model.fit(X, LABELS, epochs=2, validation_split=0.2, **options).history

    expected, found = (history(*both) for both in BOTH)
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4)


def test_numbers_of_several_outputs_come_in_keras_order():
    def numbers(keras, m, kind):
        x, outputs = two_outputs(keras)
        model = with_weights(kind(x, outputs))
        losses = {"price": "mse", "kind": "sparse_categorical_crossentropy"}
        metrics = {"price": ["mae"], "kind": ["accuracy"]}
        model.compile(keras.optimizers.SGD(0.0), losses, metrics=metrics)
        data = (X, {"price": TARGETS, "kind": LABELS})
        history = model.fit(*data, verbose=0).history if kind is keras.Model else {}
        return [*model.evaluate(*data, verbose=0), *(v[0] for _, v in sorted(history.items()))]

    close(numbers(*BOTH[1], ours.Model), numbers(*BOTH[0], theirs.Model))


def test_a_train_step_updates_the_metrics_of_several_outputs():
    x, outputs = two_outputs(ours)
    model = with_weights(stepping(ours, tg)(x, outputs))
    losses = ["mse", "sparse_categorical_crossentropy"]
    model.compile(ours.optimizers.SGD(0.0), losses, metrics=[["mae"], ["accuracy"]])
    logs = model.fit(X, [TARGETS, LABELS], epochs=2, verbose=0).history
    assert sorted(logs) == ["kind_accuracy", "kind_loss", "loss", "price_loss", "price_mae"]
    price, kind = model.predict(X, verbose=0)
    accuracy = (kind.argmax(1) == LABELS).mean()
    np.testing.assert_allclose(logs["price_mae"], [np.abs(price - TARGETS).mean()] * 2, rtol=1e-5)
    np.testing.assert_allclose(logs["kind_accuracy"], [accuracy] * 2)


COPIES = [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))]


@pytest.mark.parametrize("copied", COPIES, ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("name", ["SGD", "Adam", "Lion", "Muon"])
def test_a_copy_of_a_trained_model_trains_on_its_own(name, copied):
    layers = ours.layers
    model = ours.Sequential([layers.Dense(4, activation="softmax"), layers.Dense(1)])
    optimizer = getattr(ours.optimizers, name)(0.01)
    model.compile(optimizer, "mse", metrics=["mae"])
    options = {"shuffle": False, "verbose": 0}
    model.fit(X, TARGETS, **options)
    other = copied(model)
    before = model.predict(X, verbose=0)
    history = other.fit(X, TARGETS, epochs=2, **options).history
    np.testing.assert_array_equal(model.predict(X, verbose=0), before)
    assert model.fit(X, TARGETS, epochs=2, **options).history == history
    np.testing.assert_array_equal(model.predict(X, verbose=0), other.predict(X, verbose=0))


def test_layers_come_and_go_after_build():
    for keras, _ in BOTH:
        model = keras.Sequential([keras.layers.Dense(4)])
        model.build((None, 6))
        model.pop()
        model.add(keras.layers.Dense(5))
        assert (model.input_shape, model.output_shape) == ((None, 6), (None, 5))
        assert model.predict(X, verbose=0).shape == (40, 5) and len(model.layers) == 1


@ours.saving.register_keras_serializable("tests")
class Reader(ours.Model):
    """Words and numbers, by position, by name or in a dictionary."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units
        self.words = ours.layers.Embedding(9, units)
        self.heads = [ours.layers.Dense(2), ours.layers.Dense(1)]

    def call(self, words, numbers=None, training=False):
        if isinstance(words, dict):
            words, numbers = words["words"], words["numbers"]
        mixed = ours.ops.mean(self.words(words), axis=1)
        if numbers is not None:
            mixed = ours.ops.concatenate([mixed, numbers], axis=-1)
        return self.heads[1](self.heads[0](mixed))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@pytest.mark.parametrize("how", ["one", "position", "name", "dictionary", "fit", "build"])
def test_a_model_of_ones_own_comes_back_from_its_file(tmp_path, how):
    words, numbers = np.arange(32).reshape(8, 4) % 9, array(8, 3)
    both = {"words": words, "numbers": numbers}
    calls = {
        "position": lambda model: model(words, numbers),
        "name": lambda model: model(words, numbers=numbers),
        "dictionary": lambda model: model(both),
        "fit": lambda model: ours.ops.convert_to_tensor(model.predict(both, verbose=0)),
    }
    run = calls.get(how, lambda model: model(words))
    model = Reader(5)
    if how == "build":
        model.build((None, 4))
    elif how == "fit":
        model.compile("adam", "mse")
        model.fit(both, numbers[:, :1], verbose=0)
    expected = run(model)
    model.save(tmp_path / "reader.keras")
    loaded = ours.models.load_model(tmp_path / "reader.keras")
    assert type(loaded) is Reader and loaded.units == 5
    np.testing.assert_array_equal(run(loaded).detach().numpy(), expected.detach().numpy())
    if how == "fit":
        again = [m.fit(both, numbers[:, :1], shuffle=False, verbose=0) for m in (model, loaded)]
        assert again[0].history == again[1].history
