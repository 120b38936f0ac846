"""``keras.ops``: NumPy's functions and those of layers, on tensors and on tensors to come."""

from __future__ import annotations

from . import (
    core,
    elementwise,
    fourier,
    image,
    linalg,
    making,
    matrices,
    nn,
    numpy,
    patterns,
    reductions,
    shaping,
    windows,
)
from .core import *  # noqa: F403
from .elementwise import *  # noqa: F403
from .fourier import *  # noqa: F403
from .linalg import *  # noqa: F403
from .making import *  # noqa: F403
from .matrices import *  # noqa: F403
from .nn import *  # noqa: F403
from .patterns import *  # noqa: F403
from .reductions import *  # noqa: F403
from .shaping import *  # noqa: F403
from .windows import *  # noqa: F403

__all__ = [
    *core.__all__,
    *elementwise.__all__,
    *fourier.__all__,
    *linalg.__all__,
    *making.__all__,
    *matrices.__all__,
    *nn.__all__,
    *patterns.__all__,
    *reductions.__all__,
    *shaping.__all__,
    *windows.__all__,
]
