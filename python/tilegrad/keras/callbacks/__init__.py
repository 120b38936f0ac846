"""``keras.callbacks``: what looks on while a model is trained, and may step in."""

from __future__ import annotations

from . import base, monitoring, tensorboard
from .base import *  # noqa: F403
from .monitoring import *  # noqa: F403
from .tensorboard import *  # noqa: F403

__all__ = [*base.__all__, *monitoring.__all__, *tensorboard.__all__]
