"""``keras.dtype_policies``: the dtypes of weights and of what layers compute with."""

from __future__ import annotations

from typing import Any

from .dtypes import DTypePolicy, policy_of
from .registry import deserialize_keras_object, own, serialize_keras_object

__all__ = ["DTypePolicy", "FloatDTypePolicy", "deserialize", "get", "serialize"]

FloatDTypePolicy = DTypePolicy
own(DTypePolicy)


def get(identifier: Any) -> DTypePolicy:
    """The policy of a name, a configuration or None. Raises ValueError for another name."""
    return policy_of(identifier)


def serialize(dtype_policy: Any) -> Any:
    """The configuration that :func:`deserialize` takes."""
    return serialize_keras_object(dtype_policy)


def deserialize(config: Any, custom_objects: Any = None) -> Any:
    """The policy of a configuration. Raises TypeError for an unknown class."""
    return deserialize_keras_object(config, custom_objects)
