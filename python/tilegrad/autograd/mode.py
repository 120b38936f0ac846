"""Switching recording on and off: no_grad, enable_grad, set_grad_enabled, inference_mode."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .. import _C
from .._C import is_grad_enabled, is_inference_mode_enabled

__all__ = [
    "enable_grad",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "set_grad_enabled",
]


class _Mode:
    """A context manager that also decorates functions and generator functions."""

    def __call__(self, function: Callable) -> Callable:
        import inspect

        if inspect.isgeneratorfunction(function):
            return self._wrap_generator(function)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._fresh():
                return function(*args, **kwargs)

        return wrapped

    def _wrap_generator(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            generator = function(*args, **kwargs)
            value = None
            while True:  # the mode holds inside the generator, not in the code that consumes it
                with self._fresh():
                    try:
                        item = generator.send(value)
                    except StopIteration as stop:
                        return stop.value
                value = yield item

        return wrapped

    def _fresh(self) -> _Mode:
        return type(self)()

    def __enter__(self) -> None:
        self._previous = _C.is_grad_enabled()
        _C.set_grad_enabled(self._enabled)

    def __exit__(self, *exception: object) -> None:
        _C.set_grad_enabled(self._previous)

    _enabled = False


class no_grad(_Mode):  # noqa: N801 - PyTorch's name
    """Nothing inside is recorded: ``with no_grad():`` or ``@no_grad()``. Per thread."""

    def __new__(cls, function: Callable | None = None) -> Any:
        self = super().__new__(cls)
        return self if function is None else self(function)  # @no_grad without parentheses


class enable_grad(_Mode):  # noqa: N801
    """Recording is on inside, also within ``no_grad``."""

    _enabled = True

    def __new__(cls, function: Callable | None = None) -> Any:
        self = super().__new__(cls)
        return self if function is None else self(function)


class set_grad_enabled(_Mode):  # noqa: N801
    """Switches recording at once, and back at the end when used as a context manager."""

    def __init__(self, mode: bool) -> None:
        if not isinstance(mode, bool):
            raise TypeError(f"set_grad_enabled: argument 'mode': expected a bool, got {mode!r}")
        self._enabled = mode
        self._previous = _C.is_grad_enabled()
        _C.set_grad_enabled(mode)

    def __call__(self, function: Callable) -> Callable:
        _C.set_grad_enabled(self._previous)  # a decorator does not act before the call
        return super().__call__(function)

    def _fresh(self) -> _Mode:
        return set_grad_enabled(self._enabled)

    def __enter__(self) -> None:
        _C.set_grad_enabled(self._enabled)


class inference_mode(_Mode):  # noqa: N801
    """``no_grad`` whose results are marked: saving one for a later backward is an error."""

    def __new__(cls, mode: bool | Callable = True) -> Any:
        self = super().__new__(cls)
        return self(mode) if callable(mode) else self

    def __init__(self, mode: bool = True) -> None:
        self._mode = mode

    def _fresh(self) -> _Mode:
        return inference_mode(getattr(self, "_mode", True))

    def __enter__(self) -> None:
        self._previous = _C.is_grad_enabled(), _C.is_inference_mode_enabled()
        if self._mode:
            _C.set_grad_enabled(False)
        _C.set_inference_mode(self._mode)

    def __exit__(self, *exception: object) -> None:
        _C.set_grad_enabled(self._previous[0])
        _C.set_inference_mode(self._previous[1])
