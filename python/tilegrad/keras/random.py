"""Random tensors: ``keras.random``. One seed always gives the same numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tilegrad as tg

from .config import next_seed
from .dtypes import convert_to_tensor, dtype_of

__all__ = [
    "SeedGenerator",
    "beta",
    "binomial",
    "categorical",
    "dropout",
    "gamma",
    "normal",
    "randint",
    "shuffle",
    "truncated_normal",
    "uniform",
]


class SeedGenerator:
    """A source of random numbers that goes on from call to call.

    Raises ValueError for a seed that is no integer.
    """

    def __init__(self, seed: int | None = None, name: str | None = None, **kwargs: Any) -> None:
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            raise ValueError(f"Argument `seed` must be an integer. Received: seed={seed}")
        self._initial_seed = seed
        self.seed = next_seed() if seed is None else seed
        self.name = name
        self._generator: Any = None

    @property
    def generator(self) -> Any:
        """The source itself, made when first used."""
        if self._generator is None:
            self._generator = tg.Generator().manual_seed(self.seed)
        return self._generator

    def draw(self, function: Callable[..., Any], shape: Any) -> Any:
        """The next numbers of ``tilegrad.rand`` or ``tilegrad.randn``."""
        return function(tuple(shape), generator=self.generator)

    def next(self, ordered: bool = True) -> Any:
        """A fresh seed."""
        return tg.randint(0, 2**31 - 1, (2,), generator=self.generator)

    def get_config(self) -> dict[str, Any]:
        """The seed."""
        return {"seed": self._initial_seed}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SeedGenerator:
        """The source of a configuration."""
        return cls(**config)


def _source(seed: Any) -> Any:
    if isinstance(seed, SeedGenerator):
        return seed.generator
    if seed is None:
        return None
    if isinstance(seed, tg.Tensor):
        seed = int(seed.reshape(-1)[0])
    return tg.Generator().manual_seed(int(seed))


def normal(
    shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """Normal numbers."""
    return (tg.randn(tuple(shape), generator=_source(seed)) * stddev + mean).to(dtype_of(dtype))


def uniform(
    shape: Any, minval: float = 0.0, maxval: float = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """Uniform numbers from ``minval`` to below ``maxval``."""
    wanted = dtype_of(dtype)
    if not wanted.is_floating_point:
        raise ValueError(
            "`keras.random.uniform` requires a floating point `dtype`. Received: dtype="
            + str(dtype)
        )
    x = tg.rand(tuple(shape), generator=_source(seed))
    return (x * (maxval - minval) + minval).to(wanted)


def randint(shape: Any, minval: int, maxval: int, dtype: Any = "int32", seed: Any = None) -> Any:
    """Integers from ``minval`` to below ``maxval``."""
    made = tg.randint(int(minval), int(maxval), tuple(shape), generator=_source(seed))
    return made.to(dtype_of(dtype))


def truncated_normal(
    shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    """Normal numbers within two deviations of the mean."""
    edge = math.erf(math.sqrt(2))
    x = tg.rand(tuple(shape), generator=_source(seed))
    x = (tg.erfinv((2 * x - 1) * edge) * math.sqrt(2)).clamp(-2, 2)
    return (x * stddev + mean).to(dtype_of(dtype))


def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Any:
    """Zeroes numbers with probability ``rate`` and scales the others."""
    inputs = convert_to_tensor(inputs)
    shape = inputs.shape if noise_shape is None else noise_shape
    shape = [m if n is None else n for n, m in zip(shape, inputs.shape, strict=True)]
    kept = tg.rand(shape, generator=_source(seed)) >= rate
    return inputs * (kept.to(inputs.dtype) / (1 - rate)) if rate < 1 else inputs * 0


def shuffle(x: Any, axis: int = 0, seed: Any = None) -> Any:
    """The slices along an axis in random order."""
    x = convert_to_tensor(x)
    return tg.index_select(x, axis, tg.randperm(x.shape[axis], generator=_source(seed)))


def categorical(logits: Any, num_samples: int, dtype: Any = "int32", seed: Any = None) -> Any:
    """Samples of the classes whose logarithms are the rows, (rows, num_samples)."""
    logits = convert_to_tensor(logits)
    noise = tg.rand((num_samples, *logits.shape), generator=_source(seed)).clamp(min=1e-20)
    return (logits - tg.log(-tg.log(noise))).argmax(-1).t().to(dtype_of(dtype))


def gamma(shape: Any, alpha: Any, dtype: Any = None, seed: Any = None) -> Any:
    """Numbers of the gamma distribution."""
    import numpy as np

    source = np.random.default_rng(_number(seed))
    return tg.from_numpy(np.asarray(source.gamma(_values(alpha), size=tuple(shape)))).to(
        dtype_of(dtype)
    )


def beta(shape: Any, alpha: Any, beta: Any, dtype: Any = None, seed: Any = None) -> Any:
    """Numbers of the beta distribution."""
    import numpy as np

    source = np.random.default_rng(_number(seed))
    made = source.beta(_values(alpha), _values(beta), size=tuple(shape))
    return tg.from_numpy(np.asarray(made)).to(dtype_of(dtype))


def binomial(
    shape: Any, counts: Any, probabilities: Any, dtype: Any = None, seed: Any = None
) -> Any:
    """How often something of a probability happens in a number of tries."""
    import numpy as np

    source = np.random.default_rng(_number(seed))
    made = source.binomial(_values(counts).astype(int), _values(probabilities), size=tuple(shape))
    return tg.from_numpy(np.asarray(made)).to(dtype_of(dtype))


def _values(x: Any) -> Any:
    from .dtypes import convert_to_numpy

    return convert_to_numpy(convert_to_tensor(x))


def _number(seed: Any) -> int:
    source = _source(seed)
    if source is None:
        return next_seed()
    return int(tg.randint(0, 2**31 - 1, (1,), generator=source))
