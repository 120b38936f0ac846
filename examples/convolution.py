"""Convolution by hand: filters, feature maps, stride, padding, pooling; then filters that learn.

The sum that defines a convolution is written out as loops and must agree with ``conv2d``. Two known
filters find edges in a real digit. A small convnet then learns filters of its own on MNIST's 10,000
test images (8,000 to train on), and we look at them and at the maps that they make of one digit.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import tilegrad as tg
from tilegrad import datasets, nn
from tilegrad.nn import functional as F


def convolve_by_hand(image: tg.Tensor, kernel: tg.Tensor, stride: int, padding: int) -> tg.Tensor:
    """Lays the kernel over every place and sums the products: (rows, columns)."""
    image = F.pad(image, (padding,) * 4)
    (high, wide), size = image.shape, len(kernel)
    rows, columns = (high - size) // stride + 1, (wide - size) // stride + 1
    result = tg.zeros(rows, columns)
    for row in range(rows):
        for column in range(columns):
            top, left = row * stride, column * stride
            window = image[top : top + size, left : left + size]
            result[row, column] = (window * kernel).sum()
    return result


def pool_by_hand(image: tg.Tensor) -> tg.Tensor:
    """The largest of each 2 x 2 pixels."""
    high, wide = image.shape
    return image.reshape(high // 2, 2, wide // 2, 2).amax(dim=(1, 3))


EDGES = {
    "level edges": tg.tensor([[1.0, 2, 1], [0, 0, 0], [-1, -2, -1]]),
    "upright edges": tg.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]]),
}


def maps_by_hand(digit: tg.Tensor) -> dict[str, tg.Tensor]:
    """One image, seen in five ways; each compared with the library's."""
    maps = {"a digit, 28 x 28": digit}
    for name, kernel in EDGES.items():
        maps[name] = convolve_by_hand(digit, kernel, stride=1, padding=1)
    maps["stride 2, 13 x 13"] = convolve_by_hand(digit, EDGES["level edges"], stride=2, padding=0)
    maps["pooled, 14 x 14"] = pool_by_hand(maps["level edges"])
    for name, kernel in EDGES.items():
        library = F.conv2d(digit[None, None], kernel[None, None], padding=1)[0, 0]
        assert tg.allclose(maps[name], library, atol=1e-5), name
    strided = F.conv2d(digit[None, None], EDGES["level edges"][None, None], stride=2)[0, 0]
    assert tg.allclose(maps["stride 2, 13 x 13"], strided, atol=1e-5)
    assert tg.equal(maps["pooled, 14 x 14"], F.max_pool2d(maps["level edges"][None], 2)[0])
    return maps


def make_convnet() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.4), nn.Linear(64 * 9, 10)),
    )


def train(model: nn.Module, x: tg.Tensor, y: tg.Tensor, test_x, test_y, epochs: int) -> float:
    """Each batch is moved by up to two pixels; the share of right answers on the test images."""
    optimizer = tg.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = tg.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(1, epochs + 1):
        model.train()
        total = 0.0
        for rows in tg.randperm(len(x)).split(64):
            down, right = (int(step) for step in tg.randint(-2, 3, (2,)))
            moved = tg.roll(x[rows], (down, right), (2, 3))
            optimizer.zero_grad()
            loss = F.cross_entropy(model(moved), y[rows])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        schedule.step()
        model.eval()
        with tg.no_grad():
            accuracy = (model(test_x).argmax(dim=1) == test_y).float().mean().item()
        print(f"epoch {epoch}/{epochs}: loss {total / len(x):.4f}, test {accuracy:.2%}", flush=True)
    return accuracy


def tiles(images: np.ndarray, columns: int) -> np.ndarray:
    """(N, size, size) as one picture with white lines between."""
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    rows, size = len(framed) // columns, framed.shape[1]
    return framed.reshape(rows, columns, size, size).transpose(0, 2, 1, 3).reshape(rows * size, -1)


def draw(maps: dict[str, tg.Tensor], model: nn.Sequential, digit: tg.Tensor, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    whole = plt.figure(figsize=(11, 6), layout="constrained")
    top, bottom = whole.subfigures(2, 1, height_ratios=(1, 1.5))
    for (name, image), axis in zip(maps.items(), top.subplots(1, len(maps)), strict=True):
        ink = name.startswith("a digit")
        axis.imshow(image, "gray_r" if ink else "RdBu", vmin=0 if ink else -4, vmax=1 if ink else 4)
        axis.set(title=name, xticks=[], yticks=[])
    with tg.no_grad():
        first, second = model[:2](digit[None, None])[0], model[:5](digit[None, None])[0]
    pictures = {
        "16 learned filters, 5 x 5": (tiles(model[0].weight.detach().numpy()[:, 0], 4), "RdBu"),
        "their maps, 28 x 28": (tiles(first.numpy(), 4), "gray_r"),
        "32 maps of the second layer, 14 x 14": (tiles(second.numpy(), 8), "gray_r"),
    }
    axes = bottom.subplots(1, 3, width_ratios=(1, 1, 2))
    for (name, (picture, colors)), axis in zip(pictures.items(), axes, strict=True):
        axis.imshow(picture, cmap=colors)
        axis.set(title=name, xticks=[], yticks=[])
    plt.savefig(path, dpi=75, bbox_inches="tight")
    plt.close(whole)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--images", type=int, default=8000, help="how many to train on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    tg.manual_seed(options.seed)
    (train_x, train_y), (test_x, test_y) = datasets.mnist_10k()
    x, test_x = (tg.tensor(part)[:, None].float() / 255 for part in (train_x, test_x))
    y, test_y = (tg.tensor(part).long() for part in (train_y, test_y))
    maps, model = maps_by_hand(x[0, 0]), make_convnet()
    accuracy = train(
        model, x[: options.images], y[: options.images], test_x, test_y, options.epochs
    )
    draw(maps, model, x[0, 0], options.out / "convolution.png")
    print(f"test accuracy {accuracy:.2%}; figure: {options.out / 'convolution.png'}")
    return {"accuracy": accuracy}


if __name__ == "__main__":
    main()
