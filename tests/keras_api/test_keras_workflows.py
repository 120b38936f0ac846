"""The ways in which people write Keras programs: layers, models and loops of their own."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from tilegrad import keras
from tilegrad.keras import layers, ops


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


def digits(count=256):
    """Noisy pictures of three shapes, (N, 8, 8), and their numbers."""
    source = np.random.default_rng(0)
    labels = source.integers(0, 3, count)
    shapes = np.zeros((3, 8, 8), np.float32)
    shapes[0, 2:6, 2:6], shapes[1, :, 3:5], shapes[2, 3:5, :] = 1, 1, 1
    return shapes[labels] + 0.3 * source.standard_normal((count, 8, 8)).astype("float32"), labels


def test_a_dense_network_from_scratch():
    class Dense:
        def __init__(self, inputs, units, activation):
            self.activation = activation
            self.W = keras.Variable(shape=(inputs, units), initializer="uniform")
            self.b = keras.Variable(shape=(units,), initializer="zeros")

        def __call__(self, x):
            return self.activation(ops.matmul(x, self.W) + self.b)

        @property
        def weights(self):
            return [self.W, self.b]

    chain = [Dense(64, 32, ops.relu), Dense(32, 3, ops.softmax)]
    weights = [w for layer in chain for w in layer.weights]
    optimizer = keras.optimizers.SGD(0.5)
    x, y = digits()
    x = x.reshape(-1, 64)
    losses = []
    for step in range(60):
        rows = slice(step * 32 % 256, step * 32 % 256 + 32)
        outputs = ops.convert_to_tensor(x[rows])
        for layer in chain:
            outputs = layer(outputs)
        loss = ops.mean(ops.sparse_categorical_crossentropy(y[rows], outputs))
        loss.backward()
        gradients = [w.value.grad for w in weights]
        optimizer.apply_gradients(zip(gradients, weights, strict=True))
        for w in weights:
            w.value.grad = None
        losses.append(float(loss))
    assert losses[-1] < 0.3 * losses[0] and optimizer.iterations == 60


class Squared(keras.Layer):
    def __init__(self, units, activation=None):
        super().__init__()
        self.units = units
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer="random_normal")
        self.offset = self.add_weight(shape=(self.units,), initializer="zeros")

    def call(self, inputs):
        return self.activation(ops.square(ops.matmul(inputs, self.w)) + self.offset)


def test_layers_of_ones_own():
    layer = Squared(4, activation="relu")
    assert layer.weights == [] and not layer.built
    assert tuple(layer(np.ones((2, 3))).shape) == (2, 4)
    assert [w.name for w in layer.weights] == ["variable", "variable"]
    model = keras.Sequential([Squared(8), layers.Dropout(0.5), Squared(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = digits()
    model.fit(x.reshape(-1, 64), y, epochs=2, verbose=0)
    assert model.count_params() == 64 * 8 + 8 + 8 * 3 + 3
    inputs = keras.Input((64,))
    assert keras.Model(inputs, Squared(5)(inputs)).output_shape == (None, 5)


def convnet():
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(2.0),
            layers.Conv2D(8, 3, activation="relu"),
            layers.BatchNormalization(momentum=0.8),
            layers.MaxPooling2D(2),
            layers.SpatialDropout2D(0.1),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def test_a_convnet_learns_and_is_saved(tmp_path):
    x, y = digits()
    model = convnet()
    model.compile("rmsprop", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x[..., None], y, epochs=10, validation_split=0.25, verbose=0)
    assert history.history["val_accuracy"][-1] > 0.9
    assert (history._repr_png_() or b"").startswith(b"\x89PNG")
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for found in (again, keras.models.clone_model(model)):
        found.set_weights(model.get_weights())
        np.testing.assert_array_equal(
            found.predict(x[:9, ..., None], verbose=0), model.predict(x[:9, ..., None], verbose=0)
        )
    assert again.optimizer.iterations == model.optimizer.iterations == 60
    before = model.evaluate(x[..., None], y, verbose=0)
    assert again.evaluate(x[..., None], y, verbose=0) == pytest.approx(before)
    features = keras.Model(again.inputs, again.layers[1].output)
    assert features.predict(x[:2, ..., None], verbose=0).shape == (2, 6, 6, 8)


def ticket_model():
    title = keras.Input((20,), name="title")
    tags = keras.Input((4,), name="tags")
    features = layers.Concatenate()([title, tags])
    features = layers.Dense(8, activation="relu", name="dense_features")(features)
    priority = layers.Dense(1, activation="sigmoid", name="priority")(features)
    department = layers.Dense(3, activation="softmax", name="department")(features)
    return keras.Model(inputs=[title, tags], outputs=[priority, department])


def test_graphs_are_looked_into_extended_and_drawn(tmp_path):
    model = ticket_model()
    data = {"title": np.ones((6, 20)), "tags": np.zeros((6, 4))}
    targets = {"priority": np.zeros((6, 1)), "department": np.eye(3)[[0, 1, 2, 0, 1, 2]]}
    model.compile(
        "adam",
        loss={"priority": "mean_squared_error", "department": "categorical_crossentropy"},
        metrics={"priority": ["mean_absolute_error"], "department": ["accuracy"]},
    )
    history = model.fit(data, targets, verbose=0)
    assert sorted(history.history) == [
        "department_accuracy", "department_loss", "loss", "priority_loss",
        "priority_mean_absolute_error",
    ]  # fmt: skip
    assert model.layers[3].input.shape == (None, 24)
    hidden = model.get_layer("dense_features").output
    difficulty = layers.Dense(3, activation="softmax", name="difficulty")(hidden)
    longer = keras.Model(inputs=model.inputs, outputs=[*model.outputs, difficulty])
    assert [p.shape for p in longer.predict(data, verbose=0)] == [(6, 1), (6, 3), (6, 3)]
    path = tmp_path / "graph.png"
    keras.utils.plot_model(longer, path, show_shapes=True, show_layer_names=True, dpi=50)
    assert path.read_bytes()[:4] == b"\x89PNG"
    again = keras.models.model_from_json(longer.to_json())
    assert [w.shape for w in again.weights] == [w.shape for w in longer.weights]


def test_operations_in_graphs_and_models_in_models(tmp_path):
    inputs = keras.Input((4,))
    doubled = ops.concatenate([inputs * 2 + 1, ops.sin(inputs)[:, :2]], axis=-1)
    inner = keras.Sequential([layers.Dense(5), layers.Dense(2)])
    model = keras.Model(inputs, inner(doubled) - 1)
    x = np.random.default_rng(0).random((3, 4)).astype("float32")
    wanted = np.concatenate([2 * x + 1, np.sin(x)[:, :2]], axis=1)
    np.testing.assert_allclose(
        model.predict(x, verbose=0), inner.predict(wanted, verbose=0) - 1, rtol=1e-5, atol=1e-6
    )
    assert model.output_shape == (None, 2) and len(model.weights) == 4
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


class Residual(keras.Model):
    def __init__(self, units):
        super().__init__()
        self.blocks = [layers.Dense(units, activation="relu") for _ in range(2)]
        self.heads = {"kind": layers.Dense(3, activation="softmax")}
        self.drop = layers.Dropout(0.5)
        self.modes = []

    def call(self, inputs, training=False):
        self.modes.append(training)
        x = inputs
        for block in self.blocks:
            x = x + self.drop(block(x))
        return self.heads["kind"](x)


def test_models_of_ones_own():
    model = Residual(64)
    x, y = digits()
    x = x.reshape(-1, 64)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=64, verbose=0)
    model.predict(x[:3], verbose=0)
    assert model.modes[:4] == [True] * 4 and model.modes[-1] is False
    assert len(model.weights) == 6 and len(model.layers) == 4
    lines = []
    model.summary(print_fn=lines.append)
    assert "residual" in lines[0] and "dropout" in lines[0]
    model.blocks[0].trainable = False
    assert len(model.trainable_weights) == 4 and not model.blocks[0].kernel.requires_grad
    frozen = model.blocks[0].kernel.numpy()
    model.fit(x, y, batch_size=64, verbose=0)
    np.testing.assert_array_equal(frozen, model.blocks[0].kernel.numpy())

    class Wrapped(keras.Model):
        def __init__(self):
            inputs = keras.Input((64,))
            super().__init__(inputs=inputs, outputs=layers.Dense(2)(inputs))

    assert Wrapped().predict(x[:3], verbose=0).shape == (3, 2)


class RootMeanSquare(keras.metrics.Metric):
    def __init__(self, name="rms", **kwargs):
        super().__init__(name=name, **kwargs)
        self.square = self.add_weight(name="square", initializer="zeros")
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true = ops.one_hot(y_true, num_classes=ops.shape(y_pred)[1])
        self.square.assign_add(ops.sum(ops.square(y_true - y_pred)))
        self.count.assign_add(ops.shape(y_pred)[0])

    def result(self):
        return ops.sqrt(self.square / self.count)

    def reset_state(self):
        self.square.assign(0.0)
        self.count.assign(0)


def test_metrics_and_loops_of_ones_own():
    x, y = digits()
    x = x.reshape(-1, 64)
    model = keras.Sequential([layers.Dense(8, activation="relu"), layers.Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=[RootMeanSquare()])
    history = model.fit(x, y, epochs=2, verbose=0)
    found = model.evaluate(x, y, verbose=0, return_dict=True)
    error = np.eye(3)[y] - model.predict(x, verbose=0)
    assert found["rms"] == pytest.approx(np.sqrt((error**2).sum() / len(x)), rel=1e-4)
    assert set(history.history) == {"loss", "rms"}

    loss_function = keras.losses.SparseCategoricalCrossentropy()
    optimizer = keras.optimizers.Adam()
    accuracy = keras.metrics.SparseCategoricalAccuracy()
    tracker = keras.metrics.Mean()
    for _ in range(15):
        for start in range(0, 256, 64):
            inputs, targets = tg.from_numpy(x[start : start + 64]), y[start : start + 64]
            predictions = model(inputs, training=True)
            loss = loss_function(targets, predictions)
            model.zero_grad()
            loss.backward()
            weights = model.trainable_weights
            with tg.no_grad():
                optimizer.apply([w.value.grad for w in weights], weights)
            accuracy.update_state(targets, predictions)
            tracker.update_state(loss)
    assert float(accuracy.result()) > 0.5 and float(tracker.result()) < 1.1
    accuracy.reset_state()
    assert float(accuracy.result()) == 0.0


def test_a_torch_loop_trains_a_keras_model():
    x, y = digits()
    model = convnet()
    optimizer = tg.optim.Adam(model.parameters(), lr=1e-2)
    inputs, targets = tg.from_numpy(x[..., None]), tg.from_numpy(y)
    losses = []
    for _ in range(12):
        loss = tg.nn.functional.nll_loss(tg.log(model(inputs, training=True) + 1e-7), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_text_and_time_series():
    sequences = [[1, 2, 3], [4, 5], [6]]
    padded = keras.utils.pad_sequences(sequences, maxlen=2, padding="post", truncating="post")
    assert padded.tolist() == [[1, 2], [4, 5], [6, 0]]
    assert keras.utils.to_categorical([0, 2]).tolist() == [[1, 0, 0], [0, 0, 1]]
    series = np.arange(20.0)
    windows = keras.utils.timeseries_dataset_from_array(
        series[:-3], series[3:], sequence_length=3, batch_size=4
    )
    batches = list(windows)
    assert len(windows) == len(batches) == 4
    assert batches[0][0][1].tolist() == [1, 2, 3] and batches[0][1][1].item() == 4
    model = keras.Sequential([layers.Reshape((3, 1)), layers.LSTM(4), layers.Dense(1)])
    model.compile("rmsprop", "mse", metrics=["mae"])
    assert len(model.fit(windows, epochs=2, validation_data=windows, verbose=0).epoch) == 2
    assert model.predict(windows, verbose=0).shape == (15, 1)


def test_augmentation_acts_in_training_only():
    images = np.random.default_rng(0).random((4, 8, 8, 3)).astype("float32")
    for layer in (
        layers.RandomFlip("horizontal"),
        layers.RandomRotation(0.2),
        layers.RandomZoom(0.3),
        layers.RandomTranslation(0.2, 0.2),
        layers.RandomContrast(0.5, value_range=(0, 1)),
        layers.RandomBrightness(0.3, value_range=(0, 1)),
        layers.RandomInvert(0.5, value_range=(0, 1)),
        layers.RandomGrayscale(0.5),
    ):
        still, moved = layer(images), layer(images, training=True)
        np.testing.assert_array_equal(still.numpy(), images)
        assert moved.shape == still.shape and not np.allclose(moved.numpy(), images)
        assert moved.min() >= 0 and moved.max() <= 1.0001
    cropped = layers.RandomCrop(5, 4)(images, training=True)
    assert tuple(cropped.shape) == (4, 5, 4, 3)
    turned = layers.RandomRotation((0.25, 0.25), interpolation="nearest")(images, training=True)
    same = [np.allclose(turned.numpy(), np.rot90(images, k, (1, 2))) for k in (1, 3)]
    assert sum(same) == 1
    adapted = layers.Normalization()
    adapted.adapt(images)
    made = adapted(images).numpy()
    np.testing.assert_allclose(made.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(made.std((0, 1, 2)), 1, atol=1e-4)
