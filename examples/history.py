"""A short history of machine learning on one data set: handwritten digits, 8 x 8 pixels.

From counting (naive Bayes) over logistic regression, the first neural networks, support vector
machines and their kernels, trees and forests, to the convnet. What gradients or counts can train is
ours; trees and boosting are scikit-learn's. All see the same 1,437 digits and are tested on the
same 360.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import tilegrad as tg
from tilegrad import datasets, nn
from tilegrad.nn import functional as F

Predict = Callable[[tg.Tensor], tg.Tensor]


def descend(model: nn.Module, x: tg.Tensor, y: tg.Tensor, loss, epochs: int, **how) -> Predict:
    """AdamW in batches of 64 trains every model below that has a gradient."""
    optimizer = tg.optim.AdamW(model.parameters(), **{"lr": 3e-3, "weight_decay": 1e-2, **how})
    schedule = tg.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for rows in tg.randperm(len(x)).split(64):
            optimizer.zero_grad()
            loss(model(x[rows]), y[rows]).backward()
            optimizer.step()
        schedule.step()
    return lambda new: model.eval()(new).argmax(dim=1)


def naive_bayes(x: tg.Tensor, y: tg.Tensor, epochs: int) -> Predict:
    """Counts how often each pixel is inked in each class, and believes pixels independent."""
    inked = (x > 0.5).float()
    shares = tg.stack([(inked[y == k].sum(dim=0) + 1) / ((y == k).sum() + 2) for k in range(10)])

    ink, none = shares.log().T, (1 - shares).log().T
    return lambda new: ((new > 0.5).float() @ ink + (new <= 0.5).float() @ none).argmax(dim=1)


def linear(loss: Callable, weight_decay: float) -> Callable[..., Predict]:
    """Votes of pixels: logistic regression with cross-entropy, an SVM with the hinge loss."""

    def fit(x: tg.Tensor, y: tg.Tensor, epochs: int) -> Predict:
        model = nn.Linear(64, 10)
        return descend(model, x, y, loss, epochs, lr=0.02, weight_decay=weight_decay)

    return fit


def early_network(x: tg.Tensor, y: tg.Tensor, epochs: int) -> Predict:
    """One hidden layer of 30 sigmoids, squared error: the network of the 1980s."""
    model = nn.Sequential(nn.Linear(64, 30), nn.Sigmoid(), nn.Linear(30, 10), nn.Sigmoid())
    wanted = F.one_hot(y, 10).float()
    return descend(model, x, wanted, F.mse_loss, epochs, lr=0.02, weight_decay=0)


def kernel_machine(x: tg.Tensor, y: tg.Tensor, epochs: int) -> Predict:
    """An SVM in the space of similarities exp(-|a - b|^2 / 4) to all training digits."""

    def similarity(a: tg.Tensor) -> tg.Tensor:
        return (-tg.cdist(a, x).square() / 4).exp()

    vote = descend(nn.Linear(len(x), 10), similarity(x), y, F.multi_margin_loss, epochs, lr=0.02)
    return lambda new: vote(similarity(new))


def convnet(x: tg.Tensor, y: tg.Tensor, epochs: int) -> Predict:
    model = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        *(nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.5), nn.Linear(256, 10)),
    )
    return descend(model, x, y, F.cross_entropy, epochs)


def scikit_learn(name: str, **how: int) -> Callable[..., Predict]:
    def fit(x: tg.Tensor, y: tg.Tensor, epochs: int) -> Predict:
        from sklearn import ensemble, tree

        kind = getattr(tree if hasattr(tree, name) else ensemble, name)
        model = kind(random_state=0, **how).fit(x.numpy(), y.numpy())
        return lambda new: tg.tensor(model.predict(new.numpy()))

    return fit


HISTORY = (
    (1950, "naive Bayes", naive_bayes),
    (1958, "logistic regression", linear(F.cross_entropy, 0.01)),
    (1986, "early neural network", early_network),
    (1963, "linear SVM (hinge loss)", linear(F.multi_margin_loss, 0.1)),
    (1992, "kernel SVM", kernel_machine),
    (1984, "decision tree *", scikit_learn("DecisionTreeClassifier")),
    (2001, "random forest *", scikit_learn("RandomForestClassifier", n_estimators=200)),
    (2001, "gradient boosting *", scikit_learn("GradientBoostingClassifier", n_estimators=50)),
    (2012, "convnet", convnet),
)


def draw(rows: list[tuple[int, str, float, float]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = sorted(rows, key=lambda row: row[2])
    _, axis = plt.subplots(figsize=(8, 4), layout="constrained")
    names = [f"{name} ({year})" for year, name, _, _ in rows]
    colors = ["silver" if "*" in name else "tab:blue" for name in names]
    bars = axis.barh(names, [100 * row[2] for row in rows], color=colors)
    axis.bar_label(bars, [f"{row[2]:.1%}" for row in rows], padding=3)
    axis.set(xlim=(75, 103), xlabel="test accuracy in % (* scikit-learn)")
    plt.savefig(path, dpi=80)
    plt.close()


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    order = np.random.RandomState(0).permutation(1797)
    images, labels = (tg.tensor(array[order]) for array in datasets.digits())
    images, rows = images.flatten(1) / 16, []
    for year, name, fit in HISTORY:
        tg.manual_seed(options.seed)
        start = time.perf_counter()
        predict = fit(images[360:], labels[360:], options.epochs)
        with tg.no_grad():
            accuracy = (predict(images[:360]) == labels[:360]).float().mean().item()
        rows.append((year, name, accuracy, time.perf_counter() - start))
        print(f"{year}  {name:<24} {accuracy:6.1%}  {rows[-1][3]:5.1f} s", flush=True)
    draw(rows, options.out / "history.png")
    print(f"* scikit-learn's; figure: {options.out / 'history.png'}")
    return {name: accuracy for _, name, accuracy, _ in rows}


if __name__ == "__main__":
    main()
