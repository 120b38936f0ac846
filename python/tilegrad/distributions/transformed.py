"""Log-normal numbers and normal vectors."""

from __future__ import annotations

import math
from typing import Any

from ..ops.fill import eye
from . import constraints
from .distribution import Distribution
from .normal import Normal
from .utils import standard_normal

__all__ = ["LogNormal", "MultivariateNormal"]


class LogNormal(Distribution):
    """``exp`` of a normal number of mean ``loc`` and standard deviation ``scale``.

    Raises ValueError for a scale that is not positive.
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012
    support = constraints.positive
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.base_dist = Normal(loc, scale, validate_args)
        self.loc, self.scale = self.base_dist.loc, self.base_dist.scale
        super().__init__(self.base_dist.batch_shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        base = self.base_dist.expand(batch_shape)
        return self._expanded(batch_shape, base_dist=base, loc=base.loc, scale=base.scale)

    @property
    def mean(self) -> Any:
        """``exp(loc + scale ** 2 / 2)``."""
        return (self.loc + self.scale.square() / 2).exp()

    @property
    def mode(self) -> Any:
        """``exp(loc - scale ** 2)``."""
        return (self.loc - self.scale.square()).exp()

    @property
    def variance(self) -> Any:
        """The variance."""
        square = self.scale.square()
        return square.expm1() * (2 * self.loc + square).exp()

    def rsample(self, sample_shape: Any = ()) -> Any:
        """``exp`` of normal numbers."""
        return self.base_dist.rsample(sample_shape).exp()

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density."""
        if self._validate_args:
            self._validate_sample(value)
        return self.base_dist.log_prob(value.log()) - value.log()

    def cdf(self, value: Any) -> Any:
        """The probability of values up to the given ones."""
        return self.base_dist.cdf(value.log())

    def icdf(self, value: Any) -> Any:
        """The inverse of :meth:`cdf`."""
        return self.base_dist.icdf(value).exp()

    def entropy(self) -> Any:
        """The normal number's entropy and its mean."""
        return self.base_dist.entropy() + self.loc


class MultivariateNormal(Distribution):
    """Normal vectors of mean ``loc`` and one of: covariance, its inverse, its Cholesky factor.

    Raises ValueError unless exactly one of the three is given, for a mean without dimensions and
    for matrices that are not positive definite.
    """

    arg_constraints = {  # noqa: RUF012
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        loc: Any,
        covariance_matrix: Any = None,
        precision_matrix: Any = None,
        scale_tril: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        if loc.ndim < 1:
            raise ValueError("loc must be at least one-dimensional.")
        given = {
            "covariance_matrix": covariance_matrix,
            "precision_matrix": precision_matrix,
            "scale_tril": scale_tril,
        }
        given = {name: matrix for name, matrix in given.items() if matrix is not None}
        if len(given) != 1:
            raise ValueError(
                "Exactly one of covariance_matrix or precision_matrix or scale_tril may be "
                "specified."
            )
        ((name, matrix),) = given.items()
        if matrix.ndim < 2:
            raise ValueError(
                f"{name} must be at least two-dimensional, with optional leading batch dimensions"
            )
        from ..ops.view import broadcast_shapes

        batch = tuple(broadcast_shapes(tuple(matrix.shape[:-2]), tuple(loc.shape[:-1])))
        self.loc = loc.expand(*batch, loc.shape[-1])
        wide = matrix.expand(*batch, *matrix.shape[-2:])
        setattr(self, name, wide)
        super().__init__(batch, loc.shape[-1:], validate_args=validate_args)
        self._unbroadcasted_scale_tril = _factor(name, matrix)
        self.scale_tril = self._unbroadcasted_scale_tril.expand(*batch, *matrix.shape[-2:])
        if name != "covariance_matrix":
            self.covariance_matrix = self.scale_tril @ self.scale_tril.mT

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
        """The diagonal of the covariance."""
        return (self.scale_tril * self.scale_tril).sum(-1)

    def rsample(self, sample_shape: Any = ()) -> Any:
        """``loc`` and the factor times standard normal vectors."""
        noise = standard_normal(self._extended_shape(sample_shape), self.loc)
        return self.loc + (self._unbroadcasted_scale_tril @ noise.unsqueeze(-1)).squeeze(-1)

    def _log_determinant(self) -> Any:
        return self.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density."""
        if self._validate_args:
            self._validate_sample(value)
        difference = (value - self.loc).unsqueeze(-1)
        factor = self.scale_tril.expand(*difference.shape[:-2], *self.scale_tril.shape[-2:])
        solved = _linalg().solve_triangular(factor, difference, upper=False).squeeze(-1)
        constant = self._event_shape[0] * math.log(2 * math.pi)
        return -0.5 * (constant + (solved * solved).sum(-1)) - self._log_determinant()

    def entropy(self) -> Any:
        """The entropy in nats."""
        constant = 0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi))
        return constant + self._log_determinant()


def _linalg() -> Any:
    from .. import linalg

    return linalg


def _factor(name: str, matrix: Any) -> Any:
    """The lower factor of the covariance from whichever matrix was given."""
    if name == "scale_tril":
        return matrix
    linalg = _linalg()
    if name == "covariance_matrix":
        return linalg.cholesky(matrix)
    # With J the exchange of rows: P = (J L^-1 J)^T (J L^-1 J), which keeps the result lower.
    flipped = linalg.cholesky(matrix.flip((-2, -1)))
    upper = flipped.flip((-2, -1)).mT
    size = matrix.shape[-1]
    unit = eye(size, dtype=matrix.dtype, device=matrix.device).expand(*matrix.shape)
    return linalg.solve_triangular(upper, unit, upper=False)
