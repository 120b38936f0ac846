"""Whole training steps of small networks: perceptrons, a LeNet-size CNN, an LSTM, a GPT."""

from __future__ import annotations

from typing import Any

from . import Case, Program


def train_step(m: Any, model: Any, optimizer: Any, x: Any, target: Any) -> Program:
    """Forward, cross-entropy over the last dimension, backward, update."""
    classes = target.reshape(-1)

    def step() -> Any:
        optimizer.zero_grad()
        scores = model(x)
        scores = scores.reshape(-1, scores.shape[-1])
        loss = m.nn.functional.cross_entropy(scores, classes)
        loss.backward()
        optimizer.step()
        return loss

    return step


def mlp(m: Any, convert: Any) -> Program:
    nn = m.nn
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))
    optimizer = m.optim.SGD(model.parameters(), lr=0.01)
    return train_step(m, model, optimizer, m.randn(128, 784), m.randint(0, 10, (128,)))


def deep_mlp(m: Any, convert: Any) -> Program:
    nn = m.nn
    layers = []
    for _ in range(4):
        layers += [nn.Linear(256, 256), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(256, 10))
    optimizer = m.optim.Adam(model.parameters(), lr=1e-3)
    return train_step(m, model, optimizer, m.randn(64, 256), m.randint(0, 10, (64,)))


def lenet(m: Any, convert: Any) -> Program:
    nn = m.nn
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
        nn.Linear(84, 10),
    )  # fmt: skip
    optimizer = m.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x = convert(m.randn(128, 1, 28, 28))
    return train_step(m, convert(model), optimizer, x, m.randint(0, 10, (128,)))


def lstm(m: Any, convert: Any) -> Program:
    nn = m.nn

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent, self.head = nn.LSTM(32, 128), nn.Linear(128, 10)

        def forward(self, x: Any) -> Any:
            return self.head(self.recurrent(x)[0][-1])

    model = Classifier()
    optimizer = m.optim.Adam(model.parameters(), lr=1e-3)
    return train_step(m, model, optimizer, m.randn(64, 64, 32), m.randint(0, 10, (64,)))


def gpt(m: Any, convert: Any) -> Program:
    from .networks import gpt_model

    model = gpt_model(m, vocabulary=256, width=128, layers=4, heads=4, context=128)
    optimizer = m.optim.AdamW(model.parameters(), lr=1e-3)
    tokens = m.randint(0, 256, (16, 129))
    return train_step(m, model, optimizer, tokens[:, :-1], tokens[:, 1:])


# Multiply-adds of the layers with parameters, three times for forward and both gradients.
_GPT = 16 * 128 * (4 * 12 * 128 * 128 + 128 * 256)

CASES = [
    Case("train step: MLP 784-512-10 b128", mlp, 1.3, flops=6 * 128 * (784 + 10) * 512),
    Case("train step: MLP 256x4 b64 Adam", deep_mlp, 1.5, flops=6 * 64 * 256 * (4 * 256 + 10)),
    Case("train step: LeNet-size CNN b128", lenet, 1.6, images=True),
    Case("train step: LSTM 32-128 T64 b64", lstm, 1.3, flops=2 * 64 * 64 * 512 * (3 * 128 + 64)),
    Case("train step: GPT d128 L4 T128 b16, AdamW", gpt, 1.4, flops=6 * _GPT, large=True),
]
