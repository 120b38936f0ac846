"""A digit classifier from tensors and gradients alone: no layers, no optimizer, no data loader.

Everything that a library gives is written out once: a dense layer, a chain of layers, a generator
of batches, the loss, one training step, the full loop. The data are MNIST's 10,000 test images:
8,000 to train on, 2,000 held out.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import tilegrad as tg
from tilegrad import datasets

Step = Callable[[tg.Tensor], tg.Tensor]


class NaiveDense:
    """activation(x W + b): one affine map of a batch, and what bends it."""

    def __init__(self, inputs: int, outputs: int, activation: Step) -> None:
        limit = math.sqrt(6 / (inputs + outputs))
        self.weight = (tg.rand(inputs, outputs) * 2 * limit - limit).requires_grad_()
        self.bias = tg.zeros(outputs, requires_grad=True)
        self.activation = activation

    def __call__(self, x: tg.Tensor) -> tg.Tensor:
        return self.activation(x @ self.weight + self.bias)


class NaiveSequential:
    """Layers called one after the other."""

    def __init__(self, *layers: NaiveDense) -> None:
        self.layers = layers
        self.weights = [w for layer in layers for w in (layer.weight, layer.bias)]

    def __call__(self, x: tg.Tensor) -> tg.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class BatchGenerator:
    """Images and labels in batches, in a new order each time."""

    def __init__(self, images: tg.Tensor, labels: tg.Tensor, size: int = 128) -> None:
        self.images, self.labels, self.size = images, labels, size

    def __iter__(self) -> Iterator[tuple[tg.Tensor, tg.Tensor]]:
        order = tg.randperm(len(self.images))
        for start in range(0, len(order), self.size):
            rows = order[start : start + self.size]
            yield self.images[rows], self.labels[rows]


def relu(x: tg.Tensor) -> tg.Tensor:
    return x * (x > 0)


def softmax(x: tg.Tensor) -> tg.Tensor:
    powers = (x - x.amax(dim=1, keepdim=True)).exp()  # the largest becomes 1: nothing overflows
    return powers / powers.sum(dim=1, keepdim=True)


def cross_entropy(probabilities: tg.Tensor, labels: tg.Tensor) -> tg.Tensor:
    """Minus the logarithm of the probability that the right class got, on average."""
    right = probabilities[tg.arange(len(labels)), labels]
    return -(right + 1e-9).log().mean()


def one_training_step(model: NaiveSequential, images, labels, velocities, rate) -> float:
    """Forward, gradients, and a step downhill that remembers 90 % of the last one."""
    loss = cross_entropy(model(images), labels)
    gradients = tg.autograd.grad(loss, model.weights)
    with tg.no_grad():
        for weight, gradient, velocity in zip(model.weights, gradients, velocities, strict=True):
            velocity.mul_(0.9).sub_(gradient, alpha=rate)
            weight.add_(velocity)
    return loss.item()


def load() -> tuple[tg.Tensor, ...]:
    """Flat images with values from 0 to 1 and labels: for training, then for the test.

    Each training image is there five times: as it is, and moved by one pixel to either side.
    """
    (train_x, train_y), (test_x, test_y) = datasets.mnist_10k()
    moves = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
    train_x = np.concatenate([np.roll(train_x, move, (1, 2)) for move in moves])
    flat = (tg.tensor(x.reshape(len(x), -1)).float() / 255 for x in (train_x, test_x))
    labels = (tg.tensor(y).long() for y in (np.tile(train_y, 5), test_y))
    return (*flat, *labels)


def draw(model: NaiveSequential, curves: np.ndarray, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    left.plot(range(1, len(curves) + 1), curves[:, 0], label="training loss")
    left.plot(range(1, len(curves) + 1), 1 - curves[:, 1], label="share of wrong test digits")
    left.set(yscale="log", xlabel="epoch")
    left.grid(alpha=0.3)
    left.legend()
    filters = model.layers[0].weight.detach().numpy().T[:32].reshape(4, 8, 28, 28)
    tiles = filters.transpose(0, 2, 1, 3).reshape(4 * 28, 8 * 28)
    limit = np.abs(tiles).max() * 0.7
    right.imshow(tiles, cmap="RdBu", vmin=-limit, vmax=limit)
    right.set(title="what 32 units of the first layer look for", xticks=[], yticks=[])
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)

    tg.manual_seed(options.seed)
    train_x, test_x, train_y, test_y = load()
    batches = BatchGenerator(train_x, train_y)
    model = NaiveSequential(NaiveDense(784, 512, relu), NaiveDense(512, 10, softmax))
    velocities = [tg.zeros_like(weight) for weight in model.weights]
    curves = []
    for epoch in range(1, options.epochs + 1):
        rate = 0.1 * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / options.epochs))
        losses = [one_training_step(model, x, y, velocities, rate) for x, y in batches]
        with tg.no_grad():
            accuracy = (model(test_x).argmax(1) == test_y).float().mean().item()
        curves.append((sum(losses) / len(losses), accuracy))
        print(f"epoch {epoch}/{options.epochs}: loss {curves[-1][0]:.4f}, test {accuracy:.2%}")
    path = options.out / "from_scratch.png"
    draw(model, np.array(curves), path)
    print(f"test accuracy {accuracy:.2%}; figure: {path}")
    return {"accuracy": accuracy}


if __name__ == "__main__":
    main()
