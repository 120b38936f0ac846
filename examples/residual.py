"""Why deep networks need shortcuts: a ResNet beside the same layers without its additions.

Both have as many convolutions of the same sizes, with batch normalization, the same first weights
and the same order of batches; one adds each block's input to its output, the other does not. A
shallow plain network shows that depth, not the plan, is what fails. On scikit-learn's digits.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import tilegrad as tg
from tilegrad import datasets, nn
from tilegrad.nn import functional as F


class Block(nn.Module):
    """Two convolutions, with or without the way around them."""

    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)
        self.shortcut = shortcut

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        change = F.relu(self.first_norm(self.first(x)))
        change = self.second_norm(self.second(change))
        return F.relu(x + change if self.shortcut else change)


def make_network(blocks: int, shortcut: bool, channels: int = 16) -> nn.Sequential:
    """1 + 2 ``blocks`` convolutions and a linear layer; pooling after the first third."""
    stem = (nn.Conv2d(1, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())
    early = [Block(channels, shortcut) for _ in range(blocks // 3)]
    late = [Block(channels, shortcut) for _ in range(blocks - blocks // 3)]
    end = (nn.AvgPool2d(4), nn.Flatten(), nn.Linear(channels, 10))
    return nn.Sequential(*stem, *early, nn.MaxPool2d(2), *late, *end)


def gradient_sizes(model: nn.Sequential) -> list[float]:
    """The mean size of the gradient of each block's first filters, from the input on."""
    blocks = [layer for layer in model if isinstance(layer, Block)]
    return [block.first.weight.grad.abs().mean().item() for block in blocks]


def train(name: str, model: nn.Sequential, data: tuple, epochs: int) -> tuple[np.ndarray, list]:
    """(epochs, 3): training loss, training and test accuracy; and the first step's gradients."""
    x, y, test_x, test_y = data
    optimizer = tg.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    schedule = tg.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    curve, first_gradients = [], []
    for epoch in range(1, epochs + 1):
        model.train()
        total, right = 0.0, 0
        for rows in tg.randperm(len(x)).split(64):
            optimizer.zero_grad()
            scores = model(x[rows])
            loss = F.cross_entropy(scores, y[rows])
            loss.backward()
            first_gradients = first_gradients or gradient_sizes(model)
            optimizer.step()
            total += loss.item() * len(rows)
            right += int((scores.argmax(dim=1) == y[rows]).sum())
        schedule.step()
        model.eval()
        with tg.no_grad():
            accuracy = (model(test_x).argmax(dim=1) == test_y).float().mean().item()
        curve.append((total / len(x), right / len(x), accuracy))
        if epoch % 3 == 0 or epoch == epochs:
            print(
                f"{name}, {epoch}/{epochs}: loss {curve[-1][0]:.3f}, test {accuracy:.1%}",
                flush=True,
            )
    return np.array(curve), first_gradients


def draw(curves: dict[str, np.ndarray], gradients: dict[str, list], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    for name, curve in curves.items():
        epochs = range(1, len(curve) + 1)
        axes[0].plot(epochs, curve[:, 0], label=name)
        axes[1].plot(epochs, 100 * curve[:, 2], label=name)
        axes[2].plot(np.linspace(0, 1, len(gradients[name])), gradients[name], label=name)
    axes[0].set(title="training loss", xlabel="epoch", yscale="log")
    axes[1].set(title="test accuracy, %", xlabel="epoch")
    axes[2].set(
        title="first gradients", xlabel="from the input (0) to the output (1)", yscale="log"
    )
    axes[0].legend()
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=75)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--blocks", type=int, default=27, help="of two convolutions each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    images, labels = (tg.tensor(array) for array in datasets.digits())
    order = tg.tensor(np.random.RandomState(0).permutation(len(images)))
    images, labels = images[order][:, None] / 8 - 1, labels[order]
    data = images[360:], labels[360:], images[:360], labels[:360]
    depth = 2 * options.blocks + 2
    plans = {
        f"ResNet, {depth} layers": (options.blocks, True),
        f"plain, {depth} layers": (options.blocks, False),
        "plain, 8 layers": (3, False),
    }
    curves, gradients = {}, {}
    for name, (blocks, shortcut) in plans.items():
        tg.manual_seed(options.seed)
        model = make_network(blocks, shortcut)
        curves[name], gradients[name] = train(name, model, data, options.epochs)
    path = options.out / "residual.png"
    draw(curves, gradients, path)
    print(f"figure: {path}")
    return {name.split(" layers")[0]: float(curve[-1, 2]) for name, curve in curves.items()}


if __name__ == "__main__":
    main()
