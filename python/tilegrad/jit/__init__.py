"""``torch.jit`` where Python is run as it is: decorators return what they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..nn.module import Module

__all__ = [
    "Attribute",
    "Final",
    "ScriptFunction",
    "ScriptModule",
    "annotate",
    "export",
    "fork",
    "freeze",
    "ignore",
    "interface",
    "is_scripting",
    "is_tracing",
    "load",
    "optimize_for_inference",
    "save",
    "script",
    "script_if_tracing",
    "script_method",
    "trace",
    "trace_module",
    "unused",
    "wait",
]


class ScriptModule(Module):
    """A module like any other."""


class ScriptFunction:
    """The type of compiled functions, of which there are none."""


def script(obj: Any, *args: Any, **options: Any) -> Any:
    """The function, class or module itself. Raises TypeError for what is none of these."""
    if not callable(obj):
        raise TypeError(f"jit.script: expected a function, class or module, got {obj!r:.80}")
    return obj


script_if_tracing = script


def trace(func: Any, example_inputs: Any = None, *args: Any, **options: Any) -> Any:
    """The function or module itself, whose branches stay branches; TypeError for others."""
    return script(func)


def trace_module(mod: Any, inputs: Any, *args: Any, **options: Any) -> Any:
    """The module itself; TypeError for what is none."""
    return script(mod)


def freeze(mod: Any, *args: Any, **options: Any) -> Any:
    """The module itself; TypeError for what is none."""
    return script(mod)


def optimize_for_inference(mod: Any, *args: Any, **options: Any) -> Any:
    """The module itself; TypeError for what is none."""
    return script(mod)


def _returned(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that changes nothing. Raises TypeError for what cannot be called."""
    return script(fn)


script_method = export = unused = interface = _returned
_overload = _overload_method = _script_if_tracing = _returned


def ignore(drop: Any = False, **options: Any) -> Any:
    """A decorator that changes nothing, with or without arguments. No errors."""
    return drop if callable(drop) else lambda fn: fn


def annotate(the_type: Any, the_value: Any) -> Any:
    """The value. No errors."""
    return the_value


def Attribute(value: Any, type: Any) -> Any:
    """The value. No errors."""
    return value


def is_scripting() -> bool:
    """False: nothing is compiled."""
    return False


def is_tracing() -> bool:
    """False: nothing is traced."""
    return False


def fork(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls the function at once; its result is what :func:`wait` gives. Its errors are raised."""
    return func(*args, **kwargs)


def wait(future: Any) -> Any:
    """The result that :func:`fork` returned. No errors."""
    return future


def save(m: Any, f: Any, *args: Any, **options: Any) -> None:
    """Raises NotImplementedError: archives of TorchScript hold code; save the ``state_dict()``."""
    raise NotImplementedError("jit.save: archives of TorchScript cannot be made; save state_dict()")


def load(f: Any, map_location: Any = None, *args: Any, **options: Any) -> Any:
    """Raises NotImplementedError: archives of TorchScript hold code."""
    raise NotImplementedError("jit.load: archives of TorchScript hold code, which is not run here")
