"""Parametrizations that are used often: orthogonal matrices, weight and spectral normalization."""

from __future__ import annotations

from typing import Any

from ...autograd.mode import no_grad
from ...linalg import householder_product, matrix_exp, qr, solve
from ...linalg.legacy import geqrf
from ...ops.fill import eye, zeros_like
from ...ops.join import cat
from ...ops.matmul import dot, mv
from ...ops.random import randn
from ...tensor import Tensor
from ..distance import normalize
from ..module import Module
from .parametrize import register_parametrization
from .spectral_norm import as_matrix, check_iterations, usual_dim
from .weight_norm import norm_except_dim, weight_of

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Any, weight_v: Any) -> Any:
        return weight_of(weight_g, weight_v, self.dim)

    def right_inverse(self, weight: Any) -> tuple[Any, Any]:
        return norm_except_dim(weight, self.dim), weight.clone()


def weight_norm(module: Any, name: str = "weight", dim: int | None = 0) -> Any:
    """Makes a parameter ``g * v / |v|``: ``original0`` its lengths along ``dim``, ``original1`` v.

    Salimans and Kingma, "Weight Normalization", 2016. State dicts of the older
    :func:`tilegrad.nn.utils.weight_norm` load too. Raises ValueError for a name that is no
    parameter.
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def load_old(state_dict: Any, prefix: str, *rest: Any) -> None:
        for old, new in (("_g", "original0"), ("_v", "original1")):
            if prefix + name + old in state_dict:
                value = state_dict.pop(prefix + name + old)
                state_dict[f"{prefix}parametrizations.{name}.{new}"] = value

    module._register_load_state_dict_pre_hook(load_old)
    return module


class _SpectralNorm(Module):
    _u: Any
    _v: Any

    def __init__(self, weight: Any, n_power_iterations: int, dim: int, eps: float) -> None:
        super().__init__()
        if not -weight.ndim <= dim < weight.ndim:
            raise IndexError(
                "Dimension out of range (expected to be in range of "
                f"[-{weight.ndim}, {weight.ndim - 1}] but got {dim})"
            )
        check_iterations(n_power_iterations)
        self.dim = dim % weight.ndim
        self.eps = eps
        if weight.ndim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = as_matrix(weight, self.dim)
            rows, columns = matrix.shape
            u, v = (matrix.detach().new_empty(n).normal_(0, 1) for n in (rows, columns))
            self.register_buffer("_u", normalize(u, dim=0, eps=eps))
            self.register_buffer("_v", normalize(v, dim=0, eps=eps))
            self._iterate(matrix, 15)

    @no_grad()
    def _iterate(self, matrix: Any, count: int) -> None:
        for _ in range(count):
            self._u.copy_(normalize(mv(matrix, self._v), dim=0, eps=self.eps))
            self._v.copy_(normalize(mv(matrix.t(), self._u), dim=0, eps=self.eps))

    def forward(self, weight: Any) -> Any:
        if weight.ndim == 1:
            return normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()  # the next call must not change what is recorded
        return weight / dot(u, mv(matrix, v))

    def right_inverse(self, value: Any) -> Any:
        return value


def spectral_norm(
    module: Any,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Any:
    """Divides a parameter by its largest singular value, which power iterations estimate.

    Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018. Raises
    ValueError for a name that is no parameter and for no iterations, IndexError for a dimension out
    of range.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    part = _SpectralNorm(weight, n_power_iterations, usual_dim(module, dim), eps)
    register_parametrization(module, name, part)
    return module


class _Orthogonal(Module):
    """Q of a matrix X, tall ones in columns and wide ones in rows, times ``base`` if there is one.

    ``base`` is where the parameter began; X then starts as minus the identity, whose Q is neutral.
    """

    base: Any

    def __init__(self, weight: Any, map_name: str, use_trivialization: bool) -> None:
        super().__init__()
        self.shape = weight.shape
        self.orthogonal_map = map_name
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Any) -> Any:
        wide = X.shape[-2] < X.shape[-1]
        tall = X.mT if wide else X
        if self.orthogonal_map == "householder":
            below = tall.tril(-1)
            tau = 2.0 / (1.0 + (below * below).sum(-2))
            signs = tall.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)
            Q = householder_product(below, tau) * signs
        else:
            Q = _of_skew_matrix(tall, self.orthogonal_map)
        if hasattr(self, "base"):
            Q = self.base @ Q
        return Q.mT if wide else Q

    @no_grad()
    def right_inverse(self, Q: Any) -> Any:
        if Q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. "
                f"Got a tensor of shape {Q.shape}."
            )
        wide = Q.shape[-2] < Q.shape[-1]
        tall = Q.mT if wide else Q
        if hasattr(self, "base"):
            self.base = _completed(tall)
            neutral = zeros_like(Q)
            neutral.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
            return neutral
        if self.orthogonal_map != "householder":
            raise NotImplementedError(
                "It is not possible to assign to the matrix exponential or the Cayley "
                "parametrizations when use_trivialization=False."
            )
        reflections, tau = geqrf(tall)
        signs = reflections.diagonal(dim1=-2, dim2=-1)
        signs.sign_()
        signs[tau == 0.0] *= -1
        return reflections.mT if wide else reflections


def _of_skew_matrix(X: Any, map_name: str) -> Any:
    """exp(A), or Cayley's (I - A/2)^-1 (I + A/2), of the skew-symmetric part A of X's triangle."""
    rows, columns = X.shape[-2:]
    triangle = X.tril()
    if rows != columns:
        missing = triangle.new_zeros((*X.shape[:-1], rows - columns))
        triangle = cat([triangle, missing], -1)
    skew = triangle - triangle.mT
    if map_name == "matrix_exp":
        Q = matrix_exp(skew)
    else:
        identity = eye(rows, dtype=X.dtype, device=X.device)
        Q = solve(identity - skew / 2, identity + skew / 2)
    return Q if rows == columns else Q[..., :columns]


def _completed(tall: Any) -> Any:
    """A square orthogonal matrix that begins with the columns of ``tall``, made orthogonal."""
    rows, columns = tall.shape[-2:]
    if rows == columns and _is_orthogonal(tall):
        return tall.clone()
    if rows != columns:
        extra = randn((*tall.shape[:-1], rows - columns), dtype=tall.dtype, device=tall.device)
        tall = cat([tall, extra], -1)
    Q, R = qr(tall)
    return Q * R.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


def _is_orthogonal(Q: Any) -> bool:
    size = Q.shape[-1]
    identity = eye(size, dtype=Q.dtype, device=Q.device)
    tolerance = 10.0 * size * (2.0**-23 if Q.dtype.itemsize == 4 else 2.0**-52)
    return bool(((Q.mT @ Q - identity).abs() <= tolerance).all())


def orthogonal(
    module: Any,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Any:
    """Makes a matrix, or each of a batch (..., m, n), orthogonal: its columns, or the rows of a
    wide one, have length 1 and right angles between them, whatever the optimizer does.

    ``orthogonal_map`` is "matrix_exp" (default for square ones), "cayley" or "householder" (default
    for all others). With ``use_trivialization`` (Lezcano-Casado, "Trivializations for
    Gradient-Based Optimization on Manifolds", 2019) the buffer ``base`` keeps the matrix from which
    the parameter moves away.

    Raises ValueError for a name that is no parameter, for vectors and for another map.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.ndim < 2:
        raise ValueError(
            f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions."
        )
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1]
        orthogonal_map = "matrix_exp" if square else "householder"
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(
            'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". '
            f"Got: {orthogonal_map}"
        )
    part = _Orthogonal(weight, orthogonal_map, use_trivialization)
    register_parametrization(module, name, part, unsafe=True)
    return module
