"""Regression on a small table: cross-validation, a baseline, a linear model and a network.

442 diabetes patients with ten measurements each; the target is how far the illness has gone a year
later, 25 to 346. So few samples make one split a matter of luck, hence five folds. California's
house prices with ``--data housing`` (downloaded on first use).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

import tilegrad as tg
from tilegrad import datasets, nn
from tilegrad.nn import functional as F

MODELS: dict[str, Callable[[int], nn.Module]] = {
    "linear": lambda inputs: nn.Linear(inputs, 1),
    "network": lambda inputs: nn.Sequential(
        nn.Linear(inputs, 64),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(64, 32),
        nn.ReLU(),
        nn.Linear(32, 1),
    ),
}


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    features, target = datasets.diabetes() if name == "diabetes" else datasets.california_housing()
    order = np.random.RandomState(0).permutation(len(features))
    return features[order].astype(np.float32), target[order].astype(np.float32)


def train(
    model: nn.Module, x: tg.Tensor, y: tg.Tensor, held_x: tg.Tensor, held_y: tg.Tensor, epochs: int
) -> list[float]:
    """The mean absolute error on the held-out fold after each epoch, in standard deviations."""
    optimizer = tg.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    errors = []
    for _ in range(epochs):
        model.train()
        for rows in tg.randperm(len(x)).split(32):
            optimizer.zero_grad()
            F.mse_loss(model(x[rows])[:, 0], y[rows]).backward()
            optimizer.step()
        model.eval()
        with tg.no_grad():
            errors.append(F.l1_loss(model(held_x)[:, 0], held_y).item())
    return errors


def cross_validate(
    features: np.ndarray, target: np.ndarray, folds: int, epochs: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Per model the curves (folds, epochs) and the predictions, in the target's units."""
    curves: dict[str, list] = {name: [] for name in (*MODELS, "mean")}
    predictions = {name: np.empty_like(target) for name in MODELS}
    for fold, held in enumerate(np.array_split(np.arange(len(target)), folds)):
        rest = np.setdiff1d(np.arange(len(target)), held)
        # The scale is learned on the training part alone: the held-out fold stays unseen.
        center, spread = features[rest].mean(0), features[rest].std(0)
        middle, scale = float(target[rest].mean()), float(target[rest].std())
        x, held_x = (tg.tensor((features[part] - center) / spread) for part in (rest, held))
        y, held_y = (tg.tensor((target[part] - middle) / scale) for part in (rest, held))
        curves["mean"].append([np.abs(target[held] - middle).mean()] * epochs)
        for name, make in MODELS.items():
            model = make(features.shape[1])
            curve = train(model, x, y, held_x, held_y, epochs)
            curves[name].append(np.array(curve) * scale)
            with tg.no_grad():
                predictions[name][held] = model(held_x)[:, 0].numpy() * scale + middle
            print(f"fold {fold + 1}/{folds}, {name}: error {curves[name][-1][-1]:.1f}", flush=True)
    return {name: np.array(curve) for name, curve in curves.items()}, predictions


def draw(
    curves: dict[str, np.ndarray], predictions: np.ndarray, target: np.ndarray, path: Path
) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name, curve in curves.items():
        epochs = np.arange(1, curve.shape[1] + 1)
        (line,) = left.plot(epochs, curve.mean(0), label=name)
        left.fill_between(epochs, curve.min(0), curve.max(0), alpha=0.12, color=line.get_color())
    left.set(xlabel="epoch", ylabel="mean absolute error, held-out folds", ylim=(0, None))
    left.legend()
    left.grid(alpha=0.3)
    right.scatter(target[:2000], predictions[:2000], s=8, alpha=0.5)
    limits = [float(target.min()), float(target.max())]
    right.plot(limits, limits, color="gray", lw=1)
    right.set(xlabel="truth", ylabel="the network's prediction", aspect="equal")
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=("diabetes", "housing"), default="diabetes")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    tg.manual_seed(options.seed)
    features, target = load(options.data)
    curves, predictions = cross_validate(features, target, options.folds, options.epochs)
    results = {name: float(curve[:, -1].mean()) for name, curve in curves.items()}
    residual = ((predictions["network"] - target) ** 2).mean() / target.var()
    path = options.out / "regression.png"
    draw(curves, predictions["network"], target, path)
    for name, error in results.items():
        print(f"{name:>8}: mean absolute error {error:.1f}")
    print(f"the network explains {1 - residual:.0%} of the variance; figure: {path}")
    return {**results, "explained": float(1 - residual)}


if __name__ == "__main__":
    main()
