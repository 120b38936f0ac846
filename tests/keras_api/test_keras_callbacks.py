"""Callbacks: when they are called, what they decide, what they write, what interrupts leave."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import array, close, ours, theirs

X, TARGETS = array(50, 4), array(50, 1, seed=2)


def regressor(keras):
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])


def compiled(keras, **options):
    model = regressor(keras)
    model.compile(**{"optimizer": "sgd", "loss": "mse", **options})
    return model


def test_callbacks_are_called_in_order():
    def recorder(keras):
        class Recorder(keras.callbacks.Callback):
            pass

        calls = []
        for name in dir(keras.callbacks.Callback):
            if (name.startswith("on_") and "_batch_" in name) or name in (
                "on_epoch_begin", "on_epoch_end", "on_train_begin", "on_train_end", "on_test_begin",
                "on_test_end",
            ):  # fmt: skip
                setattr(Recorder, name, lambda self, *args, name=name, **kw: calls.append(
                    (name, args[0] if isinstance(args and args[0], int) else None)))  # fmt: skip
        return Recorder(), calls

    found = []
    for keras in (theirs, ours):
        callback, calls = recorder(keras)
        compiled(keras).fit(
            X, TARGETS, epochs=2, verbose=0, callbacks=[callback], validation_split=0.2
        )
        found.append([c for c in calls if c[0] not in ("on_batch_begin", "on_batch_end")])
    assert found[0] == found[1]


def test_watching_callbacks_do_as_keras_does():
    values = [3.0, 2.0, 2.5, 1.5, 1.6, 1.7, 1.8, 1.9]
    for options in ({"patience": 2}, {"min_delta": 0.8, "patience": 1}, {"baseline": 2.2},
                    {"mode": "max", "patience": 3}, {"start_from_epoch": 4}):  # fmt: skip
        stops = []
        for keras in (theirs, ours):
            model = compiled(keras)
            stopper = keras.callbacks.EarlyStopping("fake", **{"mode": "min", **options})
            stopper.set_model(model)
            model.stop_training = False
            stopper.on_train_begin()
            for epoch, value in enumerate(values):
                stopper.on_epoch_end(epoch, {"fake": value})
                if model.stop_training:
                    break
            stops.append(epoch)
        assert stops[0] == stops[1], options
    rates = []
    for keras in (theirs, ours):
        model = compiled(keras)
        plateau = keras.callbacks.ReduceLROnPlateau("fake", 0.5, 2, mode="min", min_lr=0.003)
        plateau.set_model(model)
        plateau.on_train_begin()
        rates.append([])
        for epoch, value in enumerate([3.0, *[3.0] * 8]):
            plateau.on_epoch_end(epoch, {"fake": value})
            rates[-1].append(float(model.optimizer.learning_rate))
    close(*rates)


def test_early_stopping_brings_the_best_weights_back():
    model = compiled(ours)
    kept = []

    class Worse(ours.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kept.append(self.model.get_weights())
            logs["val_loss"] = float(epoch != 1)

    stopper = ours.callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    model.fit(X, TARGETS, epochs=9, verbose=0, validation_split=0.2, callbacks=[Worse(), stopper])
    assert len(kept) == 4 and stopper.best_epoch == 1
    close(kept[1], model.get_weights(), 0, 0)


def test_files_of_callbacks(tmp_path):
    model = compiled(ours)
    callbacks = [
        ours.callbacks.ModelCheckpoint(tmp_path / "{epoch:02d}.keras"),
        ours.callbacks.ModelCheckpoint(
            tmp_path / "best.weights.h5",
            save_weights_only=True,
            save_best_only=True,
            monitor="loss",
        ),
        ours.callbacks.CSVLogger(tmp_path / "log.csv"),
        ours.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2),
        ours.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(more=epoch)),
        ours.callbacks.TerminateOnNaN(),
    ]
    history = model.fit(X, TARGETS, epochs=2, verbose=0, callbacks=callbacks)
    assert history.history["learning_rate"] == pytest.approx([0.005, 0.0025])
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines[0].startswith("epoch,") and len(lines) == 3
    again = ours.models.load_model(tmp_path / "02.keras")
    close(again.get_weights(), model.get_weights(), 0, 0)
    other = regressor(ours)
    other.load_weights(tmp_path / "best.weights.h5")
    close(other.get_weights(), model.get_weights(), 0, 0)


def test_a_backup_goes_on_where_it_stopped(tmp_path):
    class Stop(ours.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    whole = compiled(ours, optimizer="adam")
    start = whole.get_weights()
    whole.fit(X, TARGETS, epochs=5, verbose=0, shuffle=False)
    cut = compiled(ours, optimizer="adam")
    cut.set_weights(start)
    backup = ours.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        cut.fit(X, TARGETS, epochs=5, verbose=0, shuffle=False, callbacks=[backup, Stop()])
    fresh = compiled(ours, optimizer="adam")
    history = fresh.fit(X, TARGETS, epochs=5, verbose=0, shuffle=False, callbacks=[backup])
    assert history.epoch == [3, 4]
    close(whole.get_weights(), fresh.get_weights())
    assert not (tmp_path / "backup").exists()


def test_an_interrupt_leaves_model_and_history():
    class Stop(ours.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.history.epoch == [0] and batch == 2:
                raise KeyboardInterrupt

    model = compiled(ours)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, TARGETS, batch_size=10, epochs=3, verbose=0, callbacks=[Stop()])
    assert model.history.epoch == [0] and len(model.history.history["loss"]) == 1
    assert np.isfinite(model.predict(X, verbose=0)).all()
    model.fit(X, TARGETS, verbose=0)


def test_logs_are_always_a_dictionary():
    """Callbacks of tutorials list the keys of the logs in every hook."""

    def seen_by(keras):
        seen = []

        class Keys(keras.callbacks.Callback):
            pass

        for name in dir(keras.callbacks.Callback):
            if name.startswith("on_") and not name.startswith("on_batch"):
                setattr(Keys, name, lambda self, *args, name=name, **kw: seen.append(
                    (name, sorted([*args, *kw.values()][-1].keys()))))  # fmt: skip
        model = compiled(keras)
        options = {"verbose": 0, "callbacks": [Keys()]}
        model.fit(X, TARGETS, batch_size=25, validation_split=0.5, **options)
        model.evaluate(X, TARGETS, batch_size=25, **options)
        model.predict(X, batch_size=25, **options)
        return [entry for entry in seen if "predict_batch_end" not in entry[0]]

    there, here = seen_by(theirs), seen_by(ours)
    assert [name for name, _ in there] == [name for name, _ in here]
    for (name, expected), (_, found) in zip(there, here, strict=True):
        assert expected == found, name
