"""Classification of two kinds and of many: tumours, wines, and text as bags of words.

Text comes from the Python library itself, so that nothing need be downloaded: which package is a
snippet of 80 words from? Two packages are a question of yes or no, six a choice; no file gives
snippets to both training and test. ``--text imdb`` asks whether film reviews praise (17 MB).
"""

from __future__ import annotations

import argparse
import re
import sysconfig
from collections import Counter
from pathlib import Path

import numpy as np

import tilegrad as tg
from tilegrad import datasets, nn
from tilegrad.nn import functional as F

PACKAGES = ("asyncio", "email", "unittest", "xml", "multiprocessing", "importlib")
Data = tuple[tg.Tensor, tg.Tensor, tg.Tensor, tg.Tensor]  # training x and y, test x and y


def table(name: str) -> Data:
    """A table of scikit-learn's: a third held out, each column scaled by the training part."""
    features, kinds = getattr(datasets, name)()
    order = np.random.RandomState(0).permutation(len(features))
    test, train = order[: len(order) // 3], order[len(order) // 3 :]
    scaled = (features - features[train].mean(0)) / features[train].std(0)
    return tuple(tg.tensor(x) for x in (scaled[train], kinds[train], scaled[test], kinds[test]))


def snippets(packages: tuple[str, ...], length: int = 80) -> tuple[list, list]:
    """(words, package) pairs for training, and for the test: every fourth file of each package."""
    library = Path(sysconfig.get_paths()["stdlib"])
    parts: tuple[list, list] = ([], [])
    for kind, package in enumerate(packages):
        for number, path in enumerate(sorted((library / package).rglob("*.py"))):
            words = re.findall(r"[a-z]{2,}", path.read_text(errors="replace").lower())
            words = [word for word in words if word != package]
            rows = [words[i : i + length] for i in range(0, len(words) - length + 1, length)]
            parts[number % 4 == 3].extend((row, kind) for row in rows)
    return parts


def bags(train: list, test: list, most: int = 2000) -> Data:
    """One 0 or 1 for each of the most frequent words: whether the snippet has it."""
    counts = Counter(word for words, _ in train for word in words)
    place = {word: i for i, (word, _) in enumerate(counts.most_common(most))}
    tensors = []
    for part in (train, test):
        bag = tg.zeros(len(part), most)
        for row, (words, _) in zip(bag, part, strict=True):
            row[[place[word] for word in words if word in place]] = 1
        tensors += [bag, tg.tensor([kind for _, kind in part])]
    return tuple(tensors)


def text(source: str, packages: tuple[str, ...]) -> Data:
    if source == "python":
        return bags(*snippets(packages))
    return bags(*(list(zip(*part, strict=True)) for part in datasets.imdb()), most=10_000)


def train(data: Data, epochs: int, hidden: int) -> tuple[list[float], list[float], tg.Tensor]:
    """Losses on training and test data after each epoch, and the predictions for the test."""
    x, y, test_x, test_y = data
    kinds = int(y.max()) + 1
    outputs = 1 if kinds == 2 else kinds  # one number decides between two
    body = (nn.Linear(x.shape[1], hidden), nn.ReLU(), nn.Dropout(0.5))
    model = nn.Sequential(*body, nn.Linear(hidden, outputs))

    def loss_of(scores: tg.Tensor, truth: tg.Tensor) -> tg.Tensor:
        if outputs == 1:
            return F.binary_cross_entropy_with_logits(scores[:, 0], truth.float())
        return F.cross_entropy(scores, truth)

    optimizer = tg.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    losses = ([], [])
    for _ in range(epochs):
        model.train()
        for rows in tg.randperm(len(x)).split(64):
            optimizer.zero_grad()
            loss_of(model(x[rows]), y[rows]).backward()
            optimizer.step()
        model.eval()
        with tg.no_grad():
            scores = model(test_x)
            losses[0].append(loss_of(model(x), y).item())
            losses[1].append(loss_of(scores, test_y).item())
    return *losses, (scores[:, 0] > 0).long() if outputs == 1 else scores.argmax(dim=1)


def draw(curves: dict, truth: np.ndarray, guess: np.ndarray, names: tuple, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    _, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    for number, (name, (training, test)) in enumerate(curves.items()):
        left.plot(training, color=f"C{number}", ls=":")
        left.plot(test, color=f"C{number}", label=name)
    left.set(xlabel="epoch", ylabel="cross-entropy (dotted: training)", yscale="log")
    left.legend()
    table = np.zeros((len(names), len(names)))
    np.add.at(table, (truth, guess), 1)
    shares = table / table.sum(1, keepdims=True)
    right.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*table.shape):
        color = "white" if shares[row, column] > 0.5 else "black"
        right.text(column, row, f"{table[row, column]:.0f}", ha="center", va="center", color=color)
    right.set_xticks(range(len(names)), names, rotation=45, ha="right")
    right.set_yticks(range(len(names)), names)
    right.set(xlabel="prediction", ylabel="package")
    plt.savefig(path, dpi=70)
    plt.close()


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", choices=("python", "imdb"), default="python")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    tasks = {
        "tumours: 2 kinds": table("breast_cancer"),
        "wines: 3 kinds": table("wine"),
        "text: 2 kinds": text(options.text, PACKAGES[:2]),
        "text: 6 kinds": text("python", PACKAGES),
    }
    curves, results = {}, {}
    for name, data in tasks.items():
        tg.manual_seed(options.seed)
        *curves[name], guess = train(data, options.epochs, hidden=64)
        truth = data[3]
        results[name] = (guess == truth).float().mean().item()
        guess_most = (truth == data[1].mode().values).float().mean().item()
        print(f"{name}: {results[name]:.1%} right (always the commonest: {guess_most:.1%})")
    draw(curves, truth.numpy(), guess.numpy(), PACKAGES, options.out / "classification.png")
    print(f"figure: {options.out / 'classification.png'}")
    return results


if __name__ == "__main__":
    main()
