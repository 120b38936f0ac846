"""``keras.ops.numpy``: the functions of ``keras.ops`` under another name."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    from .. import ops

    if name not in ops.__all__:
        raise AttributeError(f"module 'keras.ops.numpy' has no attribute {name!r}")
    return getattr(ops, name)
