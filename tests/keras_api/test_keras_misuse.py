"""Misuse of Keras's calls: each complaint says what does not fit and what to do."""

from __future__ import annotations

import numpy as np
import pytest

from tilegrad import keras
from tilegrad.keras import layers


@pytest.mark.parametrize(
    "misuse, pattern",
    [
        (lambda m, x, y: m.fit(x, y, sample_weight=y[:3], verbose=0), "'sample_weight' sizes: 3"),
        (lambda m, x, y: m.fit(x[:, :2], y, verbose=0), r"shape=\(8, 2\).*or change .* its Input"),
        (lambda m, x, y: m.fit(iter(()), steps_per_epoch=2, verbose=0), "at least one batch"),
        (lambda m, x, y: m.evaluate(iter(()), verbose=0), "at least one batch"),
        (lambda m, x, y: m.fit(x, y + 1, verbose=0), "target 3 is out of bounds: the output has 3"),
        (lambda m, x, y: layers.Conv2D(2, 3)(x), r"found ndim=2.*x\[None\]"),
        (lambda m, x, y: layers.LSTM(2)(x), r"x\[\.\.\., None\] adds"),
        (lambda m, x, y: layers.LSTM(2)(x[None, None]), "Flatten, Reshape"),
        (lambda m, x, y: layers.Dense(2)(y[0]), r"min_ndim=2, found ndim=0.*x\[None\]"),
        (
            lambda m, x, y: layers.Concatenate()([x[None], x[None, :3]]),
            r"matching shapes except for the concatenation axis.*\(1, 8, 4\), \(1, 3, 4\)",
        ),
    ],
)
def test_misuse_is_told_what_to_do(misuse, pattern):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = np.zeros((8, 4), "float32"), np.array([0, 1, 2, 0, 1, 2, 0, 1])
    with pytest.raises((ValueError, IndexError), match=pattern):
        misuse(model, x, y)


def test_the_output_of_a_model_with_one_has_its_layers_name():
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(1, name="price")(x))
    model.compile("sgd", loss={"price": "mse"}, metrics={"price": ["mae"]})
    data, targets = np.ones((8, 4), "float32"), np.zeros((8, 1))
    assert list(model.fit(data, targets, verbose=0).history) == ["loss", "mae"]
    assert list(model.fit(data, {"price": targets}, verbose=0).history) == ["loss", "mae"]
    model.compile("sgd", loss={"prize": "mse"})
    with pytest.raises(ValueError, match=r"'prize' does not .*outputs are \['price'\]"):
        model.fit(data, targets, verbose=0)


def test_a_generator_goes_on_from_call_to_call():
    given = []

    def batches():
        while True:
            given.append(len(given))
            yield np.full((2, 4), len(given), "float32"), np.zeros((2, 1), "float32")

    model = keras.Sequential([keras.Input((4,)), layers.Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x, y = np.ones((4, 4), "float32"), np.zeros((4, 1), "float32")
    history = model.fit(x, y, epochs=2, validation_data=batches(), validation_steps=2, verbose=0)
    assert history.history["val_loss"] == [16 * (1 + 4) / 2, 16 * (9 + 16) / 2]
    given.clear()
    source = batches()
    for _ in range(2):
        model.fit(source, steps_per_epoch=2, verbose=0)
        model.evaluate(source, steps=1, verbose=0)
        model.predict(source, steps=1, verbose=0)
    assert len(given) == 8
    with pytest.raises(ValueError, match="pass validation_steps"):
        model.fit(x, y, validation_data=batches(), verbose=0)
