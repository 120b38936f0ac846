"""``keras.optimizers``: how weights move."""

from __future__ import annotations

from typing import Any

from ..registry import serialize_keras_object
from ..resolve import resolve
from . import composed, loss_scale, muon, native, schedules
from .composed import *  # noqa: F403
from .loss_scale import *  # noqa: F403
from .muon import *  # noqa: F403
from .native import *  # noqa: F403
from .optimizer import Optimizer
from .schedules import LearningRateSchedule

_ROOMS = (native, composed, muon, loss_scale)

__all__ = [
    *native.__all__,
    *composed.__all__,
    *muon.__all__,
    *loss_scale.__all__,
    "Optimizer",
    "deserialize",
    "get",
    "serialize",
]

_CLASSES = {name: getattr(room, name) for room in _ROOMS for name in room.__all__}
_BY_NAME: dict[str, Any] = {name.lower(): cls for name, cls in _CLASSES.items()}


def get(identifier: Any) -> Optimizer:
    """The optimizer meant by a name (upper or lower case), a configuration, a class or an instance.

    Raises ValueError for what is none of them.
    """
    if isinstance(identifier, str):
        identifier = identifier.lower() if identifier.lower() in _BY_NAME else identifier
    found = resolve("optimizer", identifier, _BY_NAME)
    if not hasattr(found, "apply"):
        raise ValueError(
            f"Could not interpret optimizer identifier: {identifier!r}: expected a name, a "
            "configuration or an instance of keras.optimizers.Optimizer, got "
            f"{type(found).__name__}"
        )
    return found


def serialize(optimizer: Any) -> Any:
    """The configuration that :func:`deserialize` takes."""
    return serialize_keras_object(optimizer)


def deserialize(config: Any, custom_objects: Any = None) -> Any:
    """The optimizer of a configuration. Raises TypeError for an unknown name."""
    from ..registry import deserialize_keras_object

    return deserialize_keras_object(config, custom_objects)
