"""An autoregressive density: the probability of an image as a product over its pixels.

Each of a digit's 64 pixels (ink or none) is given a probability that depends on those before it.
Masked layers compute all 64 factors in one pass (Germain et al., 2015); sampling takes one pass per
pixel. The yardstick is a model that believes pixels independent.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import tilegrad as tg
from tilegrad import datasets, nn
from tilegrad.nn import functional as F


class MaskedLinear(nn.Linear):
    """A layer whose outputs may look at some inputs only: mask (outputs, inputs)."""

    def __init__(self, mask: tg.Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.float())

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


def masked_network(pixels: int = 64, hidden: int = 512) -> nn.Module:
    """Log-odds of each pixel given the earlier ones (Germain et al., 2015)."""
    place, unit = tg.arange(pixels), tg.arange(hidden) % (pixels - 1)
    first, middle = unit[:, None] >= place, unit[:, None] >= unit
    last = place[:, None] > unit
    return nn.Sequential(
        *(MaskedLinear(first), nn.ReLU(), nn.Dropout(0.3)),
        *(MaskedLinear(middle), nn.ReLU(), nn.Dropout(0.3)),
        MaskedLinear(last),
    )


def sample_digits(model: nn.Module, count: int) -> tg.Tensor:
    """Pixel by pixel, each drawn given what is there already."""
    drawn = tg.zeros(count, 64)
    for place in range(64):
        drawn[:, place] = tg.bernoulli(model(drawn)[:, place].sigmoid())
    return drawn


def nats(model: nn.Module, images: tg.Tensor) -> tg.Tensor:
    """-log p of an image, on average."""
    return F.binary_cross_entropy_with_logits(model(images), images, reduction="sum") / len(images)


def train(model: nn.Module, train: tg.Tensor, test: tg.Tensor, epochs: int) -> list[float]:
    """Nats per test image after each epoch."""
    optimizer = tg.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = tg.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    curve = []
    for epoch in range(1, epochs + 1):
        model.train()
        for rows in tg.randperm(len(train)).split(64):
            optimizer.zero_grad()
            nats(model, train[rows]).backward()
            optimizer.step()
        schedule.step()
        model.eval()
        with tg.no_grad():
            curve.append(nats(model, test).item())
        if epoch % 5 == 0 or epoch == epochs:
            print(f"epoch {epoch}/{epochs}: {curve[-1]:.2f} nats per test digit", flush=True)
    return curve


def draw(
    digits: np.ndarray, drawn: np.ndarray, curve: list, independent: float, path: Path
) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.3), layout="constrained")
    for axis, images, title in ((axes[0], digits, "digits"), (axes[1], drawn, "samples")):
        tiles = np.pad(images[:48].reshape(6, 8, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)))
        axis.imshow(tiles.transpose(0, 2, 1, 3).reshape(60, 80), cmap="gray_r")
        axis.set(title=title, xticks=[], yticks=[])
    axes[2].plot(range(1, len(curve) + 1), curve, label="autoregressive")
    axes[2].axhline(independent, color="gray", ls=":", label="independent pixels")
    axes[2].set(xlabel="epoch", ylabel="nats per test digit")
    axes[2].legend()
    figure.savefig(path, dpi=70, bbox_inches="tight")
    plt.close(figure)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    tg.manual_seed(options.seed)
    digits = (tg.tensor(datasets.digits()[0]).flatten(1) > 7).float()
    digits = digits[tg.tensor(np.random.RandomState(0).permutation(len(digits)))]
    test_part, train_part = digits[:360], digits[360:]
    share = train_part.mean(dim=0).clamp(1e-3, 1 - 1e-3).expand(360, -1)
    independent = (F.binary_cross_entropy(share, test_part, reduction="sum") / 360).item()

    model = masked_network()
    curve = train(model, train_part, test_part, options.epochs)
    with tg.no_grad():
        drawn = sample_digits(model, 48)
    path = options.out / "pixels.png"
    draw(test_part.numpy(), drawn.numpy(), curve, independent, path)
    print(f"nats per test digit: {curve[-1]:.2f}, independent pixels {independent:.2f}")
    print(f"figure: {path}")
    return {"autoregressive": curve[-1], "independent": independent}


if __name__ == "__main__":
    main()
