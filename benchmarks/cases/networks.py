"""The larger networks of the training steps, written once for both libraries.

Residual networks after He et al., "Deep Residual Learning for Image Recognition" (2016), in their
forms for images of 32 x 32 pixels; a decoder-only transformer after Radford et al. (2019).
"""

from __future__ import annotations

from typing import Any


def _block(m: Any, inner: int, out: int, stride: int) -> Any:
    nn = m.nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inner, out, 3, stride=stride, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(out)
            self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(out)
            self.shortcut = nn.Identity()
            if stride != 1 or inner != out:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(inner, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out)
                )

        def forward(self, x: Any) -> Any:
            y = m.relu(self.bn1(self.conv1(x)))
            return m.relu(self.bn2(self.conv2(y)) + self.shortcut(x))

    return Block()


def _residual_network(m: Any, widths: list[int], blocks: int) -> Any:
    nn = m.nn
    layers = [nn.Conv2d(3, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0])]
    layers.append(nn.ReLU())
    inner = widths[0]
    for i, width in enumerate(widths):
        for k in range(blocks):
            layers.append(_block(m, inner, width, 2 if i > 0 and k == 0 else 1))
            inner = width
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inner, 10)]
    return nn.Sequential(*layers, *head)


def resnet20(m: Any) -> Any:
    """Three stages of three blocks, 16 to 64 channels."""
    return _residual_network(m, [16, 32, 64], 3)


def resnet18(m: Any) -> Any:
    """Four stages of two blocks, 64 to 512 channels, with a stem for small images."""
    return _residual_network(m, [64, 128, 256, 512], 2)


def gpt_model(m: Any, *, vocabulary: int, width: int, layers: int, heads: int, context: int) -> Any:
    """Tokens (batch, length) -> scores (batch, length, vocabulary)."""
    nn = m.nn

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp = nn.Sequential(
                nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
            )

        def forward(self, x: Any) -> Any:
            batch, length, _ = x.shape
            qkv = self.qkv(self.norm1(x)).reshape(batch, length, 3, heads, width // heads)
            q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
            return x + self.mlp(self.norm2(x))

    class Gpt(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(vocabulary, width)
            self.positions = nn.Embedding(context, width)
            self.layers = nn.Sequential(*(Layer() for _ in range(layers)))
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, vocabulary, bias=False)

        def forward(self, x: Any) -> Any:
            places = m.arange(x.shape[1], device=x.device)
            return self.head(self.norm(self.layers(self.tokens(x) + self.positions(places))))

    return Gpt()
