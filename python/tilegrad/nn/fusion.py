"""Layers of a chain that one kernel computes together.

``Sequential`` runs its modules through ``run_chain``. Where neighbours match a pattern, such as a
``Linear`` followed by a ``ReLU``, the second costs no pass over memory of its own. The result is
that of the modules one by one. Modules with hooks, of derived classes or with a ``forward`` set on
the instance are always called themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .. import _C, _autocast
from ..autograd.graph import needs_grad
from ..ops.batchnorm import batch_norm_relu
from ..ops.conv2d import conv2d_inference, conv2d_relu
from ..ops.matmul import linear_add, linear_gelu, linear_relu
from .activation import GELU, ReLU
from .batchnorm import BatchNorm1d, BatchNorm2d
from .conv import Conv2d
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
    if (
        dropping
        or (_autocast.enabled and _autocast.is_on())
        or type(layer) is not Linear
        or not _is_plain(layer)
        or not _is_plain(dropout)
    ):
        return residual + dropout(layer(input))
    return linear_add(input, layer.weight, layer.bias, residual)


def _norm_of(layer: Any, input: Any, norm: Any) -> tuple | None:
    """The arguments of a normalization in evaluation, if it may be computed with the convolution
    before it: where no gradient is recorded."""
    if norm.training or norm.running_mean is None or norm.num_features != layer.out_channels:
        return None
    if norm.running_var.dtype is not input.dtype or needs_grad(norm.weight, norm.bias):
        return None
    if input.dtype.itemsize == 2:  # halves: only the output is rounded
        return None
    return norm.running_mean, _C.batch_norm_rstd(norm.running_var, norm.eps), norm.weight, norm.bias


def _convolve(chain: list[Any], at: int, input: Any) -> tuple[Any, int]:
    """A convolution with the normalization and the ReLU behind it, as far as they can be part of
    it, and how many modules that were. None of them has run where it says 0."""
    layer, behind = chain[at], chain[at + 1 : at + 3]
    if getattr(input, "ndim", 0) != 4 or layer.padding_mode != "zeros":
        return input, 0
    # Mixed precision rounds what the convolution alone gives.
    if not _is_plain(layer) or (_autocast.enabled and _autocast.is_on()):
        return input, 0
    options = (layer.stride, layer.padding, layer.dilation, layer.groups)
    if needs_grad(input, layer.weight, layer.bias):
        if type(behind[0]) is not ReLU or not _is_plain(behind[0]):
            return input, 0
        return conv2d_relu(input, layer.weight, layer.bias, options), 2
    count, norm = 1, None
    if type(behind[0]) is BatchNorm2d and _is_plain(behind[0]):
        norm = _norm_of(layer, input, behind[0])
        count += norm is not None
    relu = len(behind) >= count and type(behind[count - 1]) is ReLU and _is_plain(behind[count - 1])
    if count + relu == 1:
        return input, 0
    output = conv2d_inference(input, layer.weight, layer.bias, options, norm, None, relu)
    return output, count + relu


def run_chain(modules: Iterable[Module], input: Any) -> Any:
    """The last of the modules' outputs, each taking the one before as its input."""
    chain = list(modules)
    at, last = 0, len(chain) - 1
    while at <= last:
        module = chain[at]
        following = chain[at + 1] if at < last else None
        if following is not None and type(module) is Conv2d:
            input, count = _convolve(chain, at, input)
            if count > 0:
                at += count
                continue
        partners = _PAIRS.get(type(module))
        fused = partners.get(type(following)) if partners and following is not None else None
        if fused and following is not None and _is_plain(module) and _is_plain(following):
            input = fused(module, following, input)
            at += 2
        else:
            input = module(input)
            at += 1
    return input
