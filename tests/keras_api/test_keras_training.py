"""Training: histories, callbacks, kinds of data, custom steps, and what is refused."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest
from oracle import array, close, ours, theirs, twins

import tilegrad as tg

X, LABELS = array(50, 4), np.random.default_rng(1).integers(0, 3, 50)
TARGETS = array(50, 1, seed=2)


def classifier(keras):
    dense = keras.layers.Dense
    return keras.Sequential(
        [keras.Input((4,)), dense(5, activation="relu"), dense(3, activation="softmax")]
    )


def regressor(keras):
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])


def compiled(keras, model=None, **options):
    model = regressor(keras) if model is None else model
    model.compile(**{"optimizer": "sgd", "loss": "mse", **options})
    return model


FITS = {
    "plain": {},
    "split": {"validation_split": 0.2},
    "validation": {"validation_data": (X[:7], LABELS[:7]), "validation_freq": 2},
    "weighted_validation": {"validation_data": (X[:7], LABELS[:7], np.arange(7.0))},
    "class_weight": {"class_weight": {0: 1.0, 1: 2.0, 2: 0.5}},
    "sample_weight": {"sample_weight": np.linspace(0, 2, 50)},
    "steps": {"steps_per_epoch": 2},
    "later": {"initial_epoch": 2, "epochs": 4},
}


@pytest.mark.parametrize("case", FITS)
def test_histories(case):
    options = {"epochs": 3, "batch_size": 16, "shuffle": False, "verbose": 0, **FITS[case]}
    found = []
    for model in twins(classifier):
        model.compile(
            "adam",
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            weighted_metrics=["sparse_categorical_crossentropy"],
        )
        history = model.fit(X, LABELS, **options)
        assert model.history is history
        names = list(history.history)
        results = model.evaluate(X, LABELS, verbose=0)
        found.append((history.history, history.epoch, names, history.params, results))
    close(found[0][0], found[1][0], rtol=1e-4, atol=1e-5)
    assert found[0][1:4] == found[1][1:4]
    close(found[0][4], found[1][4], rtol=1e-4, atol=1e-5)


def two_heads(keras):
    first, second = keras.Input((4,), name="first"), keras.Input((4,), name="second")
    both = keras.layers.Concatenate()([first, second])
    shared = keras.layers.Dense(4, activation="tanh")
    hidden = keras.layers.Add()([shared(first), shared(second)])
    number = keras.layers.Dense(1, name="number")(hidden)
    kind = keras.layers.Dense(3, activation="softmax", name="kind")(both)
    return keras.Model([first, second], [number, kind])


@pytest.mark.parametrize("as_dictionaries", [False, True])
def test_several_inputs_and_outputs(as_dictionaries):
    found = []
    for model in twins(two_heads):
        x, y = [X, X[::-1].copy()], [TARGETS, LABELS]
        if as_dictionaries:
            x, y = dict(zip(("first", "second"), x, strict=True)), dict(
                zip(("number", "kind"), y, strict=True)
            )  # fmt: skip
            model.compile(
                "sgd",
                loss={"number": "mse", "kind": "sparse_categorical_crossentropy"},
                loss_weights={"number": 0.3, "kind": 1.0},
                metrics={"number": ["mae"], "kind": ["accuracy"]},
            )
        else:
            model.compile(
                "sgd",
                loss=["mse", "sparse_categorical_crossentropy"],
                metrics=[["mae"], ["accuracy"]],
            )
        history = model.fit(x, y, batch_size=20, epochs=2, shuffle=False, verbose=0)
        found.append((history.history, model.predict(x, verbose=0)))
    close(found[0], found[1], rtol=1e-4, atol=1e-5)


def test_regularizers_activities_and_constraints():
    def make(keras):
        return keras.Sequential(
            [
                keras.Input((4,)),
                keras.layers.Dense(
                    5,
                    kernel_regularizer=keras.regularizers.L1L2(0.01, 0.02),
                    activity_regularizer="l2",
                    kernel_constraint=keras.constraints.MaxNorm(0.8),
                ),
                keras.layers.ActivityRegularization(l1=0.1),
                keras.layers.Dense(1, bias_constraint="non_neg"),
            ]
        )

    pair = twins(make)
    histories = [
        compiled(None, model).fit(X, TARGETS, batch_size=16, shuffle=False, verbose=0).history
        for model in pair
    ]
    close(*histories)
    close(pair[0].get_weights(), pair[1].get_weights())


def test_masks_reach_losses_and_recurrent_layers():
    tokens = np.array([[3, 1, 0, 0], [2, 0, 0, 0], [1, 2, 3, 4]])
    targets = np.array([[1, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 0]])

    def make(keras, cell):
        return keras.Sequential(
            [
                keras.Input((4,), dtype="int32"),
                keras.layers.Embedding(6, 3, mask_zero=True),
                getattr(keras.layers, cell)(4, return_sequences=True),
                keras.layers.Bidirectional(getattr(keras.layers, cell)(2, return_sequences=True)),
                keras.layers.Dense(2, activation="softmax"),
            ]
        )

    for cell in ("LSTM", "GRU", "SimpleRNN"):
        for data in (tokens, tokens[:, ::-1].copy(), tokens[:, [2, 0, 3, 1]]):
            pair = twins(lambda keras, cell=cell: make(keras, cell))
            close(pair[0].predict(data, verbose=0), pair[1].predict(data, verbose=0))
            histories = []
            for model in pair:
                model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
                histories.append(
                    model.fit(data, targets, epochs=2, verbose=0, shuffle=False).history
                )
            close(*histories)
            close(pair[0].get_weights(), pair[1].get_weights())


# --- kinds of data ------------------------------------------------------------------------------


class Slices(ours.utils.PyDataset):
    def __len__(self):
        return 5

    def __getitem__(self, i):
        return X[10 * i : 10 * i + 10], TARGETS[10 * i : 10 * i + 10]


def forever():
    while True:
        for i in range(5):
            yield X[10 * i : 10 * i + 10], TARGETS[10 * i : 10 * i + 10]


def test_every_kind_of_data_trains_the_same():
    start = compiled(ours).get_weights()

    def weights(*data, **options):
        model = compiled(ours)
        model.set_weights(start)
        model.fit(*data, epochs=2, verbose=0, **options)
        return model.get_weights()

    loader = tg.utils.data.DataLoader(
        tg.utils.data.TensorDataset(tg.from_numpy(X), tg.from_numpy(TARGETS)), batch_size=10
    )
    expected = weights(X, TARGETS, batch_size=10, shuffle=False)
    for found in (
        weights(tg.from_numpy(X), tg.from_numpy(TARGETS), batch_size=10, shuffle=False),
        weights(X.tolist(), TARGETS.tolist(), batch_size=10, shuffle=False),
        weights(Slices()),
        weights(loader),
        weights(forever(), steps_per_epoch=5),
    ):
        close(expected, found, 1e-6, 1e-7)


def test_generators_that_end():
    def three():
        for i in range(3):
            yield X[10 * i : 10 * i + 10], TARGETS[10 * i : 10 * i + 10]

    model = compiled(ours)
    with pytest.warns(UserWarning, match="ran out of data after 3 of 5 batches"):
        history = model.fit(three(), steps_per_epoch=5, epochs=4, verbose=0)
    assert len(history.history["loss"]) == 1
    with pytest.warns(UserWarning, match="used up after one epoch"):
        history = model.fit(three(), epochs=4, verbose=0)
    assert len(history.history["loss"]) == 1


def test_shuffling_is_seeded_and_covers_all():
    seen = []

    class Recording(ours.Model):
        def call(self, x):
            seen.append(x.detach().numpy().ravel().copy())
            return x * self.scale

        def build(self, shape):
            self.scale = self.add_weight(shape=(1,), initializer="ones")

    runs = []
    for _ in range(2):
        seen.clear()
        ours.utils.set_random_seed(3)
        compiled(ours, Recording()).fit(np.arange(10.0), np.arange(10.0), batch_size=4, verbose=0)
        runs.append(np.concatenate(seen[-3:]))
    assert sorted(runs[0]) == list(range(10)) and list(runs[0]) != list(range(10))
    np.testing.assert_array_equal(*runs)


# --- steps of one's own -------------------------------------------------------------------------


def test_custom_train_step_is_that_of_keras():
    class Custom(ours.Model):
        def __init__(self):
            super().__init__()
            self.dense = ours.layers.Dense(1)
            self.tracker = ours.metrics.Mean(name="own")

        def call(self, x):
            return self.dense(x)

        def train_step(self, data):
            x, y = data
            self.zero_grad()
            loss = self.compute_loss(y=y, y_pred=self(x, training=True))
            loss.backward()
            weights = self.trainable_weights
            self.optimizer.apply([w.value.grad for w in weights], weights)
            self.tracker.update_state(loss)
            return {"own": self.tracker.result()}

    plain = compiled(ours)
    custom = Custom()
    custom(X)
    custom.set_weights(plain.get_weights())
    custom.compile("sgd", "mse")
    options = {"epochs": 2, "batch_size": 25, "shuffle": False, "verbose": 0}
    expected = plain.fit(X, TARGETS, **options).history["loss"]
    history = custom.fit(X, TARGETS, **options)
    assert list(history.history) == ["own"]
    close(expected, history.history["own"])
    close(plain.get_weights(), custom.get_weights())


def test_single_batches():
    found = []
    for model in twins(classifier):
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        found.append(
            [
                model.train_on_batch(X, LABELS),
                model.test_on_batch(X, LABELS, return_dict=True),
                model.predict_on_batch(X),
            ]
        )
    close(*found, rtol=1e-4)


# --- what is printed ----------------------------------------------------------------------------


def test_progress_in_plain_lines(capsys):
    model = compiled(ours, metrics=["mae"])
    model.fit(X, TARGETS, epochs=2, batch_size=20, validation_split=0.2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Epoch 1/2" and lines[2] == "Epoch 2/2" and len(lines) == 4
    assert lines[1].startswith("2/2 " + "━" * 20) and "s/step - " in lines[1]
    for name in (" - loss: ", " - mae: ", " - val_loss: ", " - val_mae: "):
        assert name in lines[1]
    model.fit(X, TARGETS, batch_size=20, verbose=2)
    assert capsys.readouterr().out.startswith("3/3 - 0s - ")
    model.evaluate(X, TARGETS)
    model.predict(X)
    assert len(capsys.readouterr().out.splitlines()) == 2
    model.fit(X, TARGETS, verbose=0)
    assert capsys.readouterr().out == ""


def test_progress_on_a_terminal_redraws_its_line(monkeypatch, capsys):
    monkeypatch.setattr("tilegrad.keras.utils.progress._on_a_terminal", lambda: True)
    bar = ours.utils.Progbar(3, interval=0)
    for i in range(1, 4):
        bar.update(i, [("loss", 1.0)])
    printed = capsys.readouterr().out
    assert printed.count("\r") == 3 and printed.count("\n") == 1
    assert "\x1b[1m3/3\x1b[0m" in printed and "loss: 1.0000" in printed


def test_summaries_count_as_keras_does():
    for make in (classifier, two_heads):
        texts = []
        for keras in (theirs, ours):
            lines = []
            make(keras).summary(print_fn=lines.append)
            texts.append("\n".join(map(str, lines)))
        totals = [[t for t in text.splitlines() if "params" in t] for text in texts]
        assert totals[0] == totals[1]
    with pytest.raises(ValueError, match="isn't built"):
        ours.layers.Dense(3).count_params()


# --- what is refused ----------------------------------------------------------------------------


def test_misuse_is_one_clear_error():
    model = regressor(ours)
    with pytest.raises(ValueError, match=r"call `compile\(\)` before"):
        model.fit(X, TARGETS)
    with pytest.raises(ValueError, match="Could not interpret optimizer"):
        model.compile("no_such")
    with pytest.raises(ValueError, match="did you mean 'mean_squared_error'"):
        model.compile("sgd", "mean_squared_eror")
    with pytest.raises(ValueError, match="Could not interpret metric"):
        model.compile("sgd", "mse", metrics=["no_such"])
    compiled(ours, model)
    for share in (1.5, -0.5, 1.0):
        with pytest.raises(ValueError, match="between 0 and 1"):
            model.fit(X, TARGETS, validation_split=share)
    with pytest.raises(ValueError, match="cardinality is ambiguous"):
        model.fit(X, TARGETS[:-1])
    with pytest.raises(ValueError, match="incompatible"):
        model.fit(X[:, :3], TARGETS, verbose=0)
    with pytest.raises(ValueError, match="min_ndim=2, found ndim=1"):
        ours.layers.Dense(2)(X[0])
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=2"):
        ours.layers.Conv2D(2, 3)(X)
    with pytest.raises(ValueError, match="does not fit"):
        ours.layers.Conv2D(2, 9)(array(1, 4, 4, 3))
    with pytest.raises(ValueError, match="sparse_categorical_crossentropy"):
        compiled(ours, classifier(ours), loss="categorical_crossentropy").fit(X, LABELS, verbose=0)
    with pytest.raises(ValueError, match="No loss to compute"):
        compiled(ours, loss=None).fit(X, TARGETS, verbose=0)
    with pytest.raises(TypeError, match="call it"):
        model.fit(X, TARGETS, callbacks=[ours.callbacks.TerminateOnNaN])
    with pytest.raises(ValueError, match="not connected"):
        ours.Model(ours.Input((3,)), ours.layers.Dense(1)(ours.Input((3,))))
    with pytest.raises(ValueError, match="differ in length"):
        model.fit(np.array([[1, 2], [3]], dtype=object), TARGETS[:2], verbose=0)
    with pytest.raises(ValueError, match="argument 'x' is None"):
        model.fit()
    with pytest.raises(ValueError, match="Existing layers are"):
        model.get_layer("no_such")


def test_a_loss_that_is_nan_is_said():
    with pytest.warns(UserWarning, match="loss is NaN in epoch 1"):
        compiled(ours).fit(X * np.nan, TARGETS, verbose=0)


def test_keras_programs_run_unchanged():
    program = """
        import keras, numpy as np
        from keras import layers, ops
        from keras.models import Sequential
        model = Sequential([layers.Dense(1)])
        model.compile("rmsprop", "mse")
        model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
        print(keras.__name__, ops.shape(model.predict(np.ones((3, 2)), verbose=0)))
    """
    result = subprocess.run(
        [sys.executable, "-m", "tilegrad.run", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert result.stdout == "keras (3, 1)\n"


def test_metrics_count_every_batch_of_a_generator_that_reuses_its_memory():
    images, labels = array(96, 4), np.arange(96) % 3
    memory, numbers = np.empty((8, 4), np.float32), np.empty(8, np.int64)

    def batches():
        for start in range(0, 96, 8):
            memory[:], numbers[:] = images[start : start + 8], labels[start : start + 8]
            yield memory, numbers

    def history(*data, **options):
        model = ours.Sequential([ours.layers.Dense(3, activation="softmax")])
        model.build((None, 4))
        model.set_weights([array(4, 3), array(3)])
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        found = model.fit(*data, shuffle=False, verbose=0, **options).history
        return [found["loss"][0], found["accuracy"][0]]

    assert history(batches(), steps_per_epoch=12) == history(images, labels, batch_size=8)


def test_whoever_looks_at_metrics_finds_them_up_to_date():
    looks = []

    class Look(ours.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            metrics = self.model.metrics
            looks.append([float(m.result()) for m in metrics])
            assert [logs["loss"], logs["accuracy"]] == looks[-1]

    model = ours.Sequential([ours.layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    images, labels = array(20, 4), np.arange(20) % 3
    model.fit(images, labels, batch_size=8, verbose=0, callbacks=[Look()])
    assert len(looks) == 3
    model.train_on_batch(images, labels)
    before = [m.result() for m in model.metrics]
    model.reset_metrics()
    assert [float(m.result()) for m in model.metrics] == [0, 0] != before


def test_a_model_compiled_without_a_loss_reports_what_its_layers_add():
    class Penalty(ours.layers.Layer):
        def call(self, x):
            self.add_loss((x**2).mean())
            return x

    model = ours.Sequential([ours.layers.Dense(3), Penalty()])
    model.compile("sgd")
    losses = model.fit(array(32, 4), epochs=2, verbose=0).history["loss"]
    assert 0 < losses[1] < losses[0]
    assert model.evaluate(array(32, 4), verbose=0) < losses[1]


def test_a_loss_of_ones_own_may_be_a_number_in_evaluation():
    class Regression(ours.Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            loss = ((y - y_pred) ** 2).mean()
            return loss if training else float(loss)

    model = Regression([ours.layers.Dense(1)])
    model.compile("sgd")
    images, targets = array(32, 4), array(32, 1)
    model.fit(images, targets, verbose=0)
    expected = np.mean((targets - model.predict(images, verbose=0)) ** 2)
    np.testing.assert_allclose(model.evaluate(images, targets, verbose=0), expected, rtol=1e-5)
