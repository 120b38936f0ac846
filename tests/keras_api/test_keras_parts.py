"""Parts that programs use less often, beside Keras: policies, averages, wrappers, nested models."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from oracle import array, both, close, ours, theirs, twins

import tilegrad as tg

X, TARGETS = array(40, 4), array(40, 1, seed=2)


@pytest.fixture(autouse=True)
def the_usual_policy():
    yield
    for keras in (theirs, ours):
        keras.config.set_dtype_policy("float32")


# --- mixed precision ------------------------------------------------------------------------------


def test_policies():
    for name in ("float32", "float64", "mixed_bfloat16", "mixed_float16", "bfloat16"):
        there, here = both(
            lambda k, name=name: [
                k.dtype_policies.get(name).name,
                k.DTypePolicy(name).compute_dtype,
                k.DTypePolicy(name).variable_dtype,
                k.layers.Dense(3, dtype=name).compute_dtype,
                k.layers.Dense(3, dtype=name).variable_dtype,
            ]
        )
        assert there == here
    for keras in (theirs, ours):
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
        layer = keras.layers.Dense(3)
        assert keras.config.dtype_policy().name == layer.dtype_policy.name == "mixed_bfloat16"
        made = layer(np.ones((2, 4), "float32"))
        assert str(made.dtype).endswith("bfloat16") and layer.kernel.dtype in (
            "float32", tg.float32,
        )  # fmt: skip
    for name in ("mixed_int8", "float31"):
        with pytest.raises(ValueError, match=name):
            ours.DTypePolicy(name)
    policy = ours.DTypePolicy("mixed_bfloat16")
    assert ours.dtype_policies.deserialize(ours.dtype_policies.serialize(policy)) == policy


def mixed_network(keras):
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(1, dtype="float32"),
        ]
    )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_as_in_keras(policy):
    for keras in (theirs, ours):
        keras.config.set_dtype_policy(policy)
    found = []
    for model in twins(mixed_network):
        model.compile("sgd", "mse")
        losses = model.fit(X, TARGETS, epochs=3, verbose=0, shuffle=False).history["loss"]
        optimizer = model.optimizer
        found.append((losses, type(optimizer).__name__, int(optimizer.iterations)))
        assert all("float32" in str(w.dtype) for w in model.weights)
    close(found[0][0], found[1][0], rtol=2e-2)
    assert found[0][1:] == found[1][1:]
    assert (found[1][1] == "LossScaleOptimizer") == (policy == "mixed_float16")


def test_loss_scaling_skips_steps_that_are_not_finite():
    states = []
    for keras in (theirs, ours):
        variable = keras.Variable(np.ones(3, "float32"))
        optimizer = keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(0.5), initial_scale=8.0, dynamic_growth_steps=2
        )
        optimizer.build([variable])
        seen = [float(optimizer.scale_loss(keras.ops.ones(())))]
        for gradient in ([8.0, 0, 0], [np.inf, 0, 0], [4.0, 4, 0], [4.0, 4, 0], [8.0, 0, 8]):
            optimizer.apply([keras.ops.convert_to_tensor(np.float32(gradient))], [variable])
            seen += [float(optimizer.dynamic_scale), int(optimizer.iterations)]
            seen += variable.numpy().tolist() if keras is ours else np.asarray(
                variable.value.detach()).tolist()  # fmt: skip
        states.append(seen)
    close(np.array(states[0]), np.array(states[1]))
    with pytest.raises(ValueError, match="inner_optimizer"):
        ours.optimizers.LossScaleOptimizer(ours.optimizers.SGD(), clipnorm=1.0)


def test_muon():
    def steps(keras):
        wide = keras.Variable(array(3, 5), name="wide")
        tall = keras.Variable(array(6, 2), name="tall")
        bias = keras.Variable(array(5), name="bias")
        optimizer = keras.optimizers.Muon(0.1, exclude_layers=["tall"])
        for step in range(4):
            grads = [keras.ops.convert_to_tensor(array(*v.shape, seed=step + 1))
                     for v in (wide, tall, bias)]  # fmt: skip
            optimizer.apply(grads, [wide, tall, bias])
        return [keras.ops.convert_to_numpy(v) for v in (wide, tall, bias)]

    close(*both(steps), rtol=2e-3, atol=2e-4)


# --- averages of weights --------------------------------------------------------------------------


@pytest.mark.parametrize("on_epoch", [False, True])
def test_averages_swap_as_in_keras(on_epoch):
    found = []
    for keras, model in zip((theirs, ours), twins(mixed_network), strict=True):
        model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
        seen = []

        class Look(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None, seen=seen):
                seen.append(self.model.get_weights())

        history = model.fit(
            X, TARGETS, epochs=3, verbose=0, shuffle=False, validation_data=(X, TARGETS),
            callbacks=[keras.callbacks.SwapEMAWeights(on_epoch), Look()],
        ).history  # fmt: skip
        found.append((history, seen, model.get_weights()))
    close(found[0], found[1], rtol=1e-3, atol=1e-4)
    plain = ours.Sequential([ours.layers.Dense(1)])
    plain.compile("sgd", "mse")
    with pytest.raises(ValueError, match="use_ema"):
        plain.fit(X, TARGETS, verbose=0, validation_data=(X, TARGETS),
                  callbacks=[ours.callbacks.SwapEMAWeights()])  # fmt: skip


# --- wrappers and cells ---------------------------------------------------------------------------

WRAPPED = {
    "dense": (lambda k: k.layers.TimeDistributed(k.layers.Dense(3)), (2, 5, 4)),
    "convolution": (lambda k: k.layers.TimeDistributed(k.layers.Conv2D(2, 3)), (2, 3, 6, 6, 1)),
    "spectral_dense": (
        lambda k: k.layers.SpectralNormalization(k.layers.Dense(3), power_iterations=3), (2, 4),
    ),
    "spectral_conv": (
        lambda k: k.layers.SpectralNormalization(k.layers.Conv2D(2, 3)), (2, 6, 6, 2),
    ),
    "cells": (
        lambda k: k.layers.RNN([k.layers.LSTMCell(3), k.layers.GRUCell(4)], return_sequences=True),
        (2, 5, 4),
    ),
    "cells_with_state": (
        lambda k: k.layers.RNN(
            k.layers.StackedRNNCells([k.layers.LSTMCell(3), k.layers.SimpleRNNCell(2)]),
            return_state=True,
        ),
        (2, 5, 4),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRAPPED)
def test_wrappers_and_cells(case):
    make, shape = WRAPPED[case]

    def built(keras):
        layer = make(keras)
        layer.build(shape)
        return layer

    there, here = twins(built)
    for _ in range(3 if "spectral" in case else 1):
        a, b = there(array(*shape), training=True), here(array(*shape), training=True)
    flat = [theirs.tree.flatten(a), ours.tree.flatten(b)]
    for first, second in zip(*flat, strict=True):
        close(first.detach().numpy(), second.detach().numpy(), rtol=1e-4, atol=1e-5)
    close(there.get_weights(), here.get_weights(), rtol=1e-4, atol=1e-5)
    again = ours.layers.deserialize(ours.layers.serialize(here))
    if not again.built:
        again.build(shape)
    again.set_weights(here.get_weights())
    last = ours.tree.flatten(again(array(*shape)))[0]
    close(ours.tree.flatten(here(array(*shape)))[0].detach().numpy(), last.detach().numpy())


# --- models within models, in files ---------------------------------------------------------------


def nested(keras):
    inner = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(3)],
        name="inner",
    )
    branch = keras.Model(
        *(lambda x: (x, keras.layers.Dense(3, name="side")(x)))(keras.Input((4,))), name="branch"
    )
    inputs = keras.Input((4,))
    both = keras.layers.Add()([inner(inputs), branch(inputs), inner(-inputs)])
    outputs = keras.layers.Dense(1, name="head")(keras.layers.BatchNormalization()(both))
    return keras.Model(inputs, outputs)


def test_nested_models_in_files(tmp_path):
    there, here = twins(nested)
    assert [layer.name.rstrip("_0123456789") for layer in there.layers] == [
        layer.name.rstrip("_0123456789") for layer in here.layers
    ]
    histories = []
    for model in (there, here):
        model.compile("sgd", "mse")
        histories.append(model.fit(X, TARGETS, epochs=2, verbose=0, shuffle=False).history)
    close(*histories, rtol=1e-3)
    here.save(tmp_path / "nested.keras")
    again = ours.saving.load_model(tmp_path / "nested.keras")
    close(here.predict(X, verbose=0), again.predict(X, verbose=0))
    assert again.get_layer("inner").count_params() == here.get_layer("inner").count_params()
    for model in (here, again):  # both train on alike, the shared part once
        model.fit(X, TARGETS, epochs=1, verbose=0, shuffle=False)
    close(here.get_weights(), again.get_weights())
    here.save_weights(tmp_path / "nested.weights.h5")
    fresh = nested(ours)
    fresh.load_weights(tmp_path / "nested.weights.h5")
    close(here.get_weights(), fresh.get_weights())
    here.get_layer("inner").trainable = False
    assert len(here.trainable_weights) == len(fresh.trainable_weights) - 4


# --- TensorBoard ----------------------------------------------------------------------------------


def test_tensorboard_writes_what_was_logged(tmp_path, monkeypatch):
    """The writer is another package's: what reaches it is looked at."""
    written = {}

    class Writer:
        def __init__(self, folder):
            self.folder = str(folder)

        def add_scalar(self, name, value, step):
            written.setdefault(self.folder.rpartition("/")[2], []).append(
                (name, float(value), step)
            )

        def __getattr__(self, name):
            return lambda *args, **kwargs: None

    module = type(sys)("tilegrad.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "tilegrad.utils.tensorboard", module)
    model = ours.Sequential([ours.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    history = model.fit(
        X, TARGETS, epochs=2, verbose=0, validation_data=(X, TARGETS),
        callbacks=[ours.callbacks.TensorBoard(tmp_path, update_freq=1)],
    ).history  # fmt: skip
    train, validation = written["train"], written["validation"]
    for epoch in range(2):
        assert ("epoch_loss", history["loss"][epoch], epoch) in train
        assert ("epoch_mae", history["mae"][epoch], epoch) in train
        found = [v for n, v, step in validation if n == "epoch_loss" and step == epoch]
        assert found == [history["val_loss"][epoch]]
    assert len([n for n, _, _ in train if n == "batch_loss"]) == 4


# --- parts of data sets ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sizes",
    [
        {"left_size": 0.75},
        {"left_size": 6},
        {"right_size": 0.25},
        {"left_size": 3, "right_size": 2},
    ],
)
def test_data_sets_in_two_parts(sizes):
    left, right = ours.utils.split_dataset((X[:8], TARGETS[:8]), **sizes)
    count = {0.75: 6, 6: 6, 3: 3}.get(sizes.get("left_size"), 6)
    rest = 2
    assert (len(left), len(right)) == (count, rest)
    close(X[:count], np.stack([x.numpy() for x, _ in left]))
    close(TARGETS[8 - rest : 8], np.stack([y.numpy() for _, y in right]))
    mixed, _ = ours.utils.split_dataset(X[:8], left_size=8 - 1, shuffle=True, seed=3)
    again, _ = ours.utils.split_dataset(X[:8], left_size=8 - 1, shuffle=True, seed=3)
    assert not np.allclose(np.stack([x.numpy() for x in mixed]), X[:7])
    close(np.stack([x.numpy() for x in mixed]), np.stack([x.numpy() for x in again]))
    with pytest.raises(ValueError, match="left_size"):
        ours.utils.split_dataset(X)


# --- misuse and interruptions ---------------------------------------------------------------------


def test_a_generator_that_ends_early_stops_with_what_it_had():
    """Keras says the same, but goes on with epochs of no batches; there we stop."""
    model = ours.Sequential([ours.Input((4,)), ours.layers.Dense(1)])
    model.compile("sgd", "mse")
    batches = ((X[i : i + 8], TARGETS[i : i + 8]) for i in range(0, 40, 8))
    with pytest.warns(UserWarning, match="ran out of data after 1 of 2 batches.*interrupting"):
        history = model.fit(batches, steps_per_epoch=2, epochs=5, verbose=0)
    assert history.epoch == [0, 1, 2] and len(history.history["loss"]) == 3
    assert int(model.optimizer.iterations) == 5


def test_a_loss_that_is_nan_trains_on_unless_told_to_stop():
    lengths = []
    for keras in (theirs, ours):
        for callbacks in ([], [keras.callbacks.TerminateOnNaN()]):
            model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
            model.compile("sgd", "mse")
            targets = TARGETS.copy()
            targets[3] = np.nan
            options = {"epochs": 3, "verbose": 0, "callbacks": callbacks, "shuffle": False}
            if keras is ours:
                with pytest.warns(UserWarning, match="loss is NaN"):
                    history = model.fit(X, targets, **options)
            else:
                history = model.fit(X, targets, **options)
            lengths.append(len(history.history["loss"]))
    assert lengths == [3, 1, 3, 1]


def test_interrupted_training_leaves_a_model_that_trains_on():
    model = mixed_network(ours)
    model.compile("adam", "mse", metrics=["mae"])
    before = model.get_weights()

    class Interrupt(ours.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if len(self.model.history.epoch) == 2 and batch == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(X, TARGETS, batch_size=8, epochs=9, verbose=0, callbacks=[Interrupt()])
    assert model.history.epoch == [0, 1] and len(model.history.history["mae"]) == 2
    assert int(model.optimizer.iterations) == 12
    assert not any(np.allclose(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    loss = model.evaluate(X, TARGETS, verbose=0)[0]
    model.fit(X, TARGETS, batch_size=8, epochs=20, verbose=0)
    assert model.evaluate(X, TARGETS, verbose=0)[0] < loss


def test_a_quick_try_by_settings():
    try:
        ours.config.set_max_epochs(2)
        ours.config.set_max_steps_per_epoch(3)
        model = ours.Sequential([ours.layers.Dense(1)])
        model.compile("sgd", "mse")
        history = model.fit(X, TARGETS, batch_size=4, epochs=9, verbose=0)
        assert history.epoch == [0, 1] and int(model.optimizer.iterations) == 6
        assert len(model.predict(X, batch_size=4, verbose=0)) == 12
    finally:
        ours.config.set_max_epochs(None)
        ours.config.set_max_steps_per_epoch(None)
