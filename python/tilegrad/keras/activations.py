"""Activation functions by Keras's names."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ..nn import functional as F
from .op import op, to_float
from .registry import own
from .resolve import resolve

__all__ = [
    "celu",
    "deserialize",
    "elu",
    "exponential",
    "gelu",
    "get",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "serialize",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "swish",
    "tanh",
    "tanh_shrink",
    "threshold",
]  # fmt: skip


@op
def relu(
    x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Any:
    """``x`` where it exceeds ``threshold``, at most ``max_value``; below, ``negative_slope`` times
    the distance to the threshold."""
    x = to_float(x)
    if threshold == 0.0:
        made = F.leaky_relu(x, negative_slope) if negative_slope else F.relu(x)
    else:
        below = negative_slope * (x - threshold)
        made = tg.where(x > threshold, x, below)
    return made if max_value is None else made.clamp(max=max_value)


@op
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """``x``, below zero times ``negative_slope``."""
    return F.leaky_relu(to_float(x), negative_slope)


@op
def relu6(x: Any) -> Any:
    """``x`` between 0 and 6."""
    return F.relu6(to_float(x))


@op
def softmax(x: Any, axis: Any = -1) -> Any:
    """``exp(x)`` divided by its sum along ``axis``, or along several axes together."""
    x = to_float(x)
    if isinstance(axis, (tuple, list)):
        axes = [a % x.ndim for a in axis]
        rest = [a for a in range(x.ndim) if a not in axes]
        order = rest + axes
        moved = x.permute(*order)
        flat = F.softmax(moved.reshape(*moved.shape[: len(rest)], -1), -1).reshape(moved.shape)
        return flat.permute(*(order.index(a) for a in range(x.ndim)))
    return F.softmax(x, axis)


@op
def log_softmax(x: Any, axis: Any = -1) -> Any:
    """The logarithm of :func:`softmax`."""
    return F.log_softmax(to_float(x), axis)


@op
def elu(x: Any, alpha: float = 1.0) -> Any:
    """``x``, below zero ``alpha * (exp(x) - 1)``."""
    return F.elu(to_float(x), alpha)


@op
def celu(x: Any, alpha: float = 1.0) -> Any:
    """``x``, below zero ``alpha * (exp(x / alpha) - 1)``."""
    return F.celu(to_float(x), alpha)


@op
def selu(x: Any) -> Any:
    """``elu`` scaled so that layers keep mean 0 and variance 1 (Klambauer et al., 2017)."""
    return F.selu(to_float(x))


@op
def gelu(x: Any, approximate: bool = False) -> Any:
    """``x`` times the normal distribution function of ``x`` (Hendrycks and Gimpel, 2016)."""
    return F.gelu(to_float(x), approximate="tanh" if approximate else "none")


@op
def silu(x: Any) -> Any:
    """``x * sigmoid(x)``."""
    return F.silu(to_float(x))


@op
def sigmoid(x: Any) -> Any:
    """``1 / (1 + exp(-x))``."""
    return tg.sigmoid(to_float(x))


@op
def hard_sigmoid(x: Any) -> Any:
    """``x / 6 + 0.5`` between 0 and 1."""
    return F.hardsigmoid(to_float(x))


@op
def hard_silu(x: Any) -> Any:
    """``x * hard_sigmoid(x)``."""
    return F.hardswish(to_float(x))


@op
def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    return tg.tanh(to_float(x))


@op
def hard_tanh(x: Any) -> Any:
    """``x`` between -1 and 1."""
    return F.hardtanh(to_float(x))


@op
def softplus(x: Any) -> Any:
    """``log(exp(x) + 1)``."""
    return F.softplus(to_float(x))


@op
def softsign(x: Any) -> Any:
    """``x / (|x| + 1)``."""
    x = to_float(x)
    return x / (tg.abs(x) + 1)


@op
def exponential(x: Any) -> Any:
    """``exp(x)``."""
    return tg.exp(to_float(x))


def linear(x: Any) -> Any:
    """``x`` itself."""
    return x


@op
def mish(x: Any) -> Any:
    """``x * tanh(softplus(x))``."""
    return F.mish(to_float(x))


@op
def glu(x: Any, axis: int = -1) -> Any:
    """One half times the sigmoid of the other."""
    first, second = tg.chunk(to_float(x), 2, dim=axis)
    return first * tg.sigmoid(second)


@op
def log_sigmoid(x: Any) -> Any:
    """The logarithm of the sigmoid."""
    return F.logsigmoid(to_float(x))


@op
def squareplus(x: Any, b: float = 4) -> Any:
    """``(x + sqrt(x**2 + b)) / 2``."""
    x = to_float(x)
    return (x + tg.sqrt(x * x + b)) / 2


@op
def hard_shrink(x: Any, threshold: float = 0.5) -> Any:
    """``x`` where its magnitude exceeds ``threshold``, else zero."""
    return F.hardshrink(to_float(x), threshold)


@op
def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """``x`` moved towards zero by ``threshold``."""
    return F.softshrink(to_float(x), threshold)


@op
def tanh_shrink(x: Any) -> Any:
    """``x - tanh(x)``."""
    x = to_float(x)
    return x - tg.tanh(x)


@op
def threshold(x: Any, threshold: float, default_value: float) -> Any:
    """``x`` where it exceeds ``threshold``, else ``default_value``."""
    x = to_float(x)
    return tg.where(x > threshold, x, tg.full_like(x, default_value))


@op
def sparse_plus(x: Any) -> Any:
    """0 up to -1, ``(x + 1)**2 / 4`` up to 1, then ``x``."""
    x = to_float(x)
    return tg.where(x <= -1, tg.zeros_like(x), tg.where(x < 1, 0.25 * (x + 1) ** 2, x))


@op
def sparse_sigmoid(x: Any) -> Any:
    """``(x + 1) / 2`` between 0 and 1."""
    return ((to_float(x) + 1) * 0.5).clamp(0, 1)


@op
def sparsemax(x: Any, axis: int = -1) -> Any:
    """The nearest point of the simplex (Martins and Astudillo, 2016)."""
    x = to_float(x)
    ordered = tg.sort(x, dim=axis, descending=True)[0]
    sums = tg.cumsum(ordered, dim=axis)
    shape = [1] * x.ndim
    shape[axis] = -1
    count = tg.arange(1, x.shape[axis] + 1, dtype=x.dtype).reshape(shape)
    inside = (1 + count * ordered) > sums
    size = inside.to(x.dtype).sum(axis, keepdim=True)
    total = tg.where(inside, ordered, tg.zeros_like(ordered)).sum(axis, keepdim=True)
    return (x - (total - 1) / size).clamp(min=0)


swish, hard_swish = silu, hard_silu
_BY_NAME: dict[str, Any] = {
    name: globals()[name] for name in __all__ if name not in ("deserialize", "get", "serialize")
}
own(*_BY_NAME.values())


def get(identifier: Any) -> Any:
    """The function meant by a name, a configuration or a function; None is :func:`linear`.

    Raises ValueError for what is none of them.
    """
    if identifier is None:
        return linear
    return resolve("activation function", identifier, _BY_NAME, calls=True)


def serialize(activation: Any) -> Any:
    """The name of a function of this module, or what a custom one is saved as."""
    name = getattr(activation, "__name__", None)
    if name is not None and _BY_NAME.get(name) is activation:
        return name
    from .registry import serialize_keras_object

    return serialize_keras_object(activation)


def deserialize(config: Any, custom_objects: Any = None) -> Any:
    """The function of a name or configuration."""
    if isinstance(config, dict):
        from .registry import deserialize_keras_object

        return deserialize_keras_object(config, custom_objects)
    return get(config)
