"""Calling a module with other parameters than its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["functional_call", "skip_init"]


def functional_call(
    module: Any,
    parameters_and_buffers_dicts: Any,
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """``module(*args, **kwargs)`` with tensors of a dict of dotted names in place of its own.

    Several dicts may be given. Gradients flow to the given tensors; the module is as before
    afterwards. A tensor that stands in several places is replaced in all, if ``tie_weights``.
    ``strict`` refuses missing names. Raises RuntimeError and KeyError for names that do not fit,
    TypeError for what is no dict.
    """
    given: dict[str, Any] = {}
    dicts = parameters_and_buffers_dicts
    for part in dicts if isinstance(dicts, (list, tuple)) else [dicts]:
        if not isinstance(part, Mapping):
            raise TypeError(
                "Expected parameters_and_buffers_dicts to be a dict, or a list/tuple of dicts, "
                f"but got {type(part).__name__}"
            )
        given.update(part)
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    places: dict[str, tuple[Any, str, str]] = {}
    for prefix, part in module.named_modules(remove_duplicate=False):
        for registry in ("_parameters", "_buffers"):
            for name in part.__dict__[registry]:
                places[f"{prefix}.{name}" if prefix else name] = part, registry, name
    unknown = [key for key in given if key not in places]
    missing = [key for key in places if key not in given]
    if unknown:
        raise KeyError(f"functional_call: the module has no tensors named {unknown}")
    if strict and missing:
        raise RuntimeError(f"Missing key(s): {', '.join(missing)}.")
    own = {key: part.__dict__[registry][name] for key, (part, registry, name) in places.items()}
    if tie_weights:
        chosen = {id(own[key]): value for key, value in given.items()}
        for key, value in own.items():
            if value is not None and id(value) in chosen:
                given.setdefault(key, chosen[id(value)])
    try:
        for key, value in given.items():
            part, registry, name = places[key]
            part._put(registry, name, value)
        return module(*args, **(kwargs or {}))
    finally:
        for key in given:
            part, registry, name = places[key]
            part._put(registry, name, own[key])


def skip_init(module_cls: type, *args: Any, **kwargs: Any) -> Any:
    """Makes a module. Its parameters are initialized all the same, which costs little here.

    Raises what the constructor raises.
    """
    return module_cls(*args, **kwargs)
