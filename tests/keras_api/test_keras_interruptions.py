"""Training that is cut off from outside: a killed process, and Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from oracle import close, ours

needs_signals = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")

START = """
import resource, signal, sys
import numpy as np
from tilegrad import keras

folder = sys.argv[1]
keras.utils.set_random_seed(1)
model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64)])
model.compile("adam", "mse")
X = np.random.default_rng(0).standard_normal((64, 64)).astype("float32")
"""

CRASH = """
class Crash(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:  # the kernel ends the process in the middle of its next longer file
            np.savez(folder + "/kept.npz", *self.model.get_weights())
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

keep = {
    "model": lambda: keras.callbacks.ModelCheckpoint(folder + "/x.keras"),
    "weights": lambda: keras.callbacks.ModelCheckpoint(
        folder + "/x.weights.h5", save_weights_only=True
    ),
    "backup": lambda: keras.callbacks.BackupAndRestore(folder + "/backup"),
}[sys.argv[2]]()
model.fit(X, X, epochs=5, verbose=0, callbacks=[Crash(), keep])
print("not reached")
"""

LOOP = """
class Say(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            print("ready", flush=True)

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the shell's background
before = model.evaluate(X, X, verbose=0)
try:
    model.fit(X, X, epochs=10**9, verbose=0, callbacks=[Say()])
except KeyboardInterrupt:
    pass
history = model.history
assert 2 <= len(history.epoch) == len(history.history["loss"]) < 10**9
assert history.epoch == list(range(len(history.epoch)))
assert np.isfinite(model.predict(X, verbose=0)).all()
assert model.evaluate(X, X, verbose=0) < before
model.save(folder + "/x.keras")
more = model.fit(X, X, epochs=1, verbose=0).history["loss"]
assert more[0] < before
print("whole", flush=True)
"""


@contextlib.contextmanager
def start(program, *arguments):
    """Runs the program in a process that does not outlive the test."""
    source = textwrap.dedent(START + program)
    process = subprocess.Popen(
        [sys.executable, "-c", source, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@needs_signals
@pytest.mark.parametrize("kind", ["model", "weights", "backup"])
def test_a_crash_during_a_checkpoint_leaves_the_previous_file_whole(tmp_path, kind):
    with start(CRASH, tmp_path, kind) as process:
        printed, errors = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGXFSZ, errors
        assert printed == ""
    with np.load(tmp_path / "kept.npz") as file:
        kept = [file[name] for name in file.files]
    model = ours.Sequential([ours.Input((64,)), ours.layers.Dense(64)])
    if kind == "model":
        model = ours.models.load_model(tmp_path / "x.keras")
        assert int(model.optimizer.iterations) == 4
    elif kind == "weights":
        model.load_weights(tmp_path / "x.weights.h5")
    else:
        model.compile("adam", "mse")
        x = np.zeros((64, 64), "float32")

        class Look(ours.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                self.model.stop_training = True
                self.found = epoch, self.model.get_weights()

        look = Look()
        backup = ours.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
        model.fit(x, x, epochs=5, verbose=0, callbacks=[backup, look])
        assert look.found[0] == 2
        close(kept, look.found[1], 0, 0)
        return
    close(kept, model.get_weights(), 0, 0)


@needs_signals
def test_ctrl_c_leaves_a_model_and_a_history_that_can_be_used(tmp_path):
    with start(LOOP, tmp_path) as process:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate(timeout=120)
        assert (process.returncode, printed) == (0, "whole\n"), errors
    assert ours.models.load_model(tmp_path / "x.keras").count_params() == 64 * 65


def test_an_epoch_that_is_interrupted_between_its_numbers_is_taken_back():
    class Interrupted(dict):
        def items(self):
            yield "loss", 0.5
            raise KeyboardInterrupt

    history = ours.callbacks.History()
    history.set_model(ours.Sequential([ours.Input((2,)), ours.layers.Dense(1)]))
    history.on_train_begin()
    history.on_epoch_end(0, {"loss": 1.0, "accuracy": 0.25})
    with pytest.raises(KeyboardInterrupt):
        history.on_epoch_end(1, Interrupted(loss=0.5))
    history.on_train_end()
    assert history.epoch == [0]
    assert history.history == {"loss": [1.0], "accuracy": [0.25]}
