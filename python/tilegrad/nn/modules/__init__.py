"""PyTorch's longer paths to the layers: ``nn.modules.conv.Conv2d`` is ``nn.Conv2d``.

The modules named here are those of :mod:`tilegrad.nn` that hold the layers of that name.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from types import ModuleType
from typing import Any

from . import utils as utils

# PyTorch's module: ours.
_PLACES = {
    "activation": ("activation", "attention", "shrink"),
    "adaptive": ("adaptive",),
    "batchnorm": ("batchnorm", "lazy"),
    "channelshuffle": ("upsampling",),
    "container": ("container",),
    "conv": ("conv", "lazy"),
    "distance": ("distance",),
    "dropout": ("dropout", "shrink"),
    "flatten": ("linear",),
    "fold": ("upsampling",),
    "instancenorm": ("normalization", "lazy"),
    "lazy": ("lazy",),
    "linear": ("linear", "lazy"),
    "linear_cross_entropy_options": ("linear_cross_entropy",),
    "loss": ("loss", "margin_loss"),
    "module": ("module", "state"),
    "normalization": ("normalization",),
    "padding": ("padding",),
    "pixelshuffle": ("upsampling",),
    "pooling": ("pooling", "fractional_pooling"),
    "rnn": ("recurrent",),
    "sparse": ("embedding",),
    "transformer": ("transformer",),
    "upsampling": ("upsampling",),
}


class _Path(ModuleType):
    """A module with the names of others."""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            for place in _PLACES[self.__name__.rpartition(".")[2]]:
                module = importlib.import_module(f"{__package__.rpartition('.')[0]}.{place}")
                if hasattr(module, name):
                    return getattr(module, name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name)


for _name in _PLACES:
    _path = _Path(f"{__name__}.{_name}", f"PyTorch's path to layers in {_PLACES[_name]}.")
    _path.__spec__ = importlib.machinery.ModuleSpec(_path.__name__, None)
    sys.modules[_path.__name__] = globals()[_name] = _path


def __getattr__(name: str) -> Any:
    """All layers are here, too."""
    layers = sys.modules[__name__.rpartition(".")[0]]
    if not name.startswith("__") and name in vars(layers):
        return getattr(layers, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
