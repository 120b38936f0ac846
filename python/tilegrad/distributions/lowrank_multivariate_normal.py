"""Normal vectors whose covariance is a diagonal and a product of few columns."""

from __future__ import annotations

import math
from typing import Any

from ..ops.fill import eye
from . import constraints
from .distribution import Distribution
from .utils import lazy_property, standard_normal

__all__ = ["LowRankMultivariateNormal"]


class LowRankMultivariateNormal(Distribution):
    """Normal vectors of mean ``loc`` (n) and covariance ``cov_factor @ cov_factor.mT + diagonal``.

    ``cov_factor`` (n, rank), ``cov_diag`` (n). What takes a matrix of size n otherwise takes one of
    size rank here (the matrix determinant lemma and Woodbury's identity). Raises ValueError for
    sizes that do not fit and a diagonal that is not positive.
    """

    arg_constraints = {  # noqa: RUF012
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, loc: Any, cov_factor: Any, cov_diag: Any, validate_args: bool | None = None
    ) -> None:
        from .. import linalg
        from ..ops.view import broadcast_shapes

        if loc.ndim < 1:
            raise ValueError("loc must be at least one-dimensional.")
        size = loc.shape[-1]
        if cov_factor.ndim < 2:
            raise ValueError(
                "cov_factor must be at least two-dimensional, with optional leading batch "
                "dimensions"
            )
        if cov_factor.shape[-2] != size:
            raise ValueError(f"cov_factor must be a batch of matrices with shape {size} x m")
        if cov_diag.shape[-1] != size:
            raise ValueError(f"cov_diag must be a batch of vectors with shape {(size,)}")
        try:
            batch = broadcast_shapes(loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1])
        except RuntimeError as error:
            raise ValueError(
                f"Incompatible batch shapes: loc {loc.shape}, cov_factor {cov_factor.shape}, "
                f"cov_diag {cov_diag.shape}"
            ) from error
        self.loc = loc.expand(*batch, size)
        self.cov_factor = cov_factor.expand(*batch, size, cov_factor.shape[-1])
        self.cov_diag = cov_diag.expand(*batch, size)
        super().__init__(batch, (size,), validate_args=validate_args)
        scaled = self.cov_factor.mT / self.cov_diag.unsqueeze(-2)
        rank = eye(cov_factor.shape[-1], dtype=loc.dtype, device=loc.device)
        self._capacitance_tril = linalg.cholesky(scaled @ self.cov_factor + rank)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distributions with a larger ``batch_shape``."""
        batch, size = tuple(batch_shape), self.event_shape[0]
        rank = self.cov_factor.shape[-1]
        new = self._expanded(
            batch,
            loc=self.loc.expand(*batch, size),
            cov_factor=self.cov_factor.expand(*batch, size, rank),
            cov_diag=self.cov_diag.expand(*batch, size),
            _capacitance_tril=self._capacitance_tril.expand(*batch, rank, rank),
        )
        for name in ("scale_tril", "covariance_matrix", "precision_matrix"):
            new.__dict__.pop(name, None)
        return new

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
        return self.cov_factor.square().sum(-1) + self.cov_diag

    @lazy_property
    def covariance_matrix(self) -> Any:
        """The covariance (..., n, n)."""
        return self.cov_factor @ self.cov_factor.mT + self.cov_diag.diag_embed()

    @lazy_property
    def scale_tril(self) -> Any:
        """The Cholesky factor of the covariance."""
        from .. import linalg

        return linalg.cholesky(self.covariance_matrix)

    @lazy_property
    def precision_matrix(self) -> Any:
        """The inverse of the covariance."""
        from .. import linalg

        scaled = self.cov_factor.mT / self.cov_diag.unsqueeze(-2)
        a = linalg.solve_triangular(self._capacitance_tril, scaled, upper=False)
        return self.cov_diag.reciprocal().diag_embed() - a.mT @ a

    def rsample(self, sample_shape: Any = ()) -> Any:
        """Vectors of shape ``sample_shape + batch_shape + (n,)``, with gradients."""
        shape = self._extended_shape(sample_shape)
        along = standard_normal((*shape[:-1], self.cov_factor.shape[-1]), self.loc)
        beside = standard_normal(shape, self.loc)
        common = (self.cov_factor @ along.unsqueeze(-1)).squeeze(-1)
        return self.loc + common + self.cov_diag.sqrt() * beside

    def _log_determinant(self) -> Any:
        """That of the covariance."""
        inner = self._capacitance_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return 2 * inner + self.cov_diag.log().sum(-1)

    def _distance(self, difference: Any) -> Any:
        """The squared length of a difference, measured by the inverse of the covariance."""
        from .. import linalg

        scaled = difference / self.cov_diag
        along = self.cov_factor.mT @ scaled.unsqueeze(-1)
        tril = self._capacitance_tril.expand(*along.shape[:-2], *self._capacitance_tril.shape[-2:])
        inside = linalg.solve_triangular(tril, along, upper=False)
        return (difference * scaled).sum(-1) - inside.square().sum((-2, -1))

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density."""
        if self._validate_args:
            self._validate_sample(value)
        constant = self._event_shape[0] * math.log(2 * math.pi)
        return -0.5 * (constant + self._log_determinant() + self._distance(value - self.loc))

    def entropy(self) -> Any:
        """The entropy in nats."""
        constant = self._event_shape[0] * (1.0 + math.log(2 * math.pi))
        return 0.5 * (constant + self._log_determinant())
