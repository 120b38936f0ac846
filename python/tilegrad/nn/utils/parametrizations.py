"""Parametrizations that are used often: weight and spectral normalization."""

from __future__ import annotations

from typing import Any

from ...autograd.mode import no_grad
from ...ops.matmul import dot, mv
from ...tensor import Tensor
from ..distance import normalize
from ..module import Module
from .parametrize import register_parametrization
from .spectral_norm import as_matrix, check_iterations, usual_dim
from .weight_norm import norm_except_dim, weight_of

__all__ = ["spectral_norm", "weight_norm"]


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
