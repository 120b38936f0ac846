"""What a small operation costs beside PyTorch, where the arithmetic is next to nothing.

One thread each; ``ratio`` is PyTorch's time divided by ours: above 1 we are faster.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch

import tilegrad as tg
from timing import compare

GOALS = {
    "a + b": 1.3,
    "a + b, requires_grad": 1.3,
    "view": 1.3,
    "view, requires_grad": 1.3,
    "x[1:3]": 1.3,
    "x[1]": 1.3,
    "30 small ops, forward and backward": 2.0,
    "SGD step, MLP 64-32-10, batch 32": 4.0,
}


def cases(m: Any) -> dict[str, Callable[[], object]]:
    """The same programs for tilegrad and for torch."""
    a, b = m.ones(4, 4), m.ones(4, 4)
    leaf = m.ones(4, 4, requires_grad=True)

    def chain() -> None:
        x = leaf
        for _ in range(10):
            x = x * b
            x = x + b
            x = m.tanh(x)
        x.sum().backward()

    return {
        "a + b": lambda: a + b,
        "a + b, requires_grad": lambda: leaf + b,
        "view": lambda: a.view(16),
        "view, requires_grad": lambda: leaf.view(16),
        "x[1:3]": lambda: a[1:3],
        "x[1]": lambda: a[1],
        "30 small ops, forward and backward": chain,
        "SGD step, MLP 64-32-10, batch 32": sgd_step(m),
    }


def sgd_step(m: Any) -> Callable[[], object]:
    model = m.nn.Sequential(m.nn.Linear(64, 32), m.nn.ReLU(), m.nn.Linear(32, 10))
    optimizer = m.optim.SGD(model.parameters(), lr=0.01)
    loss_function = m.nn.CrossEntropyLoss()
    images, labels = m.randn(32, 64), m.randint(0, 10, (32,))

    def step() -> None:
        optimizer.zero_grad()
        loss_function(model(images), labels).backward()
        optimizer.step()

    return step


def table() -> str:
    """The results as Markdown."""
    tg.set_num_threads(1)
    torch.set_num_threads(1)
    lines = [
        "| case | tilegrad (us) | PyTorch (us) | ratio | goal |",
        "|---|---|---|---|---|",
    ]
    theirs = cases(torch)
    for name, ours in cases(tg).items():
        mine, other, ratio = compare(ours, theirs[name])
        lines.append(
            f"| {name} | {mine * 1e6:.2f} | {other * 1e6:.2f} | {ratio:.2f} | {GOALS[name]} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(table())
