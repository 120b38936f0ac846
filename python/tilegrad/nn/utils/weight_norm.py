"""Weight normalization: a weight as a length times a direction.

Salimans and Kingma, "Weight Normalization", 2016. The old way, by a hook before ``forward``;
:func:`tilegrad.nn.utils.parametrizations.weight_norm` is the new one.
"""

from __future__ import annotations

import warnings
from typing import Any

from ..parameter import Parameter

__all__ = ["norm_except_dim", "remove_weight_norm", "weight_norm", "weight_of"]


def norm_except_dim(v: Any, dim: int | None) -> Any:
    """The lengths of the slices along ``dim``, of v's number of dimensions; None: of all of v.

    Raises IndexError for a dimension out of range.
    """
    if dim is None or dim == -1:
        return v.norm(2)
    v.shape[dim]
    rows = v.transpose(0, dim).reshape(v.shape[dim], -1).norm(2, 1)
    return rows.reshape([-1 if i == dim % v.ndim else 1 for i in range(v.ndim)])


def weight_of(g: Any, v: Any, dim: int | None) -> Any:
    """``g * v / |v|``. Errors are those of :func:`norm_except_dim`."""
    return v * (g / norm_except_dim(v, dim))


class WeightNorm:
    """The hook: computes ``name`` from ``name_g`` and ``name_v``."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module: Any) -> Any:
        """The weight from the module's length and direction."""
        g, v = getattr(module, self.name + "_g"), getattr(module, self.name + "_v")
        return weight_of(g, v, self.dim)

    def remove(self, module: Any) -> None:
        """Makes the weight an ordinary parameter again."""
        weight = self.compute_weight(module).detach()
        for name in (self.name, self.name + "_g", self.name + "_v"):
            delattr(module, name)
        setattr(module, self.name, Parameter(weight))

    def __call__(self, module: Any, inputs: Any) -> None:
        object.__setattr__(module, self.name, self.compute_weight(module))


def _hook_of(module: Any, kind: Any, name: str) -> tuple[int, Any] | None:
    hooks = module._hooks.forward_pre if module._hooks is not None else {}
    for key, entry in hooks.items():
        if isinstance(entry.call, kind) and entry.call.name == name:
            return key, entry.call
    return None


def weight_norm(module: Any, name: str = "weight", dim: int | None = 0) -> Any:
    """Replaces a parameter by its length ``name_g`` along ``dim`` and direction ``name_v``.

    Raises RuntimeError if that was done before. Warns, as PyTorch, that there is a newer way.
    """
    warnings.warn(
        "`torch.nn.utils.weight_norm` is deprecated in favor of "
        "`torch.nn.utils.parametrizations.weight_norm`.",
        FutureWarning,
        stacklevel=2,
    )
    if _hook_of(module, WeightNorm, name) is not None:
        raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
    hook = WeightNorm(name, dim)
    weight = getattr(module, name)
    delattr(module, name)
    module.register_parameter(
        name + "_g", Parameter(norm_except_dim(weight, hook.dim).detach().clone())
    )
    module.register_parameter(name + "_v", Parameter(weight.detach()))
    object.__setattr__(module, name, hook.compute_weight(module))
    module.register_forward_pre_hook(hook)
    return module


def remove_weight_norm(module: Any, name: str = "weight") -> Any:
    """Undoes :func:`weight_norm`. Raises ValueError if there is nothing to undo."""
    found = _hook_of(module, WeightNorm, name)
    if found is None:
        raise ValueError(f"weight_norm of '{name}' not found in {module}")
    key, hook = found
    hook.remove(module)
    del module._hooks.forward_pre[key]
    return module
