"""A generative adversarial network: one network forges digits, another tells them from real ones.

The discriminator learns to give real images high scores and forged ones low; the generator learns
to be given high scores (Goodfellow et al., 2014). Convolutions, normalization and rates follow
DCGAN (Radford et al., 2016), small enough for a laptop, on MNIST's 10,000 test images. Whether the
forgeries are digits is judged by a classifier trained on real ones.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import tilegrad as tg
from tilegrad import datasets, nn
from tilegrad.nn import functional as F

CODES = 64


def make_generator() -> nn.Module:
    """(N, 64) random numbers to (N, 1, 28, 28) images from -1 to 1."""
    return nn.Sequential(
        *(nn.Linear(CODES, 64 * 49, bias=False), nn.Unflatten(1, (64, 7, 7))),
        *(nn.BatchNorm2d(64), nn.ReLU()),
        *(nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(32)),
        *(nn.ReLU(), nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1), nn.Tanh()),
    )


def make_critic(outputs: int) -> nn.Module:
    """(N, 1, 28, 28) images to scores: one for the discriminator, ten for the judge."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 4, stride=2, padding=1), nn.LeakyReLU(0.2), nn.Dropout(0.3)),
        *(nn.Conv2d(32, 64, 4, stride=2, padding=1), nn.LeakyReLU(0.2), nn.Dropout(0.3)),
        *(nn.Flatten(), nn.Linear(64 * 49, outputs)),
    )


def train_judge(images: tg.Tensor, labels: tg.Tensor, epochs: int) -> nn.Module:
    judge = make_critic(10)
    optimizer = tg.optim.AdamW(judge.parameters(), lr=1e-3)
    for _ in range(epochs):
        for rows in tg.randperm(len(images)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(judge(images[rows]), labels[rows]).backward()
            optimizer.step()
    return judge.eval()


def real_or_forged(scores: tg.Tensor, real: float) -> tg.Tensor:
    return F.binary_cross_entropy_with_logits(scores, tg.full_like(scores, real))


def train(generator: nn.Module, images: tg.Tensor, epochs: int) -> np.ndarray:
    """(steps, 2): the losses of discriminator and generator."""
    discriminator = make_critic(1)
    how = {"lr": 5e-4, "betas": (0.5, 0.999)}
    g_optimizer = tg.optim.Adam(generator.parameters(), **how)
    d_optimizer = tg.optim.Adam(discriminator.parameters(), **how)
    losses = []
    for epoch in range(1, epochs + 1):
        for rows in tg.randperm(len(images)).split(64):
            forged = generator(tg.randn(len(rows), CODES))
            d_optimizer.zero_grad()
            d_loss = real_or_forged(discriminator(images[rows]), 0.9)
            d_loss = d_loss + real_or_forged(discriminator(forged.detach()), 0.0)
            d_loss.backward()
            d_optimizer.step()
            g_optimizer.zero_grad()
            g_loss = real_or_forged(discriminator(forged), 1.0)
            g_loss.backward()
            g_optimizer.step()
            losses.append((d_loss.item(), g_loss.item()))
        d_mean, g_mean = np.mean(losses[-len(images) // 64 :], 0)
        print(
            f"epoch {epoch}/{epochs}: discriminator {d_mean:.3f}, generator {g_mean:.3f}",
            flush=True,
        )
    return np.array(losses)


def draw(early: np.ndarray, late: np.ndarray, losses: np.ndarray, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
    for axis, images, title in ((axes[0], early, "before training"), (axes[1], late, "after")):
        tiles = images.reshape(10, 10, 28, 28).transpose(0, 2, 1, 3).reshape(280, 280)
        axis.imshow(tiles, cmap="gray_r", vmin=-1, vmax=1)
        axis.set(title=f"forged digits {title}", xticks=[], yticks=[])
    width = max(1, min(50, len(losses) // 4))
    for column, name in ((0, "discriminator"), (1, "generator")):
        smooth = np.convolve(losses[:, column], np.ones(width) / width, "valid")
        axes[2].plot(smooth, label=name)
    axes[2].set(title="losses", xlabel="step")
    axes[2].grid(alpha=0.3)
    axes[2].legend()
    figure.savefig(path, dpi=65, bbox_inches="tight")
    plt.close(figure)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--images", type=int, default=10_000, help="how many to learn from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    tg.manual_seed(options.seed)
    parts = datasets.mnist_10k()
    images = np.concatenate([part[0] for part in parts])[: options.images]
    labels = tg.tensor(np.concatenate([part[1] for part in parts])[: options.images]).long()
    images = tg.tensor(images)[:, None].float() / 127.5 - 1
    judge = train_judge(images, labels, epochs=max(1, min(5, options.epochs)))

    generator, codes = make_generator(), tg.randn(1000, CODES)
    with tg.no_grad():
        early = generator(codes[:100]).numpy()
    losses = train(generator, images, options.epochs)
    generator.eval()
    with tg.no_grad():
        forged = generator(codes)
        beliefs = judge(forged).softmax(dim=1)
    sure = (beliefs.amax(dim=1) > 0.9).float().mean().item()
    kinds = len(beliefs.argmax(dim=1).unique())
    path = options.out / "gan.png"
    draw(early, forged[:100].numpy(), losses, path)
    print(f"the judge is sure of {sure:.0%} of 1,000 forgeries and sees {kinds} of 10 digits")
    print(f"figure: {path}")
    too_dark = (forged.mean() - images.mean()).item()
    return {"sure": sure, "kinds": float(kinds), "too dark": too_dark}


if __name__ == "__main__":
    main()
