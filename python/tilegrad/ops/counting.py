"""Random counts: poisson, binomial.

NumPy's algorithms draw, from a generator that is seeded by ours: the numbers of a seed are not
PyTorch's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _C
from ..autograd.graph import needs_grad, record
from ..tensor import as_array
from ._generator import _source_on
from ._register import takes_tensors
from .binary import zero_backward
from .random import randint

__all__ = ["binomial", "poisson"]


def _numpy_generator(generator: Any, device: Any) -> np.random.Generator:
    """NumPy's generator at a place that 128 bits of ours choose."""
    source = _source_on(generator, device)
    words = randint(0, 2**32, (4,), generator=source, device=device).tolist()
    return np.random.Generator(np.random.PCG64(words))


def _finish(drawn: np.ndarray, like: Any) -> Any:
    return _C.to_dtype(_C.from_numpy(np.asarray(drawn, np.float64)), like.dtype).to(like.device)


@takes_tensors
def poisson(input: Any, generator: Any = None) -> Any:
    """Counts of events, one for each rate of ``input``, of its shape and dtype; the gradient is 0.

    Raises RuntimeError for rates that are negative, NaN or above 2**62, NotImplementedError for
    dtypes that are not floating, TypeError for what is not a tensor.
    """
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f"poisson is not implemented for {input.dtype}")
    rates = as_array(input.detach().double())
    if not ((rates >= 0) & (rates <= 2.0**62)).all():
        raise RuntimeError(
            "invalid Poisson rate, expected rate to be non-negative and at most 2**62"
        )
    output = _finish(_numpy_generator(generator, input.device).poisson(rates), input)
    if needs_grad(input):
        record(output, zero_backward, (input,))
    return output


@takes_tensors
def binomial(count: Any, prob: Any, generator: Any = None) -> Any:
    """Numbers of successes in ``count`` trials of probability ``prob``; the gradient is 0.

    Both broadcast and have one floating dtype. Raises RuntimeError for different dtypes, counts
    that are negative or above 2**62 and probabilities outside [0, 1], NotImplementedError for other
    dtypes, TypeError for what is not a tensor.
    """
    if not (count.dtype.is_floating_point and prob.dtype.is_floating_point):
        raise NotImplementedError(
            f"binomial only supports floating-point dtypes, got {count.dtype} and {prob.dtype}"
        )
    if count.dtype is not prob.dtype:
        raise RuntimeError(
            f"binomial: expected one dtype for count and prob, got {count.dtype} and {prob.dtype}"
        )
    counts, probs = (as_array(x.detach().double()) for x in (count, prob))
    if not ((counts >= 0) & (counts <= 2.0**62)).all():
        raise RuntimeError("binomial: expected counts from 0 to 2**62")
    if not ((probs >= 0) & (probs <= 1)).all():
        raise RuntimeError("binomial: expected probabilities in [0, 1]")
    try:
        drawn = _numpy_generator(generator, count.device).binomial(counts.astype(np.int64), probs)
    except ValueError as error:  # shapes that do not broadcast
        raise RuntimeError(f"binomial: {error}") from None
    output = _finish(drawn, prob)
    if needs_grad(count, prob):
        record(output, zero_backward, (count, prob))
    return output
