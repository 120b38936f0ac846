"""The layers under the names of PyTorch's modules: ``nn.modules.conv.Conv2d`` is ``nn.Conv2d``."""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from types import ModuleType
from typing import Any

from . import utils

# PyTorch's module -> ours, under tilegrad.nn.
_HOMES = {
    "activation": "activation",
    "batchnorm": "batchnorm",
    "container": "container",
    "conv": "conv",
    "dropout": "dropout",
    "flatten": "linear",
    "fold": "sliding",
    "instancenorm": "batchnorm",
    "linear": "linear",
    "loss": "loss",
    "module": "module",
    "normalization": "normalization",
    "padding": "padding",
    "pixelshuffle": "upsampling",
    "pooling": "pooling",
    "rnn": "recurrent",
    "sparse": "embedding",
    "transformer": "transformer",
    "upsampling": "upsampling",
}


class _Home(ModuleType):
    """One of PyTorch's modules: names of ours, and whatever else ``tilegrad.nn`` has."""

    def __getattr__(self, name: str) -> Any:
        home = importlib.import_module(self.__dict__["_home"])
        nn = sys.modules["tilegrad.nn"]
        for place in (home, nn):
            if hasattr(place, name):
                return getattr(place, name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name)


def _make(name: str, home: str) -> Any:
    module = _Home(f"{__name__}.{name}", f"The layers of ``tilegrad.nn.{home}``.")
    module.__dict__["_home"] = f"tilegrad.nn.{home}"
    module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None)
    sys.modules[module.__name__] = module
    return module


globals().update({name: _make(name, home) for name, home in _HOMES.items()})


def __getattr__(name: str) -> Any:
    """All layers of ``tilegrad.nn``."""
    nn = sys.modules["tilegrad.nn"]
    if name[0] != "_" and hasattr(nn, name):
        return getattr(nn, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
