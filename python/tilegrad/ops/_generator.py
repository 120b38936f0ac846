"""Generators of random numbers: one of its own for each device, and those that users make."""

from __future__ import annotations

from typing import Any

from .. import _C
from ..tensor import Tensor
from .fill import _device

__all__ = ["Generator", "default_generator", "device_generator", "seed_devices"]


class Generator(_C.GeneratorBase):
    """A source of random numbers with its own seed and state."""

    def __init__(self, device: Any = "cpu") -> None:
        super().__init__()
        self._where = _device(device)

    @property
    def device(self) -> Any:
        """Of the tensors that it is for."""
        return self._where

    def manual_seed(self, seed: int) -> Generator:
        """Starts over from ``seed``, a 64-bit number; negative ones wrap. Returns ``self``."""
        seed = int(seed)
        if not -(2**63) <= seed < 2**64:
            raise RuntimeError(
                f"manual_seed: Overflow when unpacking long long: expected a value within "
                f"[-2**63, 2**64 - 1], got {seed}"
            )
        self._set_seed(seed % 2**64)
        return self

    def seed(self) -> int:
        """Starts over from a seed that the operating system supplies, and returns it."""
        self._fresh_seed()
        return self.initial_seed()

    def set_state(self, new_state: Tensor) -> Generator:
        """Continues from a state that :meth:`get_state` returned."""
        if not isinstance(new_state, Tensor):
            raise TypeError(f"set_state: expected a Tensor, got {type(new_state).__name__}")
        _C.load_random_state(self, new_state)
        return self


default_generator = Generator()
default_generator.seed()


_of_devices: dict[int, Generator] = {}  # the default ones of CUDA devices, when first needed
_seed_of_devices: list[int | None] = [None]  # for those that are not there yet


def device_generator(index: int) -> Generator:
    """The default generator of a CUDA device."""
    if index not in _of_devices:
        made = _of_devices[index] = Generator(_C.device("cuda", index))
        made.seed() if _seed_of_devices[0] is None else made.manual_seed(_seed_of_devices[0])
    return _of_devices[index]


def seed_devices(seed: int) -> None:
    """Seeds the default generators of all CUDA devices, now or when they are first needed."""
    _seed_of_devices[0] = seed
    for generator in _of_devices.values():
        generator.manual_seed(seed)


def _source(generator: Generator | None, target: Any) -> Generator:
    """The generator for a tensor. RuntimeError for one of another kind of device, TypeError for
    what is none."""
    if not isinstance(target, Tensor):
        raise TypeError(f"expected a Tensor, got {type(target).__name__}")
    return _source_on(generator, target.device)


def _source_on(generator: Generator | None, device: Any) -> Generator:
    wanted = device.type
    if generator is None:
        return default_generator if wanted == "cpu" else device_generator(device.index)
    if not isinstance(generator, Generator):
        raise TypeError(
            f"argument 'generator': expected a Generator, got {type(generator).__name__}"
        )
    found = generator.device.type
    if wanted != found:
        raise RuntimeError(f"Expected a '{wanted}' device type for generator but found '{found}'")
    return generator
