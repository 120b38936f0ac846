"""``autocast``: where mixed precision begins and ends."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable
from typing import Any

from .. import _C, _autocast, cuda

__all__ = [
    "autocast",
    "clear_autocast_cache",
    "custom_bwd",
    "custom_fwd",
    "get_autocast_cpu_dtype",
    "get_autocast_dtype",
    "get_autocast_gpu_dtype",
    "is_autocast_available",
    "is_autocast_cache_enabled",
    "is_autocast_cpu_enabled",
    "is_autocast_enabled",
    "set_autocast_cpu_dtype",
    "set_autocast_cpu_enabled",
    "set_autocast_dtype",
    "set_autocast_enabled",
    "set_autocast_gpu_dtype",
]

_DEFAULTS = {"cpu": _C.bfloat16, "cuda": _C.float16}


class _Chosen(threading.local):
    """This thread's small dtypes, whether mixed precision is on or not."""

    cpu: Any = _DEFAULTS["cpu"]
    cuda: Any = _DEFAULTS["cuda"]


_chosen = _Chosen()


def is_autocast_available(device_type: str) -> bool:
    """Whether :class:`autocast` knows a kind of device: "cpu" and "cuda".

    Raises TypeError for what is no string.
    """
    if not isinstance(device_type, str):
        raise TypeError(f"device_type: expected a str, got {type(device_type).__name__}")
    return device_type in _DEFAULTS


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """Whether this thread is inside of an enabled :class:`autocast` for a kind of device, "cuda"
    unless given. Raises RuntimeError for a kind of device that has none."""
    device_type = "cuda" if device_type is None else device_type
    _check_device_type(device_type)
    return _autocast.current(device_type) is not None


def get_autocast_dtype(device_type: str) -> Any:
    """The small dtype of the enclosing :class:`autocast`, or what :func:`set_autocast_dtype` chose,
    at first the default of a kind of device.

    Raises RuntimeError for a kind of device that has none.
    """
    _check_device_type(device_type)
    return getattr(_chosen, device_type)


def set_autocast_dtype(device_type: str, dtype: Any) -> None:
    """Chooses this thread's small dtype for a kind of device.

    Raises RuntimeError for a kind of device that has none, TypeError for what is no dtype.
    """
    _check_device_type(device_type)
    if not isinstance(dtype, _C.dtype):
        raise TypeError(f"set_autocast_dtype: expected a dtype, got {type(dtype).__name__}")
    setattr(_chosen, device_type, dtype)
    if _autocast.current(device_type) is not None:
        _autocast.switch(device_type, dtype)


def set_autocast_enabled(device_type: Any, enabled: Any = None) -> None:
    """Switches mixed precision on or off for a kind of device, until it is switched again; one
    argument alone is for "cuda". :class:`autocast` does both by itself.

    Raises RuntimeError for a kind of device that has none, TypeError for what is no bool.
    """
    if enabled is None:
        device_type, enabled = "cuda", device_type
    _check_device_type(device_type)
    if not isinstance(enabled, bool):
        raise TypeError(f"set_autocast_enabled: expected a bool, got {type(enabled).__name__}")
    _autocast.switch(device_type, getattr(_chosen, device_type) if enabled else None)


def set_autocast_cpu_dtype(dtype: Any) -> None:
    """``set_autocast_dtype("cpu", dtype)``. Raises TypeError for what is no dtype."""
    set_autocast_dtype("cpu", dtype)


def set_autocast_gpu_dtype(dtype: Any) -> None:
    """``set_autocast_dtype("cuda", dtype)``. Raises TypeError for what is no dtype."""
    set_autocast_dtype("cuda", dtype)


def set_autocast_cpu_enabled(enabled: bool) -> None:
    """``set_autocast_enabled("cpu", enabled)``. Raises TypeError for what is no bool."""
    set_autocast_enabled("cpu", enabled)


def get_autocast_cpu_dtype() -> Any:
    """``get_autocast_dtype("cpu")``. Raises nothing."""
    return get_autocast_dtype("cpu")


def get_autocast_gpu_dtype() -> Any:
    """``get_autocast_dtype("cuda")``. Raises nothing."""
    return get_autocast_dtype("cuda")


def is_autocast_cpu_enabled() -> bool:
    """``is_autocast_enabled("cpu")``. Raises nothing."""
    return is_autocast_enabled("cpu")


def is_autocast_cache_enabled() -> bool:
    """False: converted parameters are not kept. Raises nothing."""
    return False


def clear_autocast_cache() -> None:
    """Nothing to do: converted parameters are not kept. Raises nothing."""


def _check_device_type(device_type: Any) -> None:
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if device_type not in _DEFAULTS:
        raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'")


class autocast:
    """In its ``with`` block, or in a function it decorates, some operations change their dtype.

    Matrix products, linear layers, convolutions and attention convert tensors to ``dtype``
    (default: that of the enclosing block, else bfloat16 on the CPU, float16 on CUDA devices),
    which gives their results that dtype.
    Losses, products of elements and three-dimensional pooling compute in float32, on CUDA devices
    also sums, exponentials, logarithms, softmax and norms. Everything else computes in the dtypes
    that reach it; float64 and integers are never converted, nor are tensors on other kinds of
    devices. Blocks nest;
    ``enabled=False`` switches back. It holds for the present thread. Parameters stay as they are,
    so gradients arrive in their dtypes; leave the block before ``backward``. ``cache_enabled``
    changes nothing.

    Where there is no CUDA device, ``device_type="cuda"`` warns and does nothing, as in PyTorch.
    Raises RuntimeError for other kinds of devices, ValueError for what is no string.
    """

    def __init__(
        self,
        device_type: str,
        dtype: Any = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        _check_device_type(device_type)
        self.device = device_type
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else dtype
        if enabled and device_type == "cuda" and not cuda.is_available():
            warnings.warn(
                "User provided device_type of 'cuda', but CUDA is not available. Disabling",
                stacklevel=2,
            )
            enabled = False
        if enabled and self.fast_dtype not in (_C.bfloat16, _C.float16):
            warnings.warn(
                f"In {device_type} autocast, but the target dtype {self.fast_dtype} is not "
                "supported. Disabling autocast.",
                stacklevel=2,
            )
            enabled = False
        self._enabled = bool(enabled)
        self._before: list[Any] = []

    def __enter__(self) -> autocast:
        dtype = self.fast_dtype if self._enabled else None
        self._before.append((_autocast.switch(self.device, dtype), getattr(_chosen, self.device)))
        setattr(_chosen, self.device, self.fast_dtype)
        return self

    def __exit__(self, *exception: object) -> None:
        dtype, chosen = self._before.pop()
        _autocast.switch(self.device, dtype)
        setattr(_chosen, self.device, chosen)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return call


def custom_fwd(
    fwd: Callable[..., Any] | None = None,
    *,
    device_type: str = "cuda",
    cast_inputs: Any = None,
) -> Any:
    """Decorates ``forward`` of an ``autograd.Function``: with ``cast_inputs``, its floating tensors
    are converted to that dtype and mixed precision is off inside; without, nothing changes.

    Raises ValueError for a device type that is no string.
    """
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)
    function = fwd

    @functools.wraps(function)
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        ctx._dtype = _autocast.current(device_type)
        ctx._fwd_used_autocast = ctx._dtype is not None and cast_inputs is None
        if ctx._dtype is None or cast_inputs is None:
            return function(ctx, *args, **kwargs)
        args = tuple(_autocast._converted(x, cast_inputs) for x in args)
        kwargs = {name: _autocast._converted(x, cast_inputs) for name, x in kwargs.items()}
        before = _autocast.switch(device_type, None)
        try:
            return function(ctx, *args, **kwargs)
        finally:
            _autocast.switch(device_type, before)

    return forward


def custom_bwd(bwd: Callable[..., Any] | None = None, *, device_type: str = "cuda") -> Any:
    """Decorates ``backward`` of an ``autograd.Function``: it runs in the precision of ``forward``.

    Raises ValueError for a device type that is no string.
    """
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)
    function = bwd

    @functools.wraps(function)
    def backward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        dtype = ctx._dtype if ctx._fwd_used_autocast else None
        before = _autocast.switch(device_type, dtype)
        try:
            return function(ctx, *args, **kwargs)
        finally:
            _autocast.switch(device_type, before)

    return backward
