"""Random angles."""

from __future__ import annotations

import math
from typing import Any

from ..autograd.mode import no_grad
from ..ops.random import rand
from ..ops.where import where
from . import constraints
from .distribution import Distribution
from .utils import broadcast_all

__all__ = ["VonMises"]


class VonMises(Distribution):
    """Angles around ``loc``, density proportional to ``exp(concentration * cos(x - loc))``.

    Raises ValueError for a concentration that is not positive.
    """

    arg_constraints = {  # noqa: RUF012
        "loc": constraints.real, "concentration": constraints.positive,
    }  # fmt: skip
    support = constraints.real
    has_rsample = False

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        loc, concentration = (x.expand(*batch_shape) for x in (self.loc, self.concentration))
        return self._expanded(batch_shape, loc=loc, concentration=concentration)

    @property
    def mean(self) -> Any:
        """``loc``."""
        return self.loc

    @property
    def mode(self) -> Any:
        """``loc``."""
        return self.loc

    @property
    def variance(self) -> Any:
        """One less the mean length of the angles' unit vectors' sum."""
        from .. import special

        return 1 - special.i1e(self.concentration) / special.i0e(self.concentration)

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density."""
        if self._validate_args:
            self._validate_sample(value)
        from .. import special

        # exp(-k) I0(k) does not overflow; its exponent is taken out of the cosine.
        norm = math.log(2 * math.pi) + special.i0e(self.concentration).log()
        return self.concentration * ((value - self.loc).cos() - 1) - norm

    def sample(self, sample_shape: Any = ()) -> Any:
        """Angles in [-pi, pi) of shape ``sample_shape + batch_shape``, by rejection from a wrapped
        Cauchy distribution (Best and Fisher, 1979), in float64."""
        shape = self._extended_shape(sample_shape)
        with no_grad():
            k = self.concentration.double().expand(*shape)
            loc = self.loc.double().expand(*shape)
            angle = _drawn(k)
            drawn = (angle + math.pi + loc) % (2 * math.pi) - math.pi
            return drawn.to(self.loc.dtype)


def _drawn(k: Any) -> Any:
    tau = 1 + (1 + 4 * k * k).sqrt()
    rho = (tau - (2 * tau).sqrt()) / (2 * k)
    # For small k the difference cancels; the series is 1 / k + k.
    r = where(k < 1e-5, 1 / k + k, (1 + rho * rho) / (2 * rho))
    result, missing = 0 * k, k == k
    while missing.any().item():
        u1, u2, u3 = rand(3, *k.shape, dtype=k.dtype, device=k.device).unbind(0)
        z = (math.pi * u1).cos()
        f = (1 + r * z) / (r + z)
        c = k * (r - f)
        accepted = (c * (2 - c) - u2 > 0) | ((c / u2).log() + 1 - c >= 0)
        angle = (u3 - 0.5).sign() * f.clamp(min=-1, max=1).acos()
        result = where(missing & accepted, angle, result)
        missing = missing & ~accepted
    return result
