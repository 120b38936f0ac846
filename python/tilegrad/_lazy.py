"""Parts of a package that are imported when they are first asked for.

``import tilegrad`` must be quick, and yet ``tilegrad.serialization.load`` should work after it, as
with PyTorch, without an import of its own.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["lazily"]


def lazily(package: str, names: Mapping[str, str] | None = None) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package: its submodules, and ``names`` that live in one of them."""
    places = names or {}

    def find(name: str) -> Any:
        if name in places:
            found = getattr(importlib.import_module(f"{package}.{places[name]}"), name)
            vars(sys.modules[package])[name] = found  # so that this is asked once
            return found
        whole = f"{package}.{name}"
        if not name.startswith("_") and importlib.util.find_spec(whole) is not None:
            return importlib.import_module(whole)
        raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name)

    return find
