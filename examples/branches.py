"""Models that are graphs: two branches, several heads, an Inception block, a residual block.

Each sample is a pair of handwritten digits. One branch reads the left digit, one the right; three
heads answer at once: which digit is left, which is right, and what is their sum. The heads share
all that comes before them, so what one learns helps the others: beside it, the sum's head alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import tilegrad as tg
from tilegrad import datasets, nn
from tilegrad.nn import functional as F

HEADS = {"left": 10, "right": 10, "sum": 19}


class Inception(nn.Module):
    """Looks with 1x1, 3x3 and 5x5 filters and with pooling side by side (Szegedy et al., 2015)."""

    def __init__(self, inputs: int, each: int) -> None:
        super().__init__()
        self.point = nn.Conv2d(inputs, each, 1)
        self.small = nn.Sequential(nn.Conv2d(inputs, each, 1), nn.Conv2d(each, each, 3, padding=1))
        self.large = nn.Sequential(nn.Conv2d(inputs, each, 1), nn.Conv2d(each, each, 5, padding=2))
        self.pooled = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), nn.Conv2d(inputs, each, 1))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return F.relu(tg.cat([self.point(x), self.small(x), self.large(x), self.pooled(x)], dim=1))


class Residual(nn.Module):
    """x plus what two convolutions make of it (He et al., 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            *(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()),
            *(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)),
        )

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return F.relu(x + self.change(x))


class PairReader(nn.Module):
    """Two branches, joined, and as many heads as are named."""

    def __init__(self, heads: list[str]) -> None:
        super().__init__()

        def branch() -> nn.Module:
            blocks = (Inception(1, 8), Residual(32), nn.MaxPool2d(2), Residual(32), nn.MaxPool2d(2))
            return nn.Sequential(*blocks, nn.Flatten(), nn.Dropout(0.3))

        self.left, self.right = branch(), branch()
        self.joined = nn.Sequential(nn.Linear(2 * 128, 128), nn.ReLU())
        self.heads = nn.ModuleDict({name: nn.Linear(128, HEADS[name]) for name in heads})

    def forward(self, pairs: tg.Tensor) -> dict[str, tg.Tensor]:
        both = [self.left(pairs[:, :1]), self.right(pairs[:, 1:])]
        features = self.joined(tg.cat(both, dim=1))
        return {name: head(features) for name, head in self.heads.items()}


def make_pairs(images: tg.Tensor, labels: tg.Tensor, count: int) -> tuple[tg.Tensor, dict]:
    """(count, 2, 8, 8) and the three answers."""
    left, right = (tg.randint(0, len(images), (count,)) for _ in range(2))
    answers = {"left": labels[left], "right": labels[right], "sum": labels[left] + labels[right]}
    return tg.stack([images[left], images[right]], dim=1), answers


def train(model: PairReader, data: tuple, test: tuple, epochs: int, name: str) -> list[dict]:
    """The share of right answers of each head on the test pairs, after each epoch."""
    pairs, answers = data
    optimizer, curve = tg.optim.AdamW(model.parameters(), lr=2e-3), []
    for epoch in range(1, epochs + 1):
        model.train()
        for rows in tg.randperm(len(pairs)).split(100):
            optimizer.zero_grad()
            outputs = model(pairs[rows])
            losses = [F.cross_entropy(out, answers[head][rows]) for head, out in outputs.items()]
            sum(losses).backward()
            optimizer.step()
        model.eval()
        with tg.no_grad():
            outputs = model(test[0])
        hits = {head: out.argmax(dim=1) == test[1][head] for head, out in outputs.items()}
        curve.append({head: right.float().mean().item() for head, right in hits.items()})
        shown = ", ".join(f"{head} {share:.1%}" for head, share in curve[-1].items())
        print(f"{name} {epoch}/{epochs}: {shown}", flush=True)
    return curve


def draw(curves: dict[str, list[dict]], test: tuple, outputs: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    left, right = plt.figure(figsize=(11, 4), layout="constrained").subfigures(1, 2)
    axis = left.subplots()
    for (name, curve), style in zip(curves.items(), "-:", strict=True):
        for head in curve[0]:
            shares = [100 * step[head] for step in curve]
            how = {"color": f"C{[*HEADS].index(head)}", "label": f"{head}, {name}"}
            axis.plot(range(1, len(curve) + 1), shares, style, **how)
    axis.set(xlabel="epoch", ylabel="right answers on test pairs, %")
    axis.legend()
    for row, panel in enumerate(right.subplots(3, 4).flat):
        panel.imshow(np.concatenate(test[0][row].numpy(), axis=1), cmap="gray_r")
        guess = int(outputs["sum"][row].argmax())
        panel.set_title(f"sum {guess}", color="k" if guess == test[1]["sum"][row] else "r")
        panel.set(xticks=[], yticks=[])
    plt.savefig(path, dpi=75, bbox_inches="tight")
    plt.close()


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--pairs", type=int, default=6000, help="how many to train on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    order = np.random.RandomState(0).permutation(1797)
    images, labels = (tg.tensor(array[order]) for array in datasets.digits())
    tg.manual_seed(options.seed)
    data = make_pairs(images[360:] / 16, labels[360:], options.pairs)
    test = make_pairs(images[:360] / 16, labels[:360], 2000)
    curves, models, results = {}, {}, {}
    for name, heads in (("three heads", [*HEADS]), ("one head", ["sum"])):
        tg.manual_seed(options.seed)
        models[name] = PairReader(heads)
        curves[name] = train(models[name], data, test, options.epochs, name)
        results |= {f"{head}, {name}": share for head, share in curves[name][-1].items()}
    with tg.no_grad():
        outputs = models["three heads"](test[0][:12])
    draw(curves, test, outputs, options.out / "branches.png")
    print(f"figure: {options.out / 'branches.png'}")
    return results


if __name__ == "__main__":
    main()
