"""Trains an MLP and a small convnet on the handwritten digits that ship inside scikit-learn.

1,797 images of 8 x 8 pixels; a fixed fifth of them is held out for testing. The first run trains,
draws the learning curves and some predictions, and saves both models; a later run loads and
evaluates them.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import tilegrad as tg
from tilegrad import datasets, nn
from tilegrad.utils import safetensors
from tilegrad.utils.data import DataLoader, TensorDataset


def load_digits() -> tuple[TensorDataset, TensorDataset]:
    """Images (N, 1, 8, 8) with values from 0 to 1 and labels (N); training and test parts."""
    from sklearn.model_selection import train_test_split

    images, labels = datasets.digits()
    rows = train_test_split(range(len(labels)), test_size=0.2, stratify=labels, random_state=0)
    images, labels = tg.tensor(images)[:, None].float() / 16, tg.tensor(labels)
    return tuple(TensorDataset(images[part], labels[part]) for part in rows)


def make_mlp() -> nn.Module:
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(64, 512), nn.ReLU(), nn.Dropout(0.5)),
        *(nn.Linear(512, 256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, 10)),
    )


def make_convnet() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.3), nn.Linear(256, 10)),
    )


def add_noise(images: tg.Tensor) -> tg.Tensor:
    """Disturbs every pixel a little: enough augmentation for the MLP."""
    return images + 0.15 * tg.randn_like(images)


def shift_randomly(images: tg.Tensor) -> tg.Tensor:
    """Moves the batch by at most one pixel in each direction: for the convnet."""
    down, right = tg.randint(0, 3, (2,)).tolist()
    return nn.functional.pad(images, (1, 1, 1, 1))[:, :, down : down + 8, right : right + 8]


def evaluate(model: nn.Module, data: TensorDataset) -> tuple[float, tg.Tensor]:
    """The share of correct predictions, and the predictions."""
    images, labels = data.tensors
    model.eval()
    with tg.no_grad():
        predictions = model(images).argmax(1)
    return (predictions == labels).float().mean().item(), predictions


def train(name: str, model: nn.Module, augment, data, test, epochs: int) -> list[tuple]:
    """AdamW with a cosine-shaped learning rate; returns loss and test accuracy of each epoch."""
    from tqdm import tqdm

    loader = DataLoader(data, batch_size=64, shuffle=True)
    optimizer = tg.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = tg.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs, eta_min=1e-5)
    curve = []
    bar = tqdm(range(1, epochs + 1), name, unit="epoch", disable=None)  # a terminal has a bar
    for epoch in bar:
        start, total = time.perf_counter(), 0.0
        model.train()
        for images, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(augment(images)), labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
        schedule.step()
        speed = len(data) / (time.perf_counter() - start)
        curve.append((total / len(data), evaluate(model, test)[0]))
        text = "loss {:.4f}, test {:.2%}, {:,.0f} samples/s".format(*curve[-1], speed)
        bar.set_postfix_str(text)
        if bar.disable and (epoch % 5 == 0 or epoch == epochs):
            print(f"{name} epoch {epoch}/{epochs}: {text}", flush=True)
    return curve


def draw(curves: dict[str, list], test, predictions: tg.Tensor, path: Path) -> None:
    """Learning curves on the left, test digits with the convnet's predictions on the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subfigures(1, 2)
    titles = ("training loss", "test accuracy")
    for column, (axis, title) in enumerate(zip(left.subplots(2, 1), titles, strict=True)):
        for name, curve in curves.items():
            axis.plot(range(1, len(curve) + 1), [point[column] for point in curve], label=name)
        axis.set(xlabel="epoch", ylabel=title, yscale=("log", "linear")[column])
        axis.grid(alpha=0.3)
        axis.legend()
    images, labels = test.tensors
    wrong_first = (predictions == labels).int().argsort(stable=True).tolist()
    for row, panel in zip(wrong_first, right.subplots(4, 6).flat, strict=False):
        guess, label = predictions[row].item(), labels[row].item()
        panel.imshow(images[row, 0].numpy(), cmap="gray_r")
        panel.set(xticks=[], yticks=[], title=guess if guess == label else f"{guess}, is {label}")
        panel.title.set_color("black" if guess == label else "red")
        panel.spines[:].set_edgecolor("lightgray" if guess == label else "red")
    figure.savefig(path, dpi=120)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60, help="epochs per model (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation")
    parser.add_argument("--out", type=Path, default=Path("out"), help="for models and figure")
    parser.add_argument("--retrain", action="store_true", help="train even if saved models exist")
    options = parser.parse_args(arguments)
    if options.epochs < 1:
        parser.error(f"--epochs: expected at least 1, got {options.epochs}")
    options.out.mkdir(parents=True, exist_ok=True)
    data, test = load_digits()
    curves, results = {}, {}
    plans = (("MLP", make_mlp, add_noise), ("convnet", make_convnet, shift_randomly))
    for name, make, augment in plans:
        tg.manual_seed(options.seed)
        model, path = make(), options.out / f"digits-{name.lower()}.safetensors"
        if path.exists() and not options.retrain:
            model.load_state_dict(safetensors.load_file(path))
        else:
            curves[name] = train(name, model, augment, data, test, options.epochs)
            safetensors.save_file(model.state_dict(), path)
        results[name], predictions = evaluate(model, test)
        done = "saved to" if name in curves else "loaded from"
        print(f"{name}: test accuracy {results[name]:.2%} ({done} {path})")
    if curves:
        draw(curves, test, predictions, options.out / "digits.png")
        print(f"learning curves and predictions: {options.out / 'digits.png'}")
    return results


if __name__ == "__main__":
    main()
