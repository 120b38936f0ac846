"""The generator of the CPU under the names of ``torch.random``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from .ops.random import (
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)

__all__ = [
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
]


@contextlib.contextmanager
def fork_rng(
    devices: Any = None,
    enabled: bool = True,
    _caller: str = "fork_rng",
    _devices_kw: str = "devices",
    device_type: str = "cuda",
) -> Iterator[None]:
    """A ``with`` block after which the generators of the CPU and of ``devices``, all unless given,
    continue from where they were before."""
    from . import cuda

    every = range(cuda.device_count()) if devices is None else devices
    state = get_rng_state() if enabled else None
    states = [cuda.get_rng_state(i) for i in every] if enabled else []
    try:
        yield
    finally:
        if state is not None:
            set_rng_state(state)
        for i, saved in zip(every if enabled else (), states, strict=True):
            cuda.set_rng_state(saved, i)
