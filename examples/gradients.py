"""Gradients and what follows them downhill: backpropagation by hand, SGD, momentum, RMSProp, Adam.

A network of two layers is differentiated on paper with the chain rule, and autograd must agree to
1e-6. Then a logistic regression with two weights, so that its loss is a surface one can draw, is
trained on two measurements of the breast cancer data: with a learning rate that is too small, one
that is right, one that is too large, and by four optimizers.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

import tilegrad as tg
from tilegrad import datasets
from tilegrad.nn import functional as F


def backpropagation_by_hand() -> float:
    """The largest difference between our gradients and autograd's, for wine and two layers."""
    features, kinds = datasets.wine()
    x = tg.tensor((features - features.mean(0)) / features.std(0)).double()
    truth = F.one_hot(tg.tensor(kinds)).double()
    w1, b1 = tg.randn(13, 16, dtype=tg.float64) / 4, tg.zeros(16, dtype=tg.float64)
    w2, b2 = tg.randn(16, 3, dtype=tg.float64) / 4, tg.zeros(3, dtype=tg.float64)
    weights = [weight.requires_grad_() for weight in (w1, b1, w2, b2)]

    hidden = x @ w1 + b1
    active = hidden.relu()
    scores = active @ w2 + b2
    loss = -(truth * scores.log_softmax(dim=1)).sum(dim=1).mean()
    automatic = tg.autograd.grad(loss, weights)

    with tg.no_grad():  # the same line by line, backwards
        grad_scores = (scores.softmax(dim=1) - truth) / len(x)
        grad_w2, grad_b2 = active.T @ grad_scores, grad_scores.sum(dim=0)
        grad_active = grad_scores @ w2.T
        grad_hidden = grad_active * (hidden > 0)
        grad_w1, grad_b1 = x.T @ grad_hidden, grad_hidden.sum(dim=0)
        by_hand = (grad_w1, grad_b1, grad_w2, grad_b2)
        return max((a - b).abs().max().item() for a, b in zip(automatic, by_hand, strict=True))


def two_measurements() -> tuple[tg.Tensor, tg.Tensor]:
    """Mean radius and mean texture of the tumours: standardized, the second stretched thrice."""
    features, benign = datasets.breast_cancer()
    x = (features[:, :2] - features[:, :2].mean(0)) / features[:, :2].std(0)
    return tg.tensor(x * np.array([1.0, 3.0], np.float32)), tg.tensor(benign).float()


def descend(
    loss_at: Callable[[tg.Tensor], tg.Tensor],
    make_optimizer: Callable[[list[tg.Tensor]], tg.optim.Optimizer],
    steps: int,
) -> np.ndarray:
    """The way from a common start: (steps + 1, 3), the two weights and the loss."""
    weight = tg.tensor([1.5, 2.0], requires_grad=True)
    optimizer = make_optimizer([weight])
    way = []
    for _ in range(steps + 1):
        optimizer.zero_grad()
        loss = loss_at(weight)
        loss.backward()
        way.append([*weight.tolist(), loss.item()])
        optimizer.step()
    return np.array(way)


def draw(loss_at: Callable[[tg.Tensor], tg.Tensor], ways: list, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    first, second = np.linspace(-7, 3, 60), np.linspace(-2.2, 2.6, 60)
    with tg.no_grad():
        surface = [[loss_at(tg.tensor([a, b]).float()).item() for a in first] for b in second]
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for (title, group), (left, right) in zip(ways, axes, strict=True):
        left.contourf(first, second, np.log(surface), 24, cmap="Greys")
        for name, way in group.items():
            left.plot(way[:, 0], way[:, 1], marker=".", ms=4, lw=1.2, label=name)
            right.plot(way[:, 2], label=name)
        left.set(title=title, xlabel="weight of the radius", ylabel="weight of the texture")
        left.set(xlim=(-7, 3), ylim=(-2.2, 2.6))
        right.set(title="loss on the way", xlabel="step", yscale="log")
        right.grid(alpha=0.3)
        right.legend()
    figure.savefig(path, dpi=70)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60, help="steps of each descent")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    tg.manual_seed(options.seed)

    difference = backpropagation_by_hand()
    print(f"backpropagation by hand and autograd differ by {difference:.1e} at most")

    x, benign = two_measurements()

    def loss_at(weight: tg.Tensor) -> tg.Tensor:
        return F.binary_cross_entropy_with_logits(x @ weight, benign)

    SGD, RMSprop, Adam = tg.optim.SGD, tg.optim.RMSprop, tg.optim.Adam
    rates = {f"learning rate {rate}": lambda w, rate=rate: SGD(w, lr=rate) for rate in (0.05, 1, 4)}
    makers = {
        "SGD 0.1": lambda w: SGD(w, lr=0.1),
        "SGD 0.1, momentum 0.9": lambda w: SGD(w, lr=0.1, momentum=0.9),
        "RMSProp 0.2": lambda w: RMSprop(w, lr=0.2, alpha=0.9),
        "Adam 0.3": lambda w: Adam(w, lr=0.3),
    }
    ways = []
    for title, group in (("too small, right, too large", rates), ("four optimizers", makers)):
        descents = {name: descend(loss_at, make, options.steps) for name, make in group.items()}
        ways.append((title, descents))
        for name, way in descents.items():
            print(f"{name:>21}: loss {way[0, 2]:.3f} -> {way[-1, 2]:.4f}", flush=True)
    path = options.out / "gradients.png"
    draw(loss_at, ways, path)
    print(f"figure: {path}")
    finals = {name: way[-1, 2] for _, group in ways for name, way in group.items()}
    return {"difference": difference, **finals}


if __name__ == "__main__":
    main()
