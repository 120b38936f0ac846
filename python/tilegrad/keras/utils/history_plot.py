"""The curves of a ``History`` as a picture, for notebooks."""

from __future__ import annotations

import io
from typing import Any

__all__ = ["history_png"]


def history_png(history: dict[str, list[float]], epochs: list[int]) -> bytes | None:
    """One panel per number, training and validation together, as PNG; None without matplotlib or
    without epochs."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    names = [name for name in history if not name.startswith("val_")]
    if not names or not epochs:
        return None
    figure = Figure(figsize=(4 * len(names), 3), layout="constrained")
    panels: Any = figure.subplots(1, len(names), squeeze=False)[0]
    for panel, name in zip(panels, names, strict=True):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            values = history.get(key)
            if values:
                places = range(epochs[-1] + 2 - len(values), epochs[-1] + 2)
                panel.plot(places, values, marker=".", label=label)
        panel.set(title=name, xlabel="epoch")
        panel.legend()
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()
