"""What makes training work, a panel each: losses, capacity, regularization, normalization, starts.

On 500 of scikit-learn's digits, few enough to be learned by heart. Each panel varies one thing and
leaves the rest alone: softmax with cross-entropy against squared error; the size of the network;
dropout and weight decay; batch, layer, instance and group normalization; the scale of the first
weights; the activation.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

import tilegrad as tg
from tilegrad import datasets, nn
from tilegrad.nn import functional as F


def load() -> tuple[tg.Tensor, ...]:
    order = np.random.RandomState(0).permutation(1797)
    x, y = (tg.tensor(array[order]) for array in datasets.digits())
    return x[:500].flatten(1) / 8 - 1, y[:500], x[1000:].flatten(1) / 8 - 1, y[1000:]


def mlp(width: int = 256, depth: int = 2, activation=nn.ReLU, dropout: float = 0.0) -> nn.Module:
    sizes = [64] + [width] * depth
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), activation(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def convnet(make_norm: Callable[[int], nn.Module]) -> nn.Module:
    layers: list[nn.Module] = [nn.Unflatten(1, (1, 8, 8))]
    for inputs, outputs in ((1, 32), (32, 32), (32, 32), (32, 32)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), make_norm(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(128, 10))


def started(scale: float) -> nn.Module:
    """Ten layers, whose weights have the spread ``scale / sqrt(inputs)``; sqrt 2 is He's."""
    model = mlp(width=128, depth=10)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=scale / layer.in_features**0.5)
    return model


def squared_error(scores: tg.Tensor, labels: tg.Tensor) -> tg.Tensor:
    return F.mse_loss(scores.softmax(dim=1), F.one_hot(labels, 10).float())


def train(
    model: nn.Module, data: tuple, epochs: int, loss_of=F.cross_entropy, decay=0.0, rate=1e-3
) -> np.ndarray:
    x, y, test_x, test_y = data
    optimizer = tg.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    curve = []
    for _ in range(epochs):
        model.train()
        for rows in tg.randperm(len(x)).split(50):
            optimizer.zero_grad()
            loss_of(model(x[rows]), y[rows]).backward()
            optimizer.step()
        model.eval()
        with tg.no_grad():
            scores, test_scores = model(x), model(test_x)
            wrong = (test_scores.argmax(dim=1) != test_y).float().mean()
            losses = F.cross_entropy(scores, y), F.cross_entropy(test_scores, test_y)
        curve.append([number.item() for number in (*losses, wrong)])
    return np.array(curve)  # (epochs, 3)


Plan = dict[str, tuple[Callable[[], nn.Module], dict]]  # per variant: model, how it is trained


def each(make: Callable, values: dict, **how) -> Plan:
    return {name: (partial(make, value), how) for name, value in values.items()}


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda channels: nn.Identity(),
    "batch": nn.BatchNorm2d,
    "layer": lambda channels: nn.GroupNorm(1, channels),
    "instance": partial(nn.InstanceNorm2d, affine=True),
    "group of 8": partial(nn.GroupNorm, 4),
}
ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "ReLU": nn.ReLU, "GELU": nn.GELU}
STARTS = {"0.3": 0.3, "1": 1.0, "He: 1.41": 2**0.5, "3": 3.0}
ERRORS: Plan = {"cross-entropy": (mlp, {}), "squared error": (mlp, {"loss_of": squared_error})}
CAPACITIES = each(mlp, {"4 units": 4, "16 units": 16, "512 units": 512}, rate=3e-3)
REGULARIZED = {
    **each(partial(mlp, 512, 2, nn.ReLU), {"none": 0.0, "dropout": 0.5}, rate=3e-3),
    **each(partial(mlp, 512, 2, nn.ReLU), {"weight decay": 0.0}, rate=3e-3, decay=1.0),
}
PANELS: tuple[tuple[str, int, Plan], ...] = (  # title, column of the curve, variants
    ("loss: test error", 2, ERRORS),
    ("capacity: test loss", 1, CAPACITIES),
    ("regularization: test loss", 1, REGULARIZED),
    ("normalization: training loss", 0, each(convnet, NORMS)),
    ("first weights, 10 layers: training loss", 0, each(started, STARTS, rate=3e-4)),
    ("activation, 6 layers: training loss", 0, each(partial(mlp, 128, 6), ACTIVATIONS)),
)


def draw(results: list[tuple[str, int, dict]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(2, 3, figsize=(13, 7), layout="constrained")
    for (title, column, curves), axis in zip(results, axes.flat, strict=True):
        for name, curve in curves.items():
            axis.plot(range(1, len(curve) + 1), curve[:, column].clip(1e-4, 10), label=name)
        axis.set(title=title, yscale="log", xlabel="epoch")
        axis.grid(alpha=0.3)
        axis.legend()
    plt.savefig(path, dpi=65)
    plt.close()


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    data, results, last = load(), [], {}
    for title, column, plan in PANELS:
        curves = {}
        for name, (make, how) in plan.items():
            tg.manual_seed(options.seed)
            curves[name] = train(make(), data, options.epochs, **how)
            last[f"{title}: {name}"] = end = float(curves[name][-1, column])
            print(f"{title}: {name}: {end:.4f}", flush=True)
        results.append((title, column, curves))
    draw(results, options.out / "training.png")
    print(f"figure: {options.out / 'training.png'}")
    return last


if __name__ == "__main__":
    main()
