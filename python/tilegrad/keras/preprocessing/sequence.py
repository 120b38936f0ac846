"""``keras.preprocessing.sequence``: sequences made equally long."""

from __future__ import annotations

from ..utils.encoding import pad_sequences

__all__ = ["pad_sequences"]
