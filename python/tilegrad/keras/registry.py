"""Classes and functions by name: what a saved model may name, and nothing else."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Any

import numpy as np

import tilegrad as tg

from .dtypes import DTypePolicy, convert_to_numpy

__all__ = [
    "CustomObjectScope",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "register_keras_serializable",
    "serialize_keras_object",
]

_custom: dict[str, Any] = {}
_names: dict[Any, str] = {}
_own: dict[str, Any] = {}  # what keras itself offers, by class or function name


def own(*objects: Any) -> None:
    """Makes classes and functions of keras known by their names."""
    for item in objects:
        _own.setdefault(item.__name__, item)


def own_module(names: dict[str, Any]) -> None:
    """Makes all public classes of a module known, given its ``globals()``.

    Losses and metrics share names, so each is also known by its module."""
    for name in names["__all__"]:
        if inspect.isclass(names.get(name)):
            _own.setdefault(names[name].__name__, names[name])
            _own[f"{_room(names[name])}>{names[name].__name__}"] = names[name]


def _room(cls: Any) -> str:
    return cls.__module__.replace("tilegrad.keras", "keras")


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable:
    """Decorates a class or function that saved models may name, as ``package>name``.

    Raises ValueError for a class without ``get_config``.
    """

    def decorate(target: Any) -> Any:
        known = f"{package}>{name or target.__name__}"
        if inspect.isclass(target) and not hasattr(target, "get_config"):
            raise ValueError(
                "Cannot register a class that does not have a get_config() method, "
                f"got {target.__name__}"
            )
        _custom[known] = target
        _names[target] = known
        return target

    return decorate


def get_custom_objects() -> dict[str, Any]:
    """The dictionary of registered objects; it may be changed."""
    return _custom


def get_registered_name(obj: Any) -> str:
    """The name that an object was registered under, else its own."""
    return _names.get(obj, getattr(obj, "__name__", str(obj)))


def get_registered_object(
    name: str, custom_objects: dict[str, Any] | None = None, module_objects: Any = None
) -> Any:
    """The class or function of that name, or None."""
    for place in (custom_objects, _custom, module_objects, _own):
        if place and name in place:
            return place[name]
    return None


class CustomObjectScope:
    """Within ``with``, more names are known. ``custom_objects``: a dictionary from names."""

    def __init__(self, custom_objects: dict[str, Any]) -> None:
        self.custom_objects = custom_objects or {}
        self._before: dict[str, Any] = {}

    def __enter__(self) -> CustomObjectScope:
        self._before = dict(_custom)
        _custom.update(self.custom_objects)
        return self

    def __exit__(self, *exception: Any) -> None:
        _custom.clear()
        _custom.update(self._before)


custom_object_scope = CustomObjectScope


def serialize_keras_object(obj: Any) -> Any:
    """What stands for an object in JSON: plain values as they are, layers and other objects with a
    ``get_config`` by class name and configuration, functions by name.

    Raises ValueError for what cannot be written, a lambda for one.
    """
    if obj is None or isinstance(obj, (str, int, float, bool)):
        return obj.item() if isinstance(obj, np.generic) else obj
    if isinstance(obj, (list, tuple)):
        items = [serialize_keras_object(item) for item in obj]
        return items if isinstance(obj, list) else {"class_name": "__tuple__", "items": items}
    if isinstance(obj, dict):
        return {key: serialize_keras_object(value) for key, value in obj.items()}
    if isinstance(obj, np.generic):
        return obj.item()
    if isinstance(obj, (np.ndarray, tg.Tensor)):
        value = convert_to_numpy(obj)
        return {
            "class_name": "__numpy__",
            "config": {"value": value.tolist(), "dtype": value.dtype.name},
        }
    if isinstance(obj, tg.dtype):
        return str(obj).split(".")[-1]
    if isinstance(obj, types.FunctionType) or inspect.isclass(obj) or inspect.isbuiltin(obj):
        return _serialize_function(obj)
    if isinstance(obj, slice):
        return {"class_name": "__slice__", "items": [obj.start, obj.stop, obj.step]}
    if obj is Ellipsis:
        return {"class_name": "__ellipsis__"}
    if hasattr(obj, "get_config"):
        return _serialize_instance(obj)
    raise ValueError(f"serialize_keras_object: cannot write {type(obj).__name__}: {obj!r}")


def _serialize_function(obj: Any) -> dict[str, Any]:
    if obj.__name__ == "<lambda>":
        raise ValueError(
            "serialize_keras_object: a lambda has no name to be found by again; define a function "
            "and decorate it with keras.saving.register_keras_serializable()"
        )
    kind = "class" if inspect.isclass(obj) else "function"
    return {
        "module": obj.__module__,
        "class_name": kind,
        "config": obj.__name__,
        "registered_name": get_registered_name(obj),
    }


def _serialize_instance(obj: Any) -> dict[str, Any]:
    config = serialize_keras_object(obj.get_config())
    made: dict[str, Any] = {
        "module": _room(type(obj)),
        "class_name": type(obj).__name__,
        "config": config,
        "registered_name": get_registered_name(type(obj)),
    }
    build_config = obj.get_build_config() if hasattr(obj, "get_build_config") else None
    if build_config:
        made["build_config"] = serialize_keras_object(build_config)
    if hasattr(obj, "get_compile_config"):
        compile_config = obj.get_compile_config()
        if compile_config:
            made["compile_config"] = serialize_keras_object(compile_config)
    return made


def deserialize_keras_object(
    config: Any, custom_objects: dict[str, Any] | None = None, safe_mode: bool = True, **kwargs: Any
) -> Any:
    """The object that :func:`serialize_keras_object` wrote down. Nothing but registered classes
    and functions is ever found or called.

    Raises TypeError for a name that is not registered.
    """
    if config is None or isinstance(config, (str, int, float, bool)):
        return config
    if isinstance(config, (list, tuple)):
        return [deserialize_keras_object(item, custom_objects, safe_mode) for item in config]
    if not isinstance(config, dict):
        return config
    if "class_name" not in config:
        return {
            key: deserialize_keras_object(value, custom_objects, safe_mode)
            for key, value in config.items()
        }
    kind = config["class_name"]
    if kind == "__tuple__":
        return tuple(
            deserialize_keras_object(i, custom_objects, safe_mode) for i in config["items"]
        )
    if kind == "__numpy__":
        inner = config["config"]
        return np.array(inner["value"], dtype=inner["dtype"])
    if kind == "__slice__":
        return slice(*config["items"])
    if kind == "__ellipsis__":
        return Ellipsis
    if kind in ("function", "class") and "registered_name" in config:
        return _find(config["registered_name"], config["config"], custom_objects)
    if kind == "DTypePolicy":
        return DTypePolicy(**config["config"])
    return _deserialize_instance(config, custom_objects, safe_mode)


def _deserialize_instance(config: dict, custom_objects: Any, safe_mode: bool) -> Any:
    cls = _own.get(f"{config.get('module')}>{config['class_name']}")
    if cls is None:
        cls = _find(config.get("registered_name"), config["class_name"], custom_objects)
    if not hasattr(cls, "from_config"):
        raise TypeError(f"deserialize_keras_object: {cls} has no from_config() method")
    inner = config.get("config") or {}
    with CustomObjectScope(custom_objects or {}):
        if getattr(cls, "_reads_raw_config", False):
            instance = cls.from_config(inner)
        else:
            instance = cls.from_config(
                {k: deserialize_keras_object(v, None, safe_mode) for k, v in inner.items()}
            )
        if config.get("build_config") and hasattr(instance, "build_from_config"):
            instance.build_from_config(deserialize_keras_object(config["build_config"]))
        if config.get("compile_config") and hasattr(instance, "compile_from_config"):
            instance.compile_from_config(config["compile_config"])
    return instance


def _find(registered: str | None, name: str, custom_objects: dict[str, Any] | None) -> Any:
    for wanted in (registered, name):
        found = get_registered_object(wanted, custom_objects) if wanted else None
        if found is not None:
            return found
    raise TypeError(
        f"Could not locate '{registered or name}'. If it is a custom class or function, decorate "
        "it with `@keras.saving.register_keras_serializable()`, or pass it in `custom_objects`."
    )
