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
    """A context manager that also decorates functions and generator functions.

    What to return to is kept on a stack, so one object may be entered again inside itself.
    """

    _enabled = False
    _previous: list[Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        self._previous = []
        return self

    def __call__(self, function: Callable) -> Callable:
        import inspect  # imported late: it takes longer than the rest of this package

        if inspect.isgeneratorfunction(function):
            return self._wrap_generator(function)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._fresh():
                return function(*args, **kwargs)

        return wrapped

    def _wrap_generator(self, function: Callable) -> Callable:
        """The mode holds inside the generator, not in the code that consumes it."""

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            generator = function(*args, **kwargs)
            resume, value = generator.send, None
            while True:
                try:
                    with self._fresh():
                        item = resume(value)
                except StopIteration as stop:
                    return stop.value
                try:
                    resume, value = generator.send, (yield item)
                except GeneratorExit:
                    with self._fresh():
                        generator.close()
                    raise
                except BaseException as error:
                    resume, value = generator.throw, error

        return wrapped

    def _fresh(self) -> _Mode:
        return type(self)()

    def __enter__(self) -> None:
        self._previous.append((_C.is_grad_enabled(), _C.is_inference_mode_enabled()))
        _C.set_grad_enabled(self._enabled)

    def __exit__(self, *exception: object) -> None:
        grad, inference = self._previous.pop()
        _C.set_grad_enabled(grad)
        _C.set_inference_mode(inference)


class no_grad(_Mode):
    """Nothing inside is recorded: ``with no_grad():`` or ``@no_grad()``. Per thread."""

    def __new__(cls, function: Callable | None = None) -> Any:
        self = super().__new__(cls)
        return self if function is None else self(function)  # @no_grad without parentheses


class enable_grad(_Mode):
    """Recording is on inside, also within ``no_grad``. Per thread."""

    _enabled = True

    def __new__(cls, function: Callable | None = None) -> Any:
        self = super().__new__(cls)
        return self if function is None else self(function)


class set_grad_enabled(_Mode):
    """Switches recording at once, and back at the end when used as a context manager.

    Raises TypeError unless ``mode`` is a bool.
    """

    def __init__(self, mode: bool) -> None:
        if not isinstance(mode, bool):
            raise TypeError(f"set_grad_enabled: argument 'mode': expected a bool, got {mode!r}")
        self._enabled = mode
        self._before = _C.is_grad_enabled()
        _C.set_grad_enabled(mode)

    def __call__(self, function: Callable) -> Callable:
        _C.set_grad_enabled(self._before)  # a decorator does not act before the call
        return super().__call__(function)

    def _fresh(self) -> _Mode:
        return set_grad_enabled(self._enabled)

    def __enter__(self) -> None:
        self._previous.append((self._before, _C.is_inference_mode_enabled()))
        _C.set_grad_enabled(self._enabled)


class inference_mode(_Mode):
    """``no_grad`` whose results are marked: saving one for a later backward is an error.

    ``inference_mode(False)`` leaves inference mode and records. Per thread.
    """

    def __new__(cls, mode: bool | Callable = True) -> Any:
        self = super().__new__(cls)
        if callable(mode):  # @inference_mode without parentheses
            self._mode = True
            return self(mode)
        return self

    def __init__(self, mode: bool = True) -> None:
        self._mode = mode
        self._enabled = not mode

    def _fresh(self) -> _Mode:
        return inference_mode(self._mode)

    def __enter__(self) -> None:
        super().__enter__()
        _C.set_inference_mode(self._mode)
