"""Activations that shrink, that are random, or that work on images, as modules."""

from __future__ import annotations

from typing import Any

from . import functional as F
from .dropout import _Dropout
from .module import Module

__all__ = ["AlphaDropout", "FeatureAlphaDropout", "Hardshrink", "RReLU", "Softmax2d", "Softshrink"]


class _Shrink(Module):
    """What both share: half the width of the band around zero."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def extra_repr(self) -> str:
        return str(self.lambd)


class Hardshrink(_Shrink):
    """``x`` outside [-lambd, lambd], 0 within."""

    def forward(self, input: Any) -> Any:
        return F.hardshrink(input, self.lambd)


class Softshrink(_Shrink):
    """``x`` moved by ``lambd`` towards 0, and 0 within [-lambd, lambd]."""

    def forward(self, input: Any) -> Any:
        return F.softshrink(input, self.lambd)


class RReLU(Module):
    """``x`` where positive, else times a slope: random in [lower, upper] in training, their mean
    otherwise (Xu et al., 2015)."""

    def __init__(
        self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False
    ) -> None:
        super().__init__()
        self.lower, self.upper, self.inplace = lower, upper, inplace

    def forward(self, input: Any) -> Any:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}" + (", inplace=True" * self.inplace)


class Softmax2d(Module):
    """A softmax over the channels of (N, C, H, W) or (C, H, W). ValueError for other inputs."""

    def forward(self, input: Any) -> Any:
        if input.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.ndim}D instead")
        return F.softmax(input, -3)


class AlphaDropout(_Dropout):
    """Dropout that keeps mean and variance of standard normal inputs (Klambauer et al., 2017)."""

    def forward(self, input: Any) -> Any:
        return F.alpha_dropout(input, self.p, self.training, self.inplace)


class FeatureAlphaDropout(_Dropout):
    """:class:`AlphaDropout` of whole channels of (N, C, ...)."""

    def forward(self, input: Any) -> Any:
        return F.feature_alpha_dropout(input, self.p, self.training, self.inplace)
