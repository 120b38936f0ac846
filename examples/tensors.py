"""A tour of tensors whose every claim is checked: rank, shape, dtype, slices, broadcasting.

The tour is a list of cells as one would type them; each states what it expects, and the program
stops at the first that is wrong. It ends with the four kinds of data that books speak of, each a
tensor of one rank more than the last: vectors, time series, images, video.
"""

from __future__ import annotations

import argparse
import doctest
from pathlib import Path

import numpy as np

import tilegrad as tg
from tilegrad import datasets, nn

TOUR = """
A scalar has rank 0, a vector rank 1, a matrix rank 2.
>>> scalar, vector, matrix = tg.tensor(12.0), tg.tensor([12.0, 3.0, 6.0]), tg.ones(3, 5)
>>> scalar.ndim, vector.ndim, matrix.ndim
(0, 1, 2)

Three facts describe a tensor: rank, shape, dtype.
>>> digits, labels = (tg.tensor(array) for array in datasets.digits())
>>> digits.ndim, digits.shape, digits.dtype
(3, tilegrad.Size([1797, 8, 8]), tilegrad.float32)
>>> tg.tensor([1, 2]).dtype, tg.tensor([True]).dtype, (tg.tensor([1]) + 0.5).dtype
(tilegrad.int64, tilegrad.bool, tilegrad.float32)

A slice selects along each axis, and shares its memory with the whole.
>>> digits[10:100].shape, digits[:, 4:, 4:].shape, digits[:, 2:-2, 2:-2].shape
(tilegrad.Size([90, 8, 8]), tilegrad.Size([1797, 4, 4]), tilegrad.Size([1797, 4, 4]))
>>> view = matrix[0]
>>> view[:] = 7
>>> matrix.sum(dim=1).tolist()
[35.0, 5.0, 5.0]

The first axis counts samples; a batch is a slice of it.
>>> [len(batch) for batch in digits.split(600)]
[600, 600, 597]

A mask selects, a list of indices gathers.
>>> threes = digits[labels == 3]
>>> len(threes), digits[[5, 0, 5]].shape
(183, tilegrad.Size([3, 8, 8]))

Operations work element by element.
>>> (tg.tensor([-1.0, 2.0]).relu() + tg.tensor([10.0, 20.0])).tolist()
[10.0, 22.0]

Broadcasting repeats what is missing: axes of length 1, and axes in front.
>>> (tg.zeros(64, 3, 32, 10) + tg.ones(32, 10)).shape
tilegrad.Size([64, 3, 32, 10])
>>> (tg.tensor([[1], [2]]) * tg.tensor([10, 20, 30])).tolist()
[[10, 20, 30], [20, 40, 60]]
>>> tg.ones(3) + tg.ones(4)
Traceback (most recent call last):
RuntimeError: ...

The tensor product contracts the last axis of one with the first of the other.
>>> (tg.tensor([1.0, 2.0]) @ tg.tensor([3.0, 4.0])).item()
11.0
>>> (tg.rand(2, 3) @ tg.rand(3, 4)).shape, (tg.rand(5, 2, 3) @ tg.rand(3)).shape
(tilegrad.Size([2, 4]), tilegrad.Size([5, 2]))
>>> x, y = tg.rand(2, 3), tg.rand(3, 4)
>>> by_hand = tg.stack([tg.stack([(row * column).sum() for column in y.T]) for row in x])
>>> tg.allclose(x @ y, by_hand)
True

Reshaping keeps the order of the elements, transposing does not.
>>> tg.arange(6).reshape(3, 2).tolist(), tg.arange(6).reshape(2, 3).T.tolist()
([[0, 1], [2, 3], [4, 5]], [[0, 3], [1, 4], [2, 5]])
>>> digits.reshape(-1, 64).shape, digits.flatten(1).shape
(tilegrad.Size([1797, 64]), tilegrad.Size([1797, 64]))

Reductions take axes away; NumPy's arrays come and go without a copy.
>>> digits.mean(dim=(1, 2)).shape, digits.max().item()
(tilegrad.Size([1797]), 16.0)
>>> array = np.zeros(2)
>>> shared = tg.from_numpy(array)
>>> array[0] = 5
>>> shared.tolist()
[5.0, 0.0]

Vectors (samples, features), series (samples, steps, features), images (samples, channels, height,
width), video (samples, frames, channels, height, width).
>>> people, prices = tg.zeros(100, 3), tg.zeros(250, 390, 3)
>>> images, films = tg.zeros(128, 3, 32, 32), tg.zeros(4, 24, 3, 16, 16)
>>> people.ndim, prices.ndim, images.ndim, films.ndim
(2, 3, 4, 5)
"""


def take_the_tour() -> int:
    """Runs and prints cell by cell; raises DocTestFailure at the first surprise."""
    names = {"tg": tg, "np": np, "datasets": datasets}
    cells = doctest.DocTestParser().get_doctest(TOUR, names, "tour", __file__, 0)
    print(TOUR.strip())
    doctest.DebugRunner(optionflags=doctest.ELLIPSIS).run(cells)
    return len(cells.examples)


def draw(path: Path) -> None:
    """One picture for each kind of data, all of it from scikit-learn's wine and digits."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    wine, digits = datasets.wine()[0], tg.tensor(datasets.digits()[0])
    standard = (wine - wine.mean(0)) / wine.std(0)
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.2), layout="constrained")
    axes[0].imshow(standard[::6], cmap="RdBu", vmin=-3, vmax=3, aspect="auto")
    axes[0].set(title="vectors: (30, 13)", xlabel="feature", ylabel="sample")
    for number, row in enumerate(digits[:3]):  # a pen's ink, row by row
        axes[1].plot(row.sum(dim=1), marker=".", label=f"sample {number}")
    axes[1].set(title="series: (3, 8, 1)", xlabel="step", ylim=(20, 95))
    axes[1].legend(loc="upper left", ncols=2)
    film = tg.stack([tg.roll(digits[0], step, 1) for step in range(8)])  # a digit that walks
    for axis, pictures, title in (
        (axes[2], digits[:16], "images: (16, 1, 8, 8)"),
        (axes[3], film, "video: (1, 8, 1, 8, 8)"),
    ):
        framed = nn.functional.pad(pictures, (1, 1, 1, 1), value=5).reshape(-1, 4, 10, 10)
        axis.imshow(framed.permute(0, 2, 1, 3).reshape(-1, 40), "gray_r")
        axis.set(title=title, xticks=[], yticks=[])
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    count = take_the_tour()
    draw(options.out / "tensors.png")
    print(f"\n{count} cells, all as they say; figure: {options.out / 'tensors.png'}")
    return {"cells": count}


if __name__ == "__main__":
    main()
