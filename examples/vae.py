"""A variational autoencoder: digits pressed into a few numbers, and drawn from such numbers anew.

The encoder gives each image a Gaussian of codes; a sample of it is decoded; the loss is what the
decoder gets wrong plus how far the codes are from a standard Gaussian (Kingma and Welling, 2014).
With two numbers per code, the plane of codes is a map that one can look at.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import tilegrad as tg
from tilegrad import datasets, nn
from tilegrad.nn import functional as F


class VAE(nn.Module):
    def __init__(self, codes: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(32 * 49, 128), nn.ReLU(), nn.Linear(128, 2 * codes)),
        )
        self.decoder = nn.Sequential(
            *(nn.Linear(codes, 128), nn.ReLU(), nn.Linear(128, 32 * 49), nn.ReLU()),
            nn.Unflatten(1, (32, 7, 7)),
            *(nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1), nn.ReLU()),
            nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1),
        )

    def loss(self, images: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        """Nats per image: for wrong pixels, and for how far the codes are from a Gaussian."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        code = mean + tg.randn_like(mean) * (0.5 * log_variance).exp()
        pixels = self.decoder(code)
        wrong = F.binary_cross_entropy_with_logits(pixels, images, reduction="sum")
        distance = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
        return wrong / len(images), distance / len(images)

    def draw(self, codes: tg.Tensor) -> tg.Tensor:
        return self.decoder(codes).sigmoid()[:, 0]


def train(name: str, model: VAE, images: tg.Tensor, test: tg.Tensor, epochs: int) -> list[float]:
    """The loss in nats per test image after each epoch."""
    optimizer = tg.optim.Adam(model.parameters(), lr=2e-3)
    schedule = tg.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    curve = []
    for epoch in range(1, epochs + 1):
        for rows in tg.randperm(len(images)).split(64):
            optimizer.zero_grad()
            wrong, distance = model.loss(images[rows])
            (wrong + distance).backward()
            optimizer.step()
        schedule.step()
        with tg.no_grad():
            wrong, distance = (part.item() for part in model.loss(test))
        curve.append(wrong + distance)
        print(
            f"{name}, {epoch}/{epochs}: {curve[-1]:.1f} nats per test digit "
            f"({wrong:.1f} for pixels, {distance:.1f} for codes)",
            flush=True,
        )
    return curve


def tiles(images: np.ndarray, columns: int) -> np.ndarray:
    rows, size = len(images) // columns, images.shape[1]
    grid = images.reshape(rows, columns, size, size)
    return grid.transpose(0, 2, 1, 3).reshape(rows * size, columns * size)


def draw(small: VAE, large: VAE, test: tg.Tensor, labels: np.ndarray, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with tg.no_grad():
        places = small.encoder(test)[:, :2].numpy()
        across = tg.distributions.Normal(0.0, 1.0).icdf(tg.linspace(0.03, 0.97, 12))
        up, right = tg.meshgrid(across.flip(0), across, indexing="ij")
        map_of_codes = small.draw(tg.stack([right.flatten(), up.flatten()], dim=1)).numpy()
        generated = large.draw(tg.randn(100, large.decoder[0].in_features)).numpy()
        mean = large.encoder(test[:50]).chunk(2, dim=1)[0]
        pairs = np.stack([test[:50, 0].numpy(), large.draw(mean).numpy()], 1).reshape(100, 28, 28)
    figure, axes = plt.subplots(1, 4, figsize=(15, 3.9), layout="constrained")
    dots = axes[0].scatter(*places.T, c=labels, s=4, cmap="tab10", vmin=-0.5, vmax=9.5)
    figure.colorbar(dots, ax=axes[0], ticks=range(10))
    axes[0].set(title="where test digits lie, 2 numbers", aspect="equal")
    for axis, (title, images, columns) in zip(
        axes[1:],
        (
            ("what lies where", map_of_codes, 12),
            ("digits and what 16 numbers keep", pairs, 10),
            ("generated from 16 random numbers", generated, 10),
        ),
        strict=True,
    ):
        axis.imshow(tiles(images, columns), cmap="gray_r", vmin=0, vmax=1)
        axis.set(title=title, xticks=[], yticks=[])
    figure.savefig(path, dpi=65, bbox_inches="tight")
    plt.close(figure)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--images", type=int, default=8000, help="how many to train on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    (train_x, _), (test_x, labels) = datasets.mnist_10k()
    images, test = (tg.tensor(x)[:, None].float() / 255 for x in (train_x, test_x))
    models, results = {}, {}
    for codes in (2, 16):
        tg.manual_seed(options.seed)
        models[codes] = VAE(codes)
        name = f"{codes} numbers"
        curve = train(name, models[codes], images[: options.images], test, options.epochs)
        results[name] = curve[-1]
    path = options.out / "vae.png"
    draw(models[2], models[16], test, labels, path)
    print(f"figure: {path}")
    return results


if __name__ == "__main__":
    main()
