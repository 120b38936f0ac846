"""What Keras's ``fit`` costs beside loops written by hand, for the same network and data.

A loop shuffles, takes batches, and calls forward, loss, backward and the optimizer, nothing else:
one those of ``tilegrad.nn`` and ``tilegrad.optim``, the other those of the same Keras model, whose
images and kernels lie in another order. ``fit`` counts losses and accuracies besides. All take
turns; ``more`` is the median over rounds of the time that ``fit`` takes more.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tilegrad as tg
from tilegrad import keras, nn
from tilegrad.keras import layers
from timing import rounds_in_turns

GOAL = 0.05
Case = tuple[Callable[[], Any], Callable[[], Any], tuple[int, ...], int]
Program = Callable[[], object]


def with_nn(model: Any, optimizer: Any, images: Any, labels: Any, batch: int) -> None:
    """One epoch."""
    order = tg.randperm(len(images))
    for start in range(0, len(images), batch):
        rows = order[start : start + batch]
        outputs = model(tg.index_select(images, 0, rows))
        loss = nn.functional.cross_entropy(outputs, tg.index_select(labels, 0, rows))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def with_layers(model: Any, images: Any, labels: Any, batch: int) -> None:
    """One epoch of the layers, the loss and the optimizer of Keras."""
    order = tg.randperm(len(images))
    weights, optimizer = tuple(model.trainable_weights), model.optimizer
    loss_of = keras.losses.SparseCategoricalCrossentropy()
    for start in range(0, len(images), batch):
        rows = order[start : start + batch]
        outputs = model(tg.index_select(images, 0, rows), training=True)
        loss = loss_of(tg.index_select(labels, 0, rows), outputs)
        for weight in weights:
            weight.grad = None
        loss.backward()
        optimizer.apply([weight.grad for weight in weights], weights)


def dense_by_hand() -> Any:
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))


def dense_in_keras() -> Any:
    return keras.Sequential(
        [layers.Dense(512, activation="relu"), layers.Dense(10, activation="softmax")]
    )


def small_by_hand() -> Any:
    return nn.Sequential(
        nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )


def small_in_keras() -> Any:
    return keras.Sequential(
        [
            layers.Dense(64, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def convnet_by_hand() -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1600, 10),
    )  # fmt: skip


def convnet_in_keras() -> Any:
    return keras.Sequential(
        [
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )


# How to make both, the shape of a sample, and batches per epoch.
CASES: dict[str, Case] = {
    "dense 784-512-10, batch 128": (dense_by_hand, dense_in_keras, (784,), 100),
    "convnet 32-64, batch 128": (convnet_by_hand, convnet_in_keras, (28, 28, 1), 10),
    "dense 8-64-64-10, batch 128": (small_by_hand, small_in_keras, (8,), 400),
}


def epochs(case: Case, verbose: int) -> tuple[Program, Program, Program]:
    """One epoch by hand with nn and with Keras's layers, and one by ``fit``."""
    plain, layered, shape, batches = case
    source = np.random.default_rng(0)
    images = source.standard_normal((128 * batches, *shape)).astype("float32")
    labels = source.integers(0, 10, 128 * batches)
    model, kept = plain(), layered()
    optimizer = tg.optim.Adam(model.parameters(), lr=1e-4)
    kept.compile(
        keras.optimizers.Adam(1e-4), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    kept.build((None, *shape))
    last, classes = tg.from_numpy(images), tg.from_numpy(labels)
    first = last if len(shape) == 1 else last.permute(0, 3, 1, 2).contiguous()
    return (
        lambda: with_nn(model, optimizer, first, classes, 128),
        lambda: with_layers(kept, last, classes, 128),
        lambda: kept.fit(images, labels, batch_size=128, verbose=verbose),
    )


def measure(case: Case, rounds: int, verbose: int = 0) -> tuple[float, float, float, float, float]:
    """Milliseconds per step with nn, with Keras's layers and by ``fit``, and the shares that
    ``fit`` takes more than the two."""
    clock = time.process_time if tg.get_num_threads() == 1 else time.perf_counter
    programs = epochs(case, verbose)
    for program in programs:
        program()
    times = rounds_in_turns(programs, (1, 1, 1), rounds, clock)
    more = [
        statistics.median(fit / hand for hand, fit in zip(hands, times[2], strict=True)) - 1
        for hands in times[:2]
    ]
    step = [statistics.median(each) * 1e3 / case[3] for each in times]
    return (*step, *more)  # type: ignore[return-value]


def table(rounds: int) -> str:
    """The results as Markdown."""
    lines = [
        "| case | threads | with nn (ms per step) | with layers | fit | more than nn | more than "
        "layers | goal |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for threads in sorted({1, len(os.sched_getaffinity(0))}):
        tg.set_num_threads(threads)
        for name, case in CASES.items():
            nn_, layers_, fit, more, more_layers = measure(case, rounds)
            goal = f"{GOAL:.0%}" if "8-64" not in name else "-"
            lines.append(
                f"| {name} | {threads} | {nn_:.3f} | {layers_:.3f} | {fit:.3f} | {more:+.1%} | "
                f"{more_layers:+.1%} | {goal} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    print(table(parser.parse_args().rounds))
