"""``keras.ops``: NumPy's functions and those of layers, on tensors and on tensors to come."""

from __future__ import annotations

from . import core, elementwise, making, matrices, nn, reductions, shaping
from .core import *  # noqa: F403
from .elementwise import *  # noqa: F403
from .making import *  # noqa: F403
from .matrices import *  # noqa: F403
from .nn import *  # noqa: F403
from .reductions import *  # noqa: F403
from .shaping import *  # noqa: F403

__all__ = [
    *core.__all__,
    *elementwise.__all__,
    *making.__all__,
    *matrices.__all__,
    *nn.__all__,
    *reductions.__all__,
    *shaping.__all__,
]
