"""Forecasting a time series: an LSTM, a 1-D convnet and the last value, which is hard to beat.

Four electrodes of an electroencephalogram, 200 samples a second, 4 seconds, ship inside Matplotlib.
From 40 steps (0.2 s) of all four the models say where each will be 4 steps (20 ms) later. They are
trained on the first 3 seconds and tested on the last.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

import tilegrad as tg
from tilegrad import nn
from tilegrad.nn import functional as F


def load(past: int, ahead: int) -> tuple[tg.Tensor, ...]:
    """Windows (N, past, 4) and what comes ``ahead`` steps later (N, 4), scaled; for both parts."""
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "sample_data" / "eeg.dat"
    series = np.fromfile(path, np.float64).reshape(800, 4).astype(np.float32)
    series = (series - series[:600].mean(0)) / series[:600].std(0)
    parts = []
    for part in (series[:600], series[600:]):
        windows = np.lib.stride_tricks.sliding_window_view(part, past, axis=0)
        windows = windows.transpose(0, 2, 1)[: len(part) - past - ahead + 1]
        parts += [tg.tensor(windows.copy()), tg.tensor(part[past + ahead - 1 :])]
    return tuple(parts)


class Recurrent(nn.Module):
    """Reads step by step and remembers."""

    def __init__(self, hidden: int = 48) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, hidden, batch_first=True)
        self.out = nn.Sequential(nn.Dropout(0.3), nn.Linear(hidden, 4))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        states, _ = self.lstm(x)
        return self.out(states[:, -1])


class Convolutional(nn.Module):
    """Slides over time; each layer sees twice as far (dilation)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv1d(4, width, 5), nn.ReLU()),
            *(nn.Conv1d(width, width, 5, dilation=2), nn.ReLU()),
            *(nn.Conv1d(width, width, 5, dilation=4), nn.ReLU()),
        )
        self.out = nn.Sequential(nn.Dropout(0.3), nn.Linear(width, 4))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.out(self.body(x.transpose(1, 2))[:, :, -1])


def forecast(model: nn.Module, x: tg.Tensor) -> tg.Tensor:
    """All models say how far the last value will move."""
    return x[:, -1] + model(x)


def train(name: str, model: nn.Module, data: tuple, epochs: int) -> list[float]:
    """The mean absolute error on the test second after each epoch, in standard deviations."""
    x, y, test_x, test_y = data
    optimizer = tg.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.2)
    schedule = tg.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    curve = []
    for epoch in range(1, epochs + 1):
        model.train()
        for rows in tg.randperm(len(x)).split(32):
            optimizer.zero_grad()
            noisy = x[rows] + 0.2 * tg.randn_like(x[rows])
            F.l1_loss(forecast(model, noisy), y[rows]).backward()
            optimizer.step()
        schedule.step()
        model.eval()
        with tg.no_grad():
            curve.append(F.l1_loss(forecast(model, test_x), test_y).item())
        if epoch % 5 == 0 or epoch == epochs:
            print(f"{name}, {epoch}/{epochs}: test error {curve[-1]:.3f}", flush=True)
    return curve


def draw(curves: dict, models: dict, x: tg.Tensor, y: tg.Tensor, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(12, 3.8), layout="constrained", width_ratios=(2, 3))
    for name, curve in curves.items():
        axes[0].plot(range(1, len(curve) + 1), curve, label=name)
    axes[0].set(xlabel="epoch", ylabel="mean absolute error, test second")
    axes[0].grid(alpha=0.3)
    seconds = 4 - np.arange(len(y))[::-1] / 200
    axes[1].plot(seconds, y[:, 0].numpy(), color="black", lw=2, label="electrode 1")
    axes[1].plot(seconds, x[:, -1, 0].numpy(), ":", label="last value")
    with tg.no_grad():
        axes[1].plot(seconds, forecast(models["LSTM"], x)[:, 0].numpy(), color="C2", label="LSTM")
    axes[0].set_ylim(0.8, 1.08)
    axes[1].set(xlabel="seconds", ylabel="forecast 20 ms ahead")
    for axis in axes:
        axis.legend(loc="upper right")
    figure.savefig(path, dpi=75)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figure")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    past = 40
    data = load(past, ahead=4)
    test_x, test_y = data[2:]
    makers: dict[str, Callable[[], nn.Module]] = {
        "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(4 * past, 4)),
        "LSTM": Recurrent,
        "1-D convnet": Convolutional,
    }
    last_value = F.l1_loss(test_x[:, -1], test_y).item()
    curves, models = {"last value": [last_value] * options.epochs}, {}
    for name, make in makers.items():
        tg.manual_seed(options.seed)
        models[name] = make()
        curves[name] = train(name, models[name], data, options.epochs)
    path = options.out / "timeseries.png"
    draw(curves, models, test_x, test_y, path)
    for name, curve in curves.items():
        print(f"{name:>12}: mean absolute error {curve[-1]:.3f}")
    print(f"figure: {path}")
    return {name: curve[-1] for name, curve in curves.items()}


if __name__ == "__main__":
    main()
