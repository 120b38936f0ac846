"""What Keras's ``fit`` costs beside a loop written by hand, for the same network and data.

The loop shuffles, takes batches, and calls forward, loss, backward and the optimizer of
``tilegrad.nn`` and ``tilegrad.optim``, nothing else. ``fit`` counts losses and accuracies besides.
Both take turns; ``more`` is the median over rounds of the time that ``fit`` takes more.
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


def by_hand(model: Any, optimizer: Any, images: Any, labels: Any, batch: int) -> None:
    """One epoch."""
    order = tg.randperm(len(images))
    for start in range(0, len(images), batch):
        rows = order[start : start + batch]
        outputs = model(tg.index_select(images, 0, rows))
        loss = nn.functional.cross_entropy(outputs, tg.index_select(labels, 0, rows))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


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


def epochs(case: Case, verbose: int) -> tuple[Callable[[], None], Callable[[], object]]:
    """One epoch by hand, and one by ``fit``."""
    plain, layered, shape, batches = case
    source = np.random.default_rng(0)
    images = source.standard_normal((128 * batches, *shape)).astype("float32")
    labels = source.integers(0, 10, 128 * batches)
    model, kept = plain(), layered()
    optimizer = tg.optim.Adam(model.parameters(), lr=1e-4)
    kept.compile(
        keras.optimizers.Adam(1e-4), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    first = tg.from_numpy(images if len(shape) == 1 else images.transpose(0, 3, 1, 2).copy())
    second = tg.from_numpy(labels)
    return (
        lambda: by_hand(model, optimizer, first, second, 128),
        lambda: kept.fit(images, labels, batch_size=128, verbose=verbose),
    )


def measure(case: Case, rounds: int, verbose: int = 0) -> tuple[float, float, float]:
    """Milliseconds per step by hand and by ``fit``, and the share that ``fit`` takes more."""
    clock = time.process_time if tg.get_num_threads() == 1 else time.perf_counter
    programs = epochs(case, verbose)
    for program in programs:
        program()
    hand, fit = rounds_in_turns(programs, (1, 1), rounds, clock)
    more = statistics.median(b / a for a, b in zip(hand, fit, strict=True)) - 1
    steps = case[3]
    return statistics.median(hand) * 1e3 / steps, statistics.median(fit) * 1e3 / steps, more


def table(rounds: int) -> str:
    """The results as Markdown."""
    lines = [
        "| case | threads | by hand (ms per step) | fit (ms per step) | more | goal |",
        "|---|---|---|---|---|---|",
    ]
    for threads in sorted({1, len(os.sched_getaffinity(0))}):
        tg.set_num_threads(threads)
        for name, case in CASES.items():
            hand, fit, more = measure(case, rounds)
            goal = f"{GOAL:.0%}" if "8-64" not in name else "-"
            lines.append(f"| {name} | {threads} | {hand:.3f} | {fit:.3f} | {more:+.1%} | {goal} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    print(table(parser.parse_args().rounds))
