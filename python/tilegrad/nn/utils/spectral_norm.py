"""Spectral normalization: a weight over its largest singular value.

Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018. The old way, by a
hook before ``forward``; :func:`tilegrad.nn.utils.parametrizations.spectral_norm` is the new one.
"""

from __future__ import annotations

from typing import Any

from ...autograd.mode import no_grad
from ...ops.matmul import dot, mv
from ..conv import _ConvTranspose
from ..distance import normalize
from ..parameter import Parameter
from .weight_norm import _hook_of

__all__ = ["remove_spectral_norm", "spectral_norm"]


def usual_dim(module: Any, dim: int | None) -> int:
    """Where a weight has its outputs: transposed convolutions have them second."""
    if dim is not None:
        return dim
    return 1 if isinstance(module, _ConvTranspose) else 0


def as_matrix(weight: Any, dim: int) -> Any:
    """The weight with ``dim`` first and all others as one."""
    if dim != 0:
        weight = weight.permute(dim, *(d for d in range(weight.ndim) if d != dim))
    return weight.reshape(weight.shape[0], -1)


def check_iterations(count: int) -> None:
    """Raises ValueError unless positive."""
    if count <= 0:
        raise ValueError(
            f"Expected n_power_iterations to be positive, but got n_power_iterations={count}"
        )


class SpectralNorm:
    """The hook: computes ``name`` from ``name_orig`` and its singular vectors."""

    _version = 1

    def __init__(
        self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        check_iterations(n_power_iterations)
        self.name, self.dim = name, dim
        self.n_power_iterations, self.eps = n_power_iterations, eps

    def compute_weight(self, module: Any, do_power_iteration: bool) -> Any:
        """The weight; in training the vectors are improved first."""
        weight = getattr(module, self.name + "_orig")
        u, v = getattr(module, self.name + "_u"), getattr(module, self.name + "_v")
        matrix = as_matrix(weight, self.dim)
        if do_power_iteration:
            with no_grad():
                for _ in range(self.n_power_iterations):
                    v.copy_(normalize(mv(matrix.t(), u), dim=0, eps=self.eps))
                    u.copy_(normalize(mv(matrix, v), dim=0, eps=self.eps))
                u, v = u.clone(), v.clone()  # the next call must not change what is recorded
        return weight / dot(u, mv(matrix, v))

    def remove(self, module: Any) -> None:
        """Makes the weight an ordinary parameter again."""
        with no_grad():
            weight = self.compute_weight(module, False)
        for suffix in ("", "_u", "_v", "_orig"):
            delattr(module, self.name + suffix)
        module.register_parameter(self.name, Parameter(weight.detach()))

    def __call__(self, module: Any, inputs: Any) -> None:
        weight = self.compute_weight(module, module.training)
        object.__setattr__(module, self.name, weight)


class _StateHook:
    """Notes the version in a state dict's metadata, as PyTorch does."""

    def __init__(self, hook: SpectralNorm) -> None:
        self.hook = hook

    def __call__(self, module: Any, state_dict: Any, prefix: str, local_metadata: dict) -> None:
        versions = local_metadata.setdefault("spectral_norm", {})
        versions[self.hook.name + ".version"] = self.hook._version


def spectral_norm(
    module: Any,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Any:
    """Divides a parameter by its largest singular value, which power iterations estimate.

    ``dim``: where the outputs are; None is the module's own. Raises RuntimeError if that was done
    before, ValueError for an empty parameter and for no iterations.
    """
    if _hook_of(module, SpectralNorm, name) is not None:
        raise RuntimeError(f"Cannot register two spectral_norm hooks on the same parameter {name}")
    hook = SpectralNorm(name, n_power_iterations, usual_dim(module, dim), eps)
    weight = module._parameters[name]
    if weight is None:
        raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
    with no_grad():
        rows, columns = as_matrix(weight, hook.dim).shape
        u = normalize(weight.new_empty(rows).normal_(0, 1), dim=0, eps=eps)
        v = normalize(weight.new_empty(columns).normal_(0, 1), dim=0, eps=eps)
    delattr(module, name)
    module.register_parameter(name + "_orig", weight)
    object.__setattr__(module, name, weight.data)
    module.register_buffer(name + "_u", u)
    module.register_buffer(name + "_v", v)
    module.register_forward_pre_hook(hook)
    module._register_state_dict_hook(_StateHook(hook))
    return module


def remove_spectral_norm(module: Any, name: str = "weight") -> Any:
    """Undoes :func:`spectral_norm`. Raises ValueError if there is nothing to undo."""
    found = _hook_of(module, SpectralNorm, name)
    if found is None:
        raise ValueError(f"spectral_norm of '{name}' not found in {module}")
    key, hook = found
    hook.remove(module)
    del module._hooks.forward_pre[key]
    saving = module._state_hooks.save
    for number, (function, _) in list(saving.items()):
        if isinstance(function, _StateHook) and function.hook is hook:
            del saving[number]
    return module
