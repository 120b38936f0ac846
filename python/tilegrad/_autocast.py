"""What mixed precision means to an operation: which of its arguments are converted, and when.

``tilegrad.amp.autocast`` switches it on. An operation that gains from small dtypes begins with

    if _autocast.enabled and _autocast.is_on():
        return _autocast.lower(operation, ...)

and one that loses by them is decorated with ``full_precision``. Everything else computes in the
dtypes that reach it. The lists are PyTorch's for the CPU. On CUDA devices more operations compute
in float32 and stay there, such as exp and softmax: those are named in src/gate.cpp, where small
tensors become float32 anyway.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from . import _C

__all__ = ["current", "full_precision", "is_on", "lower", "raised", "switch", "switched"]

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


def _run(function: Callable[..., Any], dtype: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    args = tuple(_converted(x, dtype) for x in args)
    kwargs = {name: _converted(x, dtype) for name, x in kwargs.items()}
    _state.paused = True
    try:
        return function(*args, **kwargs)
    finally:
        _state.paused = False


def lower(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls the function with its tensors in the small dtype; float64 and integers stay."""
    return _run(function, None, args, kwargs)


def raised(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls the function with its small tensors in float32."""
    return _run(function, _C.float32, args, kwargs)


def full_precision(function: Function) -> Function:
    """Makes a function compute in float32 whatever small tensors it gets in mixed precision."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if enabled and is_on():
            return _run(function, _C.float32, args, kwargs)
        return function(*args, **kwargs)

    return call  # type: ignore[return-value]
