"""The geometry of tensor operations: what layers do to points in the plane, drawn.

First a handwritten digit, taken as a cloud of points, is moved, turned, scaled and sheared: each is
a matrix and a shift. Two such maps are one again, so depth without activations gains nothing; a
dense layer with ReLU folds the plane. Then two spirals, as hard to part as two crumpled sheets of
paper, are unfolded by a small network until a straight cut separates them.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np

import tilegrad as tg
from tilegrad import datasets, nn


def digit_as_points() -> tg.Tensor:
    """The ink of one digit, its pixels halved twice: (points, 2), centred, about 1 in size."""
    image = tg.tensor(datasets.digits()[0][9])[None, None]
    fine = nn.functional.interpolate(image, scale_factor=4, mode="bilinear")[0, 0]
    row, column = tg.nonzero(fine > 9, as_tuple=True)
    points = tg.stack([column.float(), -row.float()], dim=1)
    return (points - points.mean(dim=0)) / 14


def affine_maps(points: tg.Tensor) -> dict[str, tg.Tensor]:
    """Every map is ``points @ matrix.T + shift``."""
    angle = math.radians(40)
    turn = tg.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    shear, shift = tg.tensor([[1.0, 0.8], [0.0, 1.0]]), tg.tensor([0.6, 0.3])
    twice = (points @ turn.T + shift) @ shear.T + shift
    once = points @ (shear @ turn).T + (shear @ shift + shift)
    assert tg.allclose(twice, once, atol=1e-5), "two affine maps are one"
    return {
        "as it is": points,
        "translation": points + shift,
        "rotation": points @ turn.T,
        "scaling": points * tg.tensor([1.4, 0.5]),
        "affine": points @ shear.T + shift,
        "affine twice = once": once,
        "dense + ReLU folds": tg.relu(points @ turn.T + shift),
    }


def spirals(count: int) -> tuple[tg.Tensor, tg.Tensor]:
    """Two arms of ``count`` points that wind around each other: (2 count, 2), and which arm."""
    along = tg.rand(count).sqrt()
    angle = along * 3 * math.pi
    arm = tg.stack([along * angle.cos(), along * angle.sin()], dim=1)
    points = tg.cat([arm, -arm]) + 0.02 * tg.randn(2 * count, 2)
    return points, tg.cat([tg.zeros(count), tg.ones(count)])


def unfold(steps: int) -> tuple[dict[int, np.ndarray], tg.Tensor, float]:
    """Trains 2-32-32-2-1 and keeps, at some steps, where its last hidden layer puts the points."""
    points, arm = spirals(600)
    test_points, test_arm = spirals(600)
    layers = nn.Sequential(
        nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2)
    )
    cut = nn.Linear(2, 1)
    optimizer = tg.optim.Adam([*layers.parameters(), *cut.parameters()], lr=0.004)
    kept = {-1: points.numpy()}
    stops = {steps // 24, steps // 6, steps}
    for step in range(steps + 1):
        hidden = layers(points)
        loss = nn.functional.binary_cross_entropy_with_logits(cut(hidden)[:, 0], arm)
        if step in stops:
            kept[step] = hidden.detach().numpy()
            print(f"step {step}/{steps}: loss {loss.item():.4f}", flush=True)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with tg.no_grad():
        right = (cut(layers(test_points))[:, 0] > 0) == (test_arm > 0.5)
    return kept, arm, right.float().mean().item()


def draw(
    maps: dict[str, tg.Tensor], kept: dict[int, np.ndarray], arm: tg.Tensor, path: Path
) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(12, 8), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.1, 1))
    panels = top.subplots(2, 4).flat
    start = maps["as it is"].numpy()
    for (name, points), axis in zip(maps.items(), panels, strict=False):
        axis.scatter(*start.T, s=3, color="lightgray")
        axis.scatter(*points.numpy().T, s=3, c=np.arange(len(start)), cmap="viridis")
        axis.set(title=name, xlim=(-1.9, 2.6), ylim=(-1.4, 1.7), aspect="equal")
        axis.axhline(0, color="gray", lw=0.5)
        axis.axvline(0, color="gray", lw=0.5)
        axis.set_xticks([])
        axis.set_yticks([])
    grid = np.stack(np.meshgrid(np.linspace(-2, 2, 21), np.linspace(-1.5, 1.5, 21)), -1)
    weights = np.array([[0.9, 0.5], [-0.4, 0.9]])
    axis = list(top.axes)[7]
    folded = np.maximum(grid @ weights, 0)
    for lines in (folded, folded.transpose(1, 0, 2)):
        for line in lines:
            axis.plot(*line.T, color="tab:blue", lw=0.6)
    axis.set(title="the plane's grid after a fold", xticks=[], yticks=[], aspect="equal")
    for (step, hidden), axis in zip(kept.items(), bottom.subplots(1, len(kept)), strict=True):
        colors = np.where(arm.numpy() > 0.5, "tab:red", "tab:blue")
        spread = np.linalg.svd(hidden - hidden.mean(0), full_matrices=False)[0]
        axis.scatter(*spread.T, s=5, c=colors)
        axis.set(title="folded" if step < 0 else f"step {step}", xticks=[], yticks=[])
    figure.savefig(path, dpi=70, bbox_inches="tight")
    plt.close(figure)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=720, help="training steps of the unfolding")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    tg.manual_seed(options.seed)
    maps = affine_maps(digit_as_points())
    kept, arm, accuracy = unfold(options.steps)
    path = options.out / "geometry.png"
    draw(maps, kept, arm, path)
    print(
        f"a straight cut through the unfolded spirals is right for {accuracy:.2%}; figure: {path}"
    )
    return {"accuracy": accuracy}


if __name__ == "__main__":
    main()
