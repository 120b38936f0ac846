"""Density modelling in the plane: how probable is a point, and what do new ones look like?

A normalizing flow bends the plane, invertibly, until two moons become a round Gaussian; how much it
stretches is the density. Coupling layers make the inverse cheap: each moves one coordinate by an
amount that depends on the other alone.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np

import tilegrad as tg
from tilegrad import nn


class Coupling(nn.Module):
    """Scales and shifts one coordinate by what a network says of the other (Dinh et al., 2017)."""

    def __init__(self, moved: int) -> None:
        super().__init__()
        self.moved = moved
        self.net = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.last = nn.Linear(64, 2)
        nn.init.zeros_(self.last.weight)  # starts as the identity
        nn.init.zeros_(self.last.bias)

    def scale_and_shift(self, kept: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        log_scale, shift = self.last(self.net(kept)).split(1, dim=1)
        return 2 * tg.tanh(log_scale), shift

    def join(self, moved: tg.Tensor, kept: tg.Tensor) -> tg.Tensor:
        return tg.cat([moved, kept] if self.moved == 0 else [kept, moved], dim=1)

    def forward(self, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        moved, kept = x[:, self.moved, None], x[:, 1 - self.moved, None]
        log_scale, shift = self.scale_and_shift(kept)
        return self.join(moved * log_scale.exp() + shift, kept), log_scale[:, 0]

    def inverse(self, z: tg.Tensor) -> tg.Tensor:
        moved, kept = z[:, self.moved, None], z[:, 1 - self.moved, None]
        log_scale, shift = self.scale_and_shift(kept)
        return self.join((moved - shift) / log_scale.exp(), kept)


class Flow(nn.Module):
    def __init__(self, couplings: int = 8) -> None:
        super().__init__()
        self.steps = nn.ModuleList(Coupling(number % 2) for number in range(couplings))

    def log_density(self, x: tg.Tensor) -> tg.Tensor:
        """log p(x): that of a Gaussian at the image of x, plus how much x was stretched."""
        stretched = tg.zeros(len(x))
        for step in self.steps:
            x, log_scale = step(x)
            stretched = stretched + log_scale
        return -0.5 * x.square().sum(dim=1) - math.log(2 * math.pi) + stretched

    def sample(self, count: int) -> tg.Tensor:
        z = tg.randn(count, 2)
        for step in reversed(self.steps):
            z = step.inverse(z)
        return z


def train(flow: Flow, train: tg.Tensor, test: tg.Tensor, epochs: int) -> list[float]:
    """Makes the data probable; the mean of -log p over the test data after each epoch."""
    optimizer = tg.optim.AdamW(flow.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = tg.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    curve = []
    for epoch in range(1, epochs + 1):
        for rows in tg.randperm(len(train)).split(128):
            optimizer.zero_grad()
            (-flow.log_density(train[rows]).mean()).backward()
            optimizer.step()
        schedule.step()
        with tg.no_grad():
            curve.append(-flow.log_density(test).mean().item())
        if epoch % 10 == 0 or epoch == epochs:
            print(f"epoch {epoch}/{epochs}: {curve[-1]:.3f} nats per test point", flush=True)
    return curve


def draw(flow: Flow, points: np.ndarray, curve: list[float], gaussian: float, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(13, 3.3), layout="constrained")
    across, up = np.meshgrid(np.linspace(-2.5, 2.5, 120), np.linspace(-2.5, 2.5, 120))
    grid = tg.tensor(np.stack([across, up], -1).reshape(-1, 2)).float()
    with tg.no_grad():
        density = flow.log_density(grid).exp().reshape(120, 120).numpy()
        samples = flow.sample(1000).numpy()
    for axis, cloud, title in ((axes[0], points[:1000], "data"), (axes[2], samples, "samples")):
        axis.scatter(*cloud.T, s=3)
        axis.set(title=title, aspect="equal", xlim=(-2.5, 2.5), ylim=(-2.5, 2.5))
    axes[1].contourf(across, up, density, 20, cmap="magma")
    axes[1].set(title="learned density", aspect="equal")
    axes[3].plot(range(1, len(curve) + 1), curve, label="flow")
    axes[3].axhline(gaussian, color="gray", ls=":", label="best Gaussian")
    axes[3].set(xlabel="epoch", ylabel="nats per test point")
    axes[3].legend()
    figure.savefig(path, dpi=70)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    from sklearn.datasets import make_moons

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    tg.manual_seed(options.seed)
    points = make_moons(3000, noise=0.1, random_state=0)[0]
    points = tg.tensor((points - points.mean(0)) / points.std(0)).float()
    train_points, test_points = points[:2000], points[2000:]
    best = tg.distributions.MultivariateNormal(train_points.mean(dim=0), train_points.T.cov())
    gaussian = -best.log_prob(test_points).mean().item()

    flow = Flow()
    curve = train(flow, train_points, test_points, options.epochs)
    path = options.out / "density.png"
    draw(flow, points.numpy(), curve, gaussian, path)
    with tg.no_grad():
        z = tg.randn(1000, 2)
        x = z
        for step in reversed(flow.steps):
            x = step.inverse(x)
        back = x
        for step in flow.steps:
            back, _ = step(back)
        error = (back - z).abs().max().item()
    print(f"nats per test point: flow {curve[-1]:.2f}, best Gaussian {gaussian:.2f}")
    print(f"there and back again: off by {error:.1e} at most; figure: {path}")
    return {"flow": curve[-1], "Gaussian": gaussian, "inverse error": error}


if __name__ == "__main__":
    main()
