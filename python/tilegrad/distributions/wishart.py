"""Random positive definite matrices."""

from __future__ import annotations

import math
from typing import Any

from ..ops.fill import arange
from . import constraints
from .distribution import Distribution
from .gamma import Chi2
from .transformed import _factor
from .utils import lazy_property, special, standard_normal

__all__ = ["Wishart"]


class Wishart(Distribution):
    """Sums of ``df`` outer products of normal vectors with one of: covariance, its inverse, its
    Cholesky factor.

    ``df`` may be any number above n - 1. Raises ValueError unless exactly one of the matrices is
    given, for a ``df`` that is too small and matrices that are not positive definite.
    """

    arg_constraints = {  # noqa: RUF012
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
        "df": constraints.greater_than(0),
    }
    support = constraints.positive_definite
    has_rsample = True

    def __init__(
        self, df: Any, covariance_matrix: Any = None, precision_matrix: Any = None,
        scale_tril: Any = None, validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        from ..ops.fill import tensor
        from ..ops.view import broadcast_shapes

        given = {
            "covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix,
            "scale_tril": scale_tril,
        }  # fmt: skip
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
        df = tensor(df, dtype=matrix.dtype) if isinstance(df, (int, float)) else df
        batch = tuple(broadcast_shapes(tuple(df.shape), tuple(matrix.shape[:-2])))
        event = matrix.shape[-2:]
        self.df = df.expand(*batch)
        setattr(self, name, matrix.expand(*batch, *event))
        if bool((self.df <= event[0] - 1).any()):
            raise ValueError(
                f"Value of df={df} expected to be greater than ndim - 1 = {event[0] - 1}."
            )
        super().__init__(batch, event, validate_args=validate_args)
        self._factor = _factor(name, matrix).expand(*batch, *event)
        # Bartlett: the squares of a diagonal are chi-squared, with one less degree in each row.
        rows = arange(event[0], dtype=matrix.dtype, device=matrix.device)
        self._chi2 = Chi2(self.df.unsqueeze(-1) - rows, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        factor = self._factor.expand(*batch_shape, *self.event_shape)
        new = Wishart(self.df.expand(*batch_shape), scale_tril=factor, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @lazy_property
    def scale_tril(self) -> Any:
        """The Cholesky factor of the covariance."""
        return self._factor

    @lazy_property
    def covariance_matrix(self) -> Any:
        """The covariance."""
        return self._factor @ self._factor.mT

    @lazy_property
    def precision_matrix(self) -> Any:
        """The inverse of the covariance."""
        from .. import linalg

        return linalg.inv(self.covariance_matrix)

    @property
    def mean(self) -> Any:
        """``df * covariance``."""
        return self.df[..., None, None] * self.covariance_matrix

    @property
    def mode(self) -> Any:
        """``(df - n - 1) * covariance``; NaN where that is not positive."""
        factor = self.df - self.event_shape[0] - 1
        factor = factor.masked_fill(factor <= 0, math.nan)
        return factor[..., None, None] * self.covariance_matrix

    @property
    def variance(self) -> Any:
        """The variance of each element."""
        v = self.covariance_matrix
        diagonal = v.diagonal(dim1=-2, dim2=-1)
        products = diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2)
        return self.df[..., None, None] * (v.square() + products)

    def rsample(self, sample_shape: Any = (), max_try_correction: Any = None) -> Any:
        """Matrices of shape ``sample_shape + batch_shape + (n, n)``, with gradients."""
        diagonal = self._chi2.rsample(sample_shape).sqrt()
        noise = standard_normal(self._extended_shape(sample_shape), self._factor).tril(-1)
        root = self._factor @ (noise + diagonal.diag_embed())
        return root @ root.mT

    def _log_determinant(self) -> Any:
        return 2 * self._factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density."""
        if self._validate_args:
            self._validate_sample(value)
        from .. import linalg

        nu, p = self.df, self.event_shape[0]
        factor = self._factor.expand(*value.shape[:-2], *self._factor.shape[-2:])
        root = linalg.solve_triangular(factor, linalg.cholesky(value), upper=False)
        norm = -nu * (p * math.log(2) + self._log_determinant()) / 2
        norm = norm - special("mvlgamma")(nu / 2, p)
        determinant = linalg.slogdet(value).logabsdet
        return norm + (nu - p - 1) / 2 * determinant - root.square().sum((-2, -1)) / 2

    def entropy(self) -> Any:
        """The entropy in nats."""
        nu, p = self.df, self.event_shape[0]
        rows = arange(p, dtype=nu.dtype, device=nu.device)
        slopes = special("digamma")((nu.unsqueeze(-1) - rows) / 2).sum(-1)
        found = (p + 1) * (p * math.log(2) + self._log_determinant()) / 2 + nu * p / 2
        return found + special("mvlgamma")(nu / 2, p) - (nu - p - 1) / 2 * slopes
