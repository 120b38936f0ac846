"""A residual network in float32 has the gradients of float64, all the way down to its first layer.

ReLU has a kink: an input within rounding of zero passes its gradient in one computation and not in
the other, which changes gradients in a thousandth or more, in PyTorch's float32 as in ours. Here
both sides agree on which inputs pass, so what remains is the error of the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad as tg

BATCH, SIZE = 4, 112  # planes of 28, 14, 7 and 4: whole tiles and cut ones
WIDTHS = (32, 64, 128, 256)


def network(m: Any, relu: Callable[[Any], Any]) -> Any:
    """Eighteen layers in the usual shape, with `relu` called in the order of the computation."""
    nn = m.nn

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for _ in range(3))
            self.beside = None
            if stride > 1:
                self.beside = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

        def forward(self, x: Any) -> Any:
            y = self.norms[1](self.second(relu(self.norms[0](self.first(x)))))
            return relu(y + (x if self.beside is None else self.norms[2](self.beside(x))))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, WIDTHS[0], 7, 2, 3, bias=False)
            self.norm = nn.BatchNorm2d(WIDTHS[0])
            blocks = []
            for inputs, outputs in zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False):
                blocks.append(Block(inputs, outputs, 1 if inputs == outputs else 2))
                blocks.append(Block(outputs, outputs, 1))
            self.blocks = nn.Sequential(*blocks)
            self.out = nn.Linear(WIDTHS[-1], 10)

        def forward(self, x: Any) -> Any:
            x = nn.functional.avg_pool2d(relu(self.norm(self.stem(x))), 2)
            return self.out(self.blocks(x).mean((2, 3)))

    return Net()


def gradients(m: Any, net: Any, images: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
    labels = m.from_numpy(np.arange(BATCH) % 10)
    loss = m.nn.functional.cross_entropy(net(m.from_numpy(images)), labels)
    loss.backward()
    named = net.named_parameters()
    return loss.item(), {name: p.grad.numpy() for name, p in named if p.grad is not None}


@pytest.mark.parametrize("winograd", [True, False])
def test_gradients_of_a_deep_network(winograd: bool) -> None:
    images = np.random.default_rng(0).random((BATCH, 3, SIZE, SIZE)).astype(np.float32)
    passes: list[np.ndarray] = []

    def relu(x: Any) -> Any:
        y = tg.nn.functional.relu(x)
        passes.append((y > 0).numpy())
        return y

    tg.manual_seed(0)
    ours = network(tg, relu)
    start = {k: torch.from_numpy(v.numpy().copy()) for k, v in ours.state_dict().items()}
    try:
        tg.backends.winograd = winograd
        loss, mine = gradients(tg, ours, images)
    finally:
        tg.backends.winograd = True

    sides = iter(passes)
    theirs = network(torch, lambda x: x * torch.from_numpy(next(sides)))
    theirs.load_state_dict(start)
    expected_loss, expected = gradients(torch, theirs.double(), images.astype(np.float64))

    assert abs(loss - expected_loss) < 1e-6 * expected_loss
    assert len(mine) == len(expected) > 50
    for name, exact in expected.items():
        error = np.sqrt(np.mean(np.square(mine[name] - exact)))
        assert error < 2e-5 * np.sqrt(np.mean(np.square(exact))), name
