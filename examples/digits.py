"""Trains an MLP and a small convnet on the handwritten digits that ship inside scikit-learn.

1,797 images of 8 x 8 pixels; a fixed fifth of them is held out for testing. The first run trains,
draws the learning curves and some predictions, and saves both models; a later run loads and
evaluates them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import tilegrad as tg
from tilegrad import nn
from tilegrad.nn import functional as F
from tilegrad.utils.data import DataLoader, TensorDataset


def load_digits(seed: int = 0) -> tuple[TensorDataset, TensorDataset]:
    """Images (N, 1, 8, 8) with values from 0 to 1 and labels (N); train and test parts."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    digits = datasets.load_digits()
    images = (digits.images / 16).astype(np.float32)[:, None]
    parts = train_test_split(
        images, digits.target, test_size=0.2, stratify=digits.target, random_state=seed
    )
    train_x, test_x, train_y, test_y = (tg.tensor(part) for part in parts)
    return TensorDataset(train_x, train_y.long()), TensorDataset(test_x, test_y.long())


def make_mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 512),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(512, 256),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(256, 10),
    )


def make_convnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(256, 10),
    )


def add_noise(images: tg.Tensor) -> tg.Tensor:
    """Disturbs every pixel a little: enough augmentation for the MLP."""
    return images + 0.15 * tg.randn_like(images)


def shift_randomly(images: tg.Tensor) -> tg.Tensor:
    """Moves the batch by at most one pixel in each direction: for the convnet."""
    down, right = (int(step) for step in tg.randint(-1, 2, (2,)))
    padded = tg.zeros(images.shape[0], 1, 10, 10)
    padded[:, :, 1:9, 1:9] = images
    return padded[:, :, 1 - down : 9 - down, 1 - right : 9 - right]


def evaluate(model: nn.Module, data: TensorDataset) -> tuple[float, tg.Tensor]:
    """The share of correct predictions, and the predictions."""
    images, labels = data.tensors
    model.eval()
    with tg.no_grad():
        predictions = model(images).argmax(1)
    return (predictions == labels).float().mean().item(), predictions


class Progress:
    """One line per epoch, on a live bar in a terminal and as plain text elsewhere."""

    def __init__(self, name: str, epochs: int) -> None:
        from tqdm import tqdm

        self.live = sys.stderr.isatty()
        self.name, self.epochs = name, epochs
        self.bar = tqdm(total=epochs, desc=name, unit="epoch", disable=not self.live)

    def update(self, epoch: int, loss: float, accuracy: float, speed: float) -> None:
        self.bar.set_postfix_str(f"loss {loss:.4f}, test {accuracy:.2%}, {speed:,.0f} samples/s")
        self.bar.update()
        if not self.live and (epoch % 5 == 0 or epoch == self.epochs):
            print(
                f"{self.name} epoch {epoch}/{self.epochs}: loss {loss:.4f}, "
                f"test accuracy {accuracy:.2%}, {speed:,.0f} samples/s",
                flush=True,
            )

    def close(self) -> None:
        self.bar.close()


def train(
    name: str,
    model: nn.Module,
    data: TensorDataset,
    test: TensorDataset,
    epochs: int,
    augment: Callable[[tg.Tensor], tg.Tensor],
) -> dict[str, list[float]]:
    """AdamW with a cosine-shaped learning rate; returns the curves."""
    loader = DataLoader(data, batch_size=64, shuffle=True)
    optimizer = tg.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    curves: dict[str, list[float]] = {"loss": [], "accuracy": []}
    progress = Progress(name, epochs)
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * 0.5 * (1 + np.cos(np.pi * (epoch - 1) / epochs)) + 1e-5
        model.train()
        total = 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(augment(images)), labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
        speed = len(data) / (time.perf_counter() - start)
        accuracy, _ = evaluate(model, test)
        curves["loss"].append(total / len(data))
        curves["accuracy"].append(accuracy)
        progress.update(epoch, curves["loss"][-1], accuracy, speed)
    progress.close()
    return curves


def save(model: nn.Module, path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({name: value.numpy() for name, value in model.state_dict().items()}, path)


def load(model: nn.Module, path: Path) -> None:
    from safetensors.numpy import load_file

    model.load_state_dict({name: tg.from_numpy(value) for name, value in load_file(path).items()})


def draw(
    curves: dict[str, dict[str, list[float]]],
    test: TensorDataset,
    predictions: tg.Tensor,
    path: Path,
) -> None:
    """Learning curves on the left, test digits with the convnet's predictions on the right."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    images, labels = (part.numpy() for part in test.tensors)
    guesses = predictions.numpy()
    wrong_first = np.argsort(guesses == labels, kind="stable")[:24]
    figure = plt.figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subfigures(1, 2)
    axes = left.subplots(2, 1, sharex=True)
    for axis, key in zip(axes, ("loss", "accuracy"), strict=True):
        for name, curve in curves.items():
            axis.plot(range(1, len(curve[key]) + 1), curve[key], label=name)
        axis.set_ylabel("training loss" if key == "loss" else "test accuracy")
        axis.grid(alpha=0.3)
    axes[0].set_yscale("log")
    axes[1].set_xlabel("epoch")
    axes[0].legend()
    for axis, i in zip(right.subplots(4, 6).flat, wrong_first, strict=False):
        correct = guesses[i] == labels[i]
        axis.imshow(images[i, 0], cmap="gray_r")
        title = f"{guesses[i]}" if correct else f"{guesses[i]}, is {labels[i]}"
        axis.set_title(title, color="black" if correct else "red", fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
        for spine in axis.spines.values():
            spine.set_edgecolor("lightgray" if correct else "red")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=60, help="epochs per model (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation")
    parser.add_argument(
        "--out", type=Path, default=Path("out"), help="folder for models and figure"
    )
    parser.add_argument("--retrain", action="store_true", help="train even if saved models exist")
    options = parser.parse_args()
    if options.epochs < 1:
        parser.error(f"--epochs: expected at least 1, got {options.epochs}")

    options.out.mkdir(parents=True, exist_ok=True)
    training_data, test_data = load_digits()
    curves = {}
    plans = (("MLP", make_mlp, add_noise), ("convnet", make_convnet, shift_randomly))
    for name, make, augment in plans:
        tg.manual_seed(options.seed)
        model = make()
        path = options.out / f"digits-{name.lower()}.safetensors"
        if path.exists() and not options.retrain:
            load(model, path)
            source = f"loaded from {path}"
        else:
            curves[name] = train(name, model, training_data, test_data, options.epochs, augment)
            save(model, path)
            source = f"saved to {path}"
        accuracy, predictions = evaluate(model, test_data)
        print(f"{name}: test accuracy {accuracy:.2%} ({source})")
    if curves:
        figure = options.out / "digits.png"
        draw(curves, test_data, predictions, figure)
        print(f"learning curves and predictions: {figure}")


if __name__ == "__main__":
    main()
