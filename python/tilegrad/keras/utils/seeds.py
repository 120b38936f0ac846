"""``set_random_seed``: one seed for everything that draws random numbers."""

from __future__ import annotations

import random

import numpy as np

import tilegrad as tg

from ..config import settings

__all__ = ["set_random_seed"]


def set_random_seed(seed: int) -> None:
    """Seeds Python's, NumPy's and tilegrad's generators, and the seeds of layers and initializers.

    Raises ValueError for what is no integer.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise ValueError(f"Argument `seed` must be an integer. Received: seed={seed!r}")
    random.seed(int(seed))
    np.random.seed(int(seed))
    tg.manual_seed(int(seed))
    settings.seeds.seed(int(seed))
