"""What mixed precision means to an operation: which of its arguments are converted, and when.

``tilegrad.amp.autocast`` switches it on. An operation that gains from small dtypes begins with

    if _autocast.enabled and _autocast.is_on():
        return _autocast.lower(operation, ...)

or is decorated with ``lowered_on``, and one that loses by them with ``full_precision``. Everything
else computes in the dtypes that reach it. The lists are PyTorch's, one for the CPU and one for CUDA
devices; what stands on one only says so (``full_precision_on``). Single functions of ``_C`` that
compute in float32 on CUDA devices and stay there, such as exp and softmax, are named in
src/gate.cpp, where small tensors become float32 anyway.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from . import _C

__all__ = [
    "applies",
    "current",
    "full_precision",
    "full_precision_on",
    "is_on",
    "lower",
    "lowered_on",
    "raised",
    "switch",
    "switched",
    "widest_on",
]

Function = TypeVar("Function", bound=Callable[..., Any])

enabled = False  # in some thread: all that is asked where there is no mixed precision
_threads = 0


class _State(threading.local):
    cpu: Any = None  # the small dtype of each kind of device
    cuda: Any = None
    paused = False


_state = _State()


def current(device_type: str) -> Any:
    """This thread's small dtype for a kind of device, or None."""
    return getattr(_state, device_type)


def switch(device_type: str, dtype: Any) -> Any:
    """Sets this thread's small dtype for a kind of device, None for none; returns the last."""
    global _threads, enabled
    before = getattr(_state, device_type)
    setattr(_state, device_type, dtype)
    _threads += (dtype is not None) - (before is not None)
    enabled = _threads > 0
    if device_type == "cuda":
        _C.keep_full_precision(dtype is not None)
    return before


@contextlib.contextmanager
def switched(dtypes: dict[str, Any]) -> Iterator[None]:
    """A block in which these kinds of devices have these small dtypes, None for none."""
    before = {kind: switch(kind, dtype) for kind, dtype in dtypes.items()}
    try:
        yield
    finally:
        for kind, dtype in before.items():
            switch(kind, dtype)


def is_on() -> bool:
    """Whether this thread's operations are to convert their arguments."""
    return (_state.cpu is not None or _state.cuda is not None) and not _state.paused


def _converted(value: Any, dtype: Any) -> Any:
    """Tensors of 16 or 32 bits in ``dtype``, None for the small one of their device, where that has
    one; all else as it is."""
    if isinstance(value, _C.TensorBase):
        tensor: Any = value
        small = _state.cuda if tensor.is_cuda else _state.cpu
        to = small if dtype is None else dtype
        converts = tensor.dtype.is_floating_point and tensor.dtype is not _C.float64
        return tensor.to(to) if small and converts and tensor.dtype is not to else tensor
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(_converted(x, dtype) for x in value)
    return value


def _pause(pause: bool) -> None:
    """What an operation is made of computes in what the operation chose."""
    _state.paused = pause
    if _state.cuda is not None:
        _C.keep_full_precision(not pause)


def _run(
    function: Callable[..., Any],
    dtype: Any,
    args: tuple,
    kwargs: dict[str, Any],
    converts: bool = True,
) -> Any:
    if converts:
        args = tuple(_converted(x, dtype) for x in args)
        kwargs = {name: _converted(x, dtype) for name, x in kwargs.items()}
    _pause(True)
    try:
        return function(*args, **kwargs)
    finally:
        _pause(False)


def lower(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls the function with its tensors in the small dtype; float64 and integers stay."""
    return _run(function, None, args, kwargs)


def raised(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls the function with its small tensors in float32."""
    return _run(function, _C.float32, args, kwargs)


def applies(device_type: str, *values: Any) -> bool:
    """Whether a kind of device has mixed precision here and one of these tensors lies on one."""
    if _state.paused or getattr(_state, device_type) is None:
        return False
    on_cards = device_type == "cuda"
    for value in values:
        if isinstance(value, _C.TensorBase):
            tensor: Any = value
            if tensor.is_cuda == on_cards:
                return True
        elif isinstance(value, (list, tuple)) and applies(device_type, *value):
            return True
    return False


def _decorator(run: Callable[..., Any], device_type: str | None) -> Callable[[Function], Function]:
    """Makes functions go through ``run`` in mixed precision, on one kind of device or all. A call
    that names its dtype, or a tensor for its result, is taken at its word."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if (
                enabled
                and is_on()
                and (device_type is None or applies(device_type, *args, *kwargs.values()))
                and kwargs.get("out") is None
                and kwargs.get("dtype") is None
            ):
                return run(function, *args, **kwargs)
            return function(*args, **kwargs)

        return call  # type: ignore[return-value]

    return decorate


def _widened(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls the function with small tensors in float32 if one of its tensors is a float32."""
    wide = any(_is_wide(x) for x in (*args, *kwargs.values()))
    return _run(function, _C.float32, args, kwargs, converts=wide)


def _is_wide(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_is_wide(x) for x in value)
    if not isinstance(value, _C.TensorBase):
        return False
    tensor: Any = value
    return tensor.dtype is _C.float32


def full_precision_on(device_type: str) -> Callable[[Function], Function]:
    """:func:`full_precision` for functions that are on the list of one kind of device only."""
    return _decorator(raised, device_type)


def lowered_on(device_type: str | None) -> Callable[[Function], Function]:
    """Makes a function compute in the small dtype; None for all kinds of devices."""
    return _decorator(lower, device_type)


def widest_on(device_type: str) -> Callable[[Function], Function]:
    """Makes a function compute in float32 where one of its tensors has it, else in what it gets."""
    return _decorator(_widened, device_type)


def full_precision(function: Function) -> Function:
    """Makes a function compute in float32 whatever small tensors it gets in mixed precision."""
    return _decorator(raised, None)(function)
