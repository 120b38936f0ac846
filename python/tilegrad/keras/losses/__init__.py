"""``keras.losses``: what training minimizes, as classes, functions and names."""

from __future__ import annotations

import inspect
from typing import Any

from ..registry import serialize_keras_object
from ..resolve import resolve
from . import classes, functions
from .classes import *  # noqa: F403
from .functions import *  # noqa: F403
from .loss import Loss, LossFunctionWrapper

__all__ = [*classes.__all__, *functions.__all__, "Loss", "deserialize", "get", "serialize"]

_ALIASES = {
    "bce": "binary_crossentropy",
    "kld": "kl_divergence",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "mse": "mean_squared_error",
    "msle": "mean_squared_logarithmic_error",
    "logcosh": "log_cosh",
    "cosine_similarity": "cosine_similarity",
    "kullback_leibler_divergence": "kl_divergence",
}
_BY_NAME: dict[str, Any] = {
    **{name: getattr(functions, name) for name in functions.__all__},
    **{name: getattr(classes, name) for name in classes.__all__},
    **{alias: getattr(functions, name) for alias, name in _ALIASES.items()},
    **{alias.upper(): getattr(functions, name) for alias, name in _ALIASES.items()},
}


def get(identifier: Any) -> Any:
    """The loss meant by a name, a configuration, a class, an instance or a function.

    Raises ValueError for what is none of them.
    """
    return resolve("loss", identifier, _BY_NAME)


def as_loss(identifier: Any) -> Any:
    """The same as a :class:`Loss`: functions are wrapped. None stays."""
    if identifier is None or isinstance(identifier, Loss):
        return identifier
    found = get(identifier)
    if isinstance(found, Loss):
        return found
    if inspect.isfunction(found) or callable(found):
        return LossFunctionWrapper(found, name=getattr(found, "__name__", None))
    raise ValueError(f"Could not interpret loss identifier: {identifier!r}")


def serialize(loss: Any) -> Any:
    """The configuration that :func:`deserialize` takes."""
    return serialize_keras_object(loss)


def deserialize(name: Any, custom_objects: Any = None) -> Any:
    """The loss of a configuration or a name."""
    from ..registry import CustomObjectScope

    with CustomObjectScope(custom_objects or {}):
        return get(name)
