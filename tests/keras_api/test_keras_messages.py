"""What is said to the user, and where: printed, or in Python's log after the switch is off."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from oracle import array, ours, theirs

X, TARGETS = array(40, 4), array(40, 1, seed=2)


@pytest.fixture
def quiet(caplog):
    caplog.set_level(logging.INFO, logger="tilegrad.keras")
    ours.config.disable_interactive_logging()
    yield caplog
    ours.utils.enable_interactive_logging()


def regressor(**options):
    model = ours.Sequential([ours.Input((4,)), ours.layers.Dense(1)])
    model.compile(**{"optimizer": "sgd", "loss": "mse", **options})
    return model


def test_progress_goes_to_the_log_when_it_is_not_to_be_printed(quiet, capsys):
    assert not ours.utils.is_interactive_logging_enabled()
    model = regressor(metrics=["mae"])
    model.fit(X, TARGETS, epochs=2, batch_size=20)
    assert capsys.readouterr().out == ""
    lines = [record.getMessage() for record in quiet.records]
    assert lines[0] == "Epoch 1/2" and lines[2] == "Epoch 2/2" and len(lines) == 4
    assert lines[1].startswith("2/2 ") and " - loss: " in lines[1] and " - mae: " in lines[1]
    assert {(r.name, r.levelname) for r in quiet.records} == {("tilegrad.keras", "INFO")}
    quiet.clear()
    model.fit(X, TARGETS, batch_size=20, verbose=2)
    model.evaluate(X, TARGETS)
    model.predict(X)
    assert len(quiet.records) == 3
    model.fit(X, TARGETS, verbose=0)
    assert len(quiet.records) == 3
    ours.config.enable_interactive_logging()
    model.evaluate(X, TARGETS)
    assert len(quiet.records) == 3 and " - loss: " not in quiet.text.splitlines()[-1]
    assert "loss: " in capsys.readouterr().out


def test_no_bar_is_drawn_where_progress_is_logged(quiet, capsys, monkeypatch):
    monkeypatch.setattr("tilegrad.keras.utils.progress._on_a_terminal", lambda: True)
    bar = ours.utils.Progbar(3, interval=0)
    for i in range(1, 4):
        assert not bar.due()
        bar.update(i, [("loss", float(i))])
    assert capsys.readouterr().out == ""
    (record,) = quiet.records
    assert "3/3" in record.getMessage() and "loss: 2.0000" in record.getMessage()
    assert "\x1b" not in record.getMessage() and "\r" not in record.getMessage()


def test_summaries_and_callbacks_are_logged_too(quiet, capsys, tmp_path):
    model = regressor()
    model.summary()
    assert "Total params: 5" in quiet.records[0].getMessage()
    callbacks = [
        ours.callbacks.ModelCheckpoint(tmp_path / "m.keras", monitor="loss", verbose=1),
        ours.callbacks.LearningRateScheduler(lambda epoch: 0.5, verbose=1),
        ours.callbacks.EarlyStopping("loss", patience=0, mode="max", verbose=1),
    ]
    model.fit(X, TARGETS, epochs=5, verbose=0, callbacks=callbacks)
    text = quiet.text
    assert "saving model to" in text and "setting learning rate to 0.5" in text
    assert "early stopping" in text
    for folder in ("a", "b"):
        (tmp_path / "words" / folder).mkdir(parents=True)
        (tmp_path / "words" / folder / "1.txt").write_text("word")
    ours.utils.text_dataset_from_directory(tmp_path / "words")
    assert "Found 2 files belonging to 2 classes." in quiet.records[-1].getMessage()
    assert capsys.readouterr().out == ""


def test_callbacks_say_what_keras_says(capsys):
    """The lines of watching callbacks, compared word by word, numbers rounded."""
    said = []
    for keras in (theirs, ours):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.25), "mse")
        values = iter([3.0, 2.0, 2.5, 2.6, 2.7, 2.8])

        class Fake(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None, values=values):
                logs["fake"] = next(values)

        capsys.readouterr()
        model.fit(
            X, np.zeros((40, 1), "float32"), epochs=6, verbose=0,
            callbacks=[
                Fake(),
                keras.callbacks.ReduceLROnPlateau("fake", 0.5, 2, mode="min", verbose=1),
                keras.callbacks.EarlyStopping(
                    "fake", patience=3, mode="min", verbose=1, restore_best_weights=True
                ),
            ],
        )  # fmt: skip
        said.append([line for line in capsys.readouterr().out.splitlines() if line])
    assert said[0] == said[1] and len(said[0]) == 3
