"""The generators of random numbers for CUDA tensors, one for each device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _C
from ._index import index_of

__all__ = [
    "default_generators",
    "get_rng_state",
    "get_rng_state_all",
    "initial_seed",
    "manual_seed",
    "manual_seed_all",
    "seed",
    "seed_all",
    "set_rng_state",
    "set_rng_state_all",
]


def _generator(device: Any = None) -> Any:
    from ..ops._generator import device_generator

    return device_generator(index_of(device))


class _Generators:
    """The generators of all devices, made when they are first asked for."""

    def __len__(self) -> int:
        return _C.cuda_device_count()

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f"default_generators: there is no CUDA device {index}")
        return _generator(index)


default_generators = _Generators()


def manual_seed(seed: int) -> None:
    """Seeds the generator of the current device; accepted where there is none.

    Raises RuntimeError for a number outside 64 bits, TypeError or ValueError for no number.
    """
    _generator().manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """Seeds the generators of all devices; accepted, and errors, as for :func:`manual_seed`."""
    from ..ops._generator import seed_devices

    _generator().manual_seed(seed)
    seed_devices(int(seed))


def seed() -> None:
    """Seeds the generator of the current device from the operating system."""
    _generator().seed()


def seed_all() -> None:
    """Seeds the generators of all devices with one number from the operating system."""
    manual_seed_all(_generator().seed())


def initial_seed() -> int:
    """The seed of the current device's generator."""
    return _generator().initial_seed()


def get_rng_state(device: Any = "cuda") -> Any:
    """The state of a device's generator, a uint8 tensor on the CPU; ValueError for the CPU."""
    return _generator(device).get_state()


def get_rng_state_all() -> list[Any]:
    """The state of every device's generator."""
    return [get_rng_state(i) for i in range(_C.cuda_device_count())]


def set_rng_state(new_state: Any, device: Any = "cuda") -> None:
    """Continues a device's generator from such a state.

    Raises TypeError for what is no tensor, RuntimeError for one that cannot be a state, and while a
    CUDA graph is captured, since each replay draws new numbers wherever the generator stood.
    """
    if _C.cuda_is_capturing():
        raise RuntimeError(
            "set_rng_state: a generator's state cannot be set while a CUDA graph is captured; "
            "checkpoint: pass preserve_rng_state=False if its function draws nothing"
        )
    _generator(device).set_state(new_state)


def set_rng_state_all(new_states: Iterable[Any]) -> None:
    """:func:`set_rng_state` for every device."""
    for i, state in enumerate(new_states):
        set_rng_state(state, i)
