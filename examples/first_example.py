"""The first example of a course in deep learning: handwritten digits, with Keras-style code.

A network of two dense layers, then a convnet: compile, fit, evaluate, predict. The data are MNIST's
10,000 test images (8,000 to train on, 2,000 held out; each also shown moved by one pixel), or the
1,797 digits that ship inside scikit-learn with ``--data digits``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from tilegrad import datasets, keras
from tilegrad.keras import layers


def load(name: str) -> tuple[np.ndarray, ...]:
    """Training images and labels, test images and labels; images (N, size, size, 1) from 0 to 1."""
    if name == "mnist":
        (train_x, train_y), (test_x, test_y) = datasets.mnist_10k()
        moves = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
        train_x = np.concatenate([np.roll(train_x, move, (1, 2)) for move in moves]) / 255
        train_y, test_x = np.tile(train_y, len(moves)), test_x / 255
    else:
        order = np.random.RandomState(0).permutation(1797)
        images, labels = (array[order] for array in datasets.digits())
        train_x, train_y, test_x, test_y = images[360:], labels[360:], images[:360], labels[:360]
        train_x, test_x = train_x / 16, test_x / 16
    train_x, test_x = (x[..., None].astype("float32") for x in (train_x, test_x))
    return train_x, train_y.astype("int64"), test_x, test_y.astype("int64")


def dense_network(size: int) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((size, size, 1)),
            layers.Flatten(),
            layers.Dense(512, activation="relu"),
            layers.Dropout(0.3),
            layers.Dense(10, activation="softmax"),
        ]
    )


def convnet(size: int) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((size, size, 1)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.4),
            layers.Dense(10, activation="softmax"),
        ]
    )


def draw(histories: dict, images: np.ndarray, labels: np.ndarray, beliefs, path: Path) -> None:
    """Learning curves, and the digits that the convnet finds hardest, with its answers."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    left, right = plt.figure(figsize=(11, 4), layout="constrained").subfigures(1, 2)
    axis = left.subplots()
    for number, (name, history) in enumerate(histories.items()):
        epochs = range(1, len(history["loss"]) + 1)
        axis.plot(epochs, history["accuracy"], ":", color=f"C{number}", label=f"{name}, training")
        axis.plot(epochs, history["val_accuracy"], color=f"C{number}", label=f"{name}, test")
    axis.set(xlabel="epoch", ylabel="accuracy", ylim=(0.85, 1.005))
    axis.grid(alpha=0.3)
    axis.legend()
    sure = beliefs[np.arange(len(labels)), labels]
    for row, panel in zip(np.argsort(sure), right.subplots(4, 6).flat, strict=False):
        guess = beliefs[row].argmax()
        panel.imshow(images[row, ..., 0], cmap="gray_r")
        wrong = guess != labels[row]
        title = f"{guess}, is {labels[row]}" if wrong else str(guess)
        panel.set_title(title, fontsize=9, color="red" if wrong else "black")
        panel.set(xticks=[], yticks=[])
    plt.savefig(path, dpi=75)
    plt.close()


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=("mnist", "digits"), default="mnist")
    parser.add_argument("--epochs", type=int, help="default: 2 for MNIST, 30 for digits")
    parser.add_argument("--images", type=int, help="how many to train on (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    train_x, train_y, test_x, test_y = load(options.data)
    train_x, train_y = train_x[: options.images], train_y[: options.images]
    batch = 128 if options.data == "mnist" else 32
    epochs = options.epochs or (2 if options.data == "mnist" else 30)
    histories, results = {}, {}
    for name, make in (("dense network", dense_network), ("convnet", convnet)):
        keras.utils.set_random_seed(options.seed)
        model = make(train_x.shape[1])
        steps = epochs * -(-len(train_x) // batch)
        rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
        model.compile(
            optimizer=keras.optimizers.Adam(rate),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        model.summary()
        histories[name] = model.fit(
            train_x,
            train_y,
            epochs=epochs,
            batch_size=batch,
            validation_data=(test_x, test_y),
        ).history
        _, results[name] = model.evaluate(test_x, test_y, verbose=0)
    beliefs = model.predict(test_x, verbose=0)
    draw(histories, test_x, test_y, beliefs, options.out / "first_example.png")
    for name, accuracy in results.items():
        print(f"{name}: test accuracy {accuracy:.2%}")
    print(f"figure: {options.out / 'first_example.png'}")
    return results


if __name__ == "__main__":
    main()
