"""Invertible functions of whole vectors and matrices: simplices, factors, parts side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .._limits import finfo
from ..ops.activation import softplus
from ..ops.fill import arange, eye
from ..ops.join import cat, stack
from ..ops.pad import pad
from . import constraints
from .transform import Transform

__all__ = [
    "CatTransform",
    "CorrCholeskyTransform",
    "CumulativeDistributionTransform",
    "LowerCholeskyTransform",
    "PositiveDefiniteTransform",
    "SoftmaxTransform",
    "StackTransform",
    "StickBreakingTransform",
]


class _OfVectors(Transform):
    """Two of one class are equal."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    __hash__ = Transform.__hash__


class SoftmaxTransform(_OfVectors):
    """Real vectors to the simplex, by the softmax; the inverse, a logarithm, is one of many."""

    domain = constraints.real_vector
    codomain = constraints.simplex

    def _call(self, x: Any) -> Any:
        return x.softmax(-1)

    def _inverse(self, y: Any) -> Any:
        return y.log()


class StickBreakingTransform(_OfVectors):
    """Real vectors of n elements to points of a simplex with n + 1 coordinates.

    Each sigmoid of a number, shifted so that 0 gives equal parts, breaks off its share of what is
    left of a stick.
    """

    domain = constraints.real_vector
    codomain = constraints.simplex
    bijective = True

    @staticmethod
    def _shift(x: Any) -> Any:
        """The logarithm of how many parts are still to come after each."""
        size = x.shape[-1]
        return arange(size, 0, -1, dtype=x.dtype, device=x.device).log()

    def _call(self, x: Any) -> Any:
        share = (x - self._shift(x)).sigmoid()
        share = share.clamp(min=finfo(x.dtype).tiny, max=1 - finfo(x.dtype).eps)
        left = (1 - share).cumprod(-1)
        return pad(share, [0, 1], value=1) * pad(left, [1, 0], value=1)

    def _inverse(self, y: Any) -> Any:
        parts = y[..., :-1]
        left = (1 - parts.cumsum(-1)).clamp(min=finfo(y.dtype).tiny)
        return parts.log() - left.log() + self._shift(parts)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """The sum of ``log(share * (1 - share) * what was left)``."""
        shifted = x - self._shift(x)
        return (-softplus(shifted) + y[..., :-1].log()).sum(-1)

    def forward_shape(self, shape: Any) -> Any:
        """One more at the end. ValueError for no dimensions."""
        return _resized(shape, 1)

    def inverse_shape(self, shape: Any) -> Any:
        """One less at the end. ValueError for no dimensions."""
        return _resized(shape, -1)


def _resized(shape: Any, by: int) -> Any:
    from .._size import Size

    if len(shape) < 1:
        raise ValueError("Too few dimensions on input")
    return Size((*shape[:-1], shape[-1] + by))


class LowerCholeskyTransform(_OfVectors):
    """Square matrices to lower triangles with a positive diagonal, ``exp`` of the given one."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.lower_cholesky

    def _call(self, x: Any) -> Any:
        return x.tril(-1) + x.diagonal(dim1=-2, dim2=-1).exp().diag_embed()

    def _inverse(self, y: Any) -> Any:
        return y.tril(-1) + y.diagonal(dim1=-2, dim2=-1).log().diag_embed()


class PositiveDefiniteTransform(_OfVectors):
    """Square matrices to positive definite ones: ``L @ L.mT`` with the factor of above."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.positive_definite

    def _call(self, x: Any) -> Any:
        factor = LowerCholeskyTransform()(x)
        return factor @ factor.mT

    def _inverse(self, y: Any) -> Any:
        from .. import linalg

        return LowerCholeskyTransform().inv(linalg.cholesky(y))


class CorrCholeskyTransform(Transform):
    """Real vectors of n (n - 1) / 2 elements to Cholesky factors of n x n correlation matrices.

    The tangents of the numbers are partial correlations, and each row of the factor has length 1
    (Lewandowski, Kurowicka and Joe, 2009).
    """

    domain = constraints.real_vector
    codomain = constraints.corr_cholesky
    bijective = True

    def _call(self, x: Any) -> Any:
        limit = 1 - finfo(x.dtype).eps
        r = _below_diagonal(x.tanh().clamp(min=-limit, max=limit))
        left = (1 - r * r).sqrt().cumprod(-1)
        unit = eye(r.shape[-1], dtype=r.dtype, device=r.device)
        return (r + unit) * pad(left[..., :-1], [1, 0], value=1)

    def _inverse(self, y: Any) -> Any:
        left = 1 - (y * y).cumsum(-1)
        left = pad(left[..., :-1], [1, 0], value=1)
        rows, columns = _places(y.shape[-1])
        t = y[..., rows, columns] / left[..., rows, columns].sqrt()
        return (t.log1p() - (-t).log1p()) / 2

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """The logarithm of the determinant."""
        left = 1 - (y * y).cumsum(-1)
        rows, columns = _places(y.shape[-1])
        # What was left of each row after an element, but for the last of it, which adds nothing.
        inner = [i for i, (r, c) in enumerate(zip(rows, columns, strict=True)) if c < r - 1]
        logs = left[..., rows, columns].log()[..., inner]
        slopes = -2 * (x + softplus(-2 * x) - math.log(2.0))
        return 0.5 * logs.sum(-1) + slopes.sum(-1)

    def forward_shape(self, shape: Any) -> Any:
        """Two dimensions for the last one. ValueError for a size that is no triangular number."""
        from .._size import Size

        if len(shape) < 1:
            raise ValueError("Too few dimensions on input")
        size = round((0.25 + 2 * shape[-1]) ** 0.5 + 0.5)
        if size * (size - 1) // 2 != shape[-1]:
            raise ValueError("Input is not a flattened lower-diagonal number")
        return Size((*shape[:-1], size, size))

    def inverse_shape(self, shape: Any) -> Any:
        """One dimension for the last two. ValueError unless these are equal."""
        from .._size import Size

        if len(shape) < 2:
            raise ValueError("Too few dimensions on input")
        if shape[-2] != shape[-1]:
            raise ValueError("Input is not square")
        return Size((*shape[:-2], shape[-1] * (shape[-1] - 1) // 2))


def _places(size: int) -> tuple[list[int], list[int]]:
    """Rows and columns of what stands below the diagonal, row by row."""
    places = [(row, column) for row in range(size) for column in range(row)]
    return [row for row, _ in places], [column for _, column in places]


def _below_diagonal(values: Any) -> Any:
    """Square matrices, zero but for ``values`` below the diagonal."""
    count = values.shape[-1]
    size = round((0.25 + 2 * count) ** 0.5 + 0.5)
    if size * (size - 1) // 2 != count:
        raise ValueError(
            f"The size of last dimension is {count} which cannot be expressed as "
            "the lower triangular part of a square D x D matrix."
        )
    rows, columns = _places(size)
    flat = values.new_zeros(*values.shape[:-1], size * size)
    places = [row * size + column for row, column in zip(rows, columns, strict=True)]
    flat[..., places] = values
    return flat.reshape(*values.shape[:-1], size, size)


class CatTransform(Transform):
    """Transforms of parts of a dimension, ``lengths`` each, that are put together again."""

    def __init__(
        self, tseq: Sequence[Transform], dim: int = 0, lengths: Any = None, cache_size: int = 0
    ) -> None:
        super().__init__(cache_size)
        self.transforms = [part.with_cache(cache_size) if cache_size else part for part in tseq]
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.transforms):
            raise ValueError(
                f"CatTransform: got {len(self.lengths)} lengths for {len(self.transforms)} parts"
            )
        self.dim = dim

    @property
    def event_dim(self) -> int:
        """The largest of the parts'."""
        return max(part.event_dim for part in self.transforms)

    @property
    def length(self) -> int:
        """The size of the dimension."""
        return sum(self.lengths)

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        """Whether all parts are."""
        return all(part.bijective for part in self.transforms)

    @property
    def domain(self) -> Any:
        """The parts' domains, side by side."""
        parts = [part.domain for part in self.transforms]
        return constraints.cat(parts, self.dim, self.lengths)

    @property
    def codomain(self) -> Any:
        """The parts' codomains, side by side."""
        parts = [part.codomain for part in self.transforms]
        return constraints.cat(parts, self.dim, self.lengths)

    def _parts(self, x: Any) -> Any:
        if x.shape[self.dim] != self.length:
            raise ValueError(
                f"CatTransform: expected size {self.length} in dimension {self.dim}, got "
                f"{x.shape[self.dim]}"
            )
        return x.split(self.lengths, self.dim)

    def _call(self, x: Any) -> Any:
        pairs = zip(self.transforms, self._parts(x), strict=True)
        return cat([part(piece) for part, piece in pairs], self.dim)

    def _inverse(self, y: Any) -> Any:
        pairs = zip(self.transforms, self._parts(y), strict=True)
        return cat([part.inv(piece) for part, piece in pairs], self.dim)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """The parts', side by side; summed if the dimension is part of a value."""
        from .independent import sum_rightmost

        found = []
        for part, a, b in zip(self.transforms, self._parts(x), self._parts(y), strict=True):
            term = part.log_abs_det_jacobian(a, b)
            found.append(sum_rightmost(term, self.event_dim - part.event_dim))
        dim = self.dim - x.ndim if self.dim >= 0 else self.dim
        dim += self.event_dim
        if dim < 0:
            return cat(found, dim)
        total = found[0]
        for term in found[1:]:
            total = total + term
        return total


class StackTransform(Transform):
    """Transforms of the slices of a dimension."""

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.transforms = [part.with_cache(cache_size) if cache_size else part for part in tseq]
        self.dim = dim

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        """Whether all parts are."""
        return all(part.bijective for part in self.transforms)

    @property
    def domain(self) -> Any:
        """The parts' domains."""
        return constraints.stack([part.domain for part in self.transforms], self.dim)

    @property
    def codomain(self) -> Any:
        """The parts' codomains."""
        return constraints.stack([part.codomain for part in self.transforms], self.dim)

    def _slices(self, x: Any) -> Any:
        if x.shape[self.dim] != len(self.transforms):
            raise ValueError(
                f"StackTransform: expected size {len(self.transforms)} in dimension {self.dim}, "
                f"got {x.shape[self.dim]}"
            )
        return x.unbind(self.dim)

    def _call(self, x: Any) -> Any:
        pairs = zip(self.transforms, self._slices(x), strict=True)
        return stack([part(piece) for part, piece in pairs], self.dim)

    def _inverse(self, y: Any) -> Any:
        pairs = zip(self.transforms, self._slices(y), strict=True)
        return stack([part.inv(piece) for part, piece in pairs], self.dim)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """The parts'."""
        triples = zip(self.transforms, self._slices(x), self._slices(y), strict=True)
        return stack([part.log_abs_det_jacobian(a, b) for part, a, b in triples], self.dim)


class CumulativeDistributionTransform(Transform):
    """Values of a distribution to their probability, uniform in [0, 1]."""

    bijective = True
    codomain = constraints.unit_interval
    sign: Any = 1

    def __init__(self, distribution: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.distribution = distribution

    @property
    def domain(self) -> Any:
        """What the distribution can give."""
        return self.distribution.support

    def _call(self, x: Any) -> Any:
        return self.distribution.cdf(x)

    def _inverse(self, y: Any) -> Any:
        return self.distribution.icdf(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """The logarithm of the density."""
        return self.distribution.log_prob(x)
