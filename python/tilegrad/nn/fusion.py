"""Layers of a chain that one kernel computes together.

``Sequential`` runs its modules through ``run_chain``. Where neighbours match a pattern, such as a
``Linear`` followed by a ``ReLU``, the second costs no pass over memory of its own. The result is
that of the modules one by one. Modules with hooks, of derived classes or with a ``forward`` set on
the instance are always called themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..autograd.graph import needs_grad
from ..ops.batchnorm import batch_norm_relu
from ..ops.matmul import linear_add, linear_gelu, linear_relu
from .activation import GELU, ReLU
from .batchnorm import BatchNorm1d, BatchNorm2d
from .dropout import Dropout
from .linear import Linear
from .module import Module

__all__ = ["add_linear", "run_chain"]


def _linear_relu(layer: Any, relu: Any, input: Any) -> Any:
    return linear_relu(input, layer.weight, layer.bias)


def _linear_gelu(layer: Any, gelu: Any, input: Any) -> Any:
    # The gradient of gelu needs what it was computed from.
    if gelu.approximate != "none" or needs_grad(input, layer.weight, layer.bias):
        return gelu.forward(layer.forward(input))
    return linear_gelu(input, layer.weight, layer.bias)


def _batch_norm_relu(layer: Any, relu: Any, input: Any) -> Any:
    return layer._normalize(batch_norm_relu, input)


_PAIRS: dict[type[Module], dict[type[Module], Callable[[Any, Any, Any], Any]]] = {
    Linear: {ReLU: _linear_relu, GELU: _linear_gelu},
    BatchNorm1d: {ReLU: _batch_norm_relu},
    BatchNorm2d: {ReLU: _batch_norm_relu},
}


def _is_plain(module: Module) -> bool:
    """Whether calling the module runs its class's forward and nothing else."""
    return module._hooks is None and "forward" not in module.__dict__


def add_linear(layer: Linear, dropout: Dropout, input: Any, residual: Any) -> Any:
    """``residual + dropout(layer(input))``; one kernel where nothing is dropped."""
    dropping = dropout.training and dropout.p > 0
    if dropping or type(layer) is not Linear or not _is_plain(layer) or not _is_plain(dropout):
        return residual + dropout(layer(input))
    return linear_add(input, layer.weight, layer.bias, residual)


def run_chain(modules: Iterable[Module], input: Any) -> Any:
    """The last of the modules' outputs, each taking the one before as its input."""
    waiting = iter(modules)
    module = next(waiting, None)
    while module is not None:
        following = next(waiting, None)
        partners = _PAIRS.get(type(module))
        fused = partners.get(type(following)) if partners and following is not None else None
        if fused and following is not None and _is_plain(module) and _is_plain(following):
            input = fused(module, following, input)
            module = next(waiting, None)
        else:
            input = module(input)
            module = following
    return input
