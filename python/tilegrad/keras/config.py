"""Settings that hold for all layers: the default dtype, epsilon and the order of image axes."""

from __future__ import annotations

import random as _random
from typing import Any

__all__ = [
    "backend",
    "disable_flash_attention",
    "disable_interactive_logging",
    "disable_traceback_filtering",
    "dtype_policy",
    "enable_flash_attention",
    "enable_interactive_logging",
    "enable_traceback_filtering",
    "epsilon",
    "floatx",
    "image_data_format",
    "is_flash_attention_enabled",
    "is_interactive_logging_enabled",
    "is_traceback_filtering_enabled",
    "max_epochs",
    "max_steps_per_epoch",
    "set_backend",
    "set_dtype_policy",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "set_max_epochs",
    "set_max_steps_per_epoch",
]

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_ORDERS = ("channels_last", "channels_first")


class _Settings:
    """The values; one object, so that a reader elsewhere sees every change."""

    floatx = "float32"
    epsilon = 1e-7
    image_data_format = "channels_last"
    interactive_logging = True
    traceback_filtering = True
    flash_attention: bool | None = None
    max_epochs: int | None = None
    max_steps_per_epoch: int | None = None
    seeds = _random.Random()  # where the seeds of layers and initializers come from


settings = _Settings()


def floatx() -> str:
    """The dtype of weights and of floating-point inputs unless a layer says otherwise."""
    return settings.floatx


def set_floatx(value: str) -> None:
    """Sets :func:`floatx`. Raises ValueError for anything but a floating-point dtype's name."""
    if value not in _FLOATS:
        raise ValueError(f"Unknown `floatx` value: {value}. Expected one of {set(_FLOATS)}")
    settings.floatx = value


def epsilon() -> float:
    """The small number that keeps logarithms and quotients finite."""
    return settings.epsilon


def set_epsilon(value: float) -> None:
    """Sets :func:`epsilon`."""
    settings.epsilon = float(value)


def image_data_format() -> str:
    """``"channels_last"`` or ``"channels_first"``: where images have their channels."""
    return settings.image_data_format


def set_image_data_format(data_format: str) -> None:
    """Sets :func:`image_data_format`. Raises ValueError for an unknown order."""
    settings.image_data_format = standardize_data_format(data_format)


def standardize_data_format(data_format: Any) -> str:
    """The order that a layer was given, or the default for None. Raises ValueError."""
    if data_format is None:
        return settings.image_data_format
    value = str(data_format).lower()
    if value not in _ORDERS:
        raise ValueError(
            "The `data_format` argument must be one of "
            f"{{'channels_first', 'channels_last'}}. Received: {data_format}"
        )
    return value


def backend() -> str:
    """The backend that a program must write for: ``"torch"`` where ``import torch`` is answered by
    tilegrad, so that the part that it has for PyTorch is run, else ``"tilegrad"``."""
    from .._install import is_installed

    return "torch" if is_installed("torch") else "tilegrad"


def set_backend(backend: str) -> None:
    """Keras's switch between backends: here there is one. Raises ValueError for another."""
    if backend not in ("tilegrad", "torch"):
        raise ValueError(f"set_backend: expected 'tilegrad', the only backend, got {backend!r}")


def is_interactive_logging_enabled() -> bool:
    """Whether progress is printed; otherwise it goes to Python's logging."""
    return settings.interactive_logging


def enable_interactive_logging() -> None:
    """Prints progress bars to the standard output."""
    settings.interactive_logging = True


def disable_interactive_logging() -> None:
    """Sends progress to Python's logging."""
    settings.interactive_logging = False


def is_traceback_filtering_enabled() -> bool:
    """What was chosen last; True at first. Tracebacks here are whole in any case."""
    return settings.traceback_filtering


def enable_traceback_filtering() -> None:
    """Kept for programs that call it: there is nothing to filter."""
    settings.traceback_filtering = True


def disable_traceback_filtering() -> None:
    """Kept for programs that call it: tracebacks are whole in any case."""
    settings.traceback_filtering = False


def is_flash_attention_enabled() -> bool | None:
    """None, which leaves the choice open, or False. Attention is fused wherever it can be."""
    return settings.flash_attention


def enable_flash_attention() -> None:
    """Kept for programs that call it: attention is fused wherever it can be."""
    settings.flash_attention = None


def disable_flash_attention() -> None:
    """Kept for programs that call it; results are the same."""
    settings.flash_attention = False


def max_epochs() -> int | None:
    """How many epochs ``fit`` trains at most; None for as many as it is told."""
    return settings.max_epochs


def set_max_epochs(max_epochs: int | None) -> None:
    """Sets :func:`max_epochs`, to try a program out quickly."""
    settings.max_epochs = max_epochs


def max_steps_per_epoch() -> int | None:
    """How many batches ``fit``, ``evaluate`` and ``predict`` take at most; None for all."""
    return settings.max_steps_per_epoch


def set_max_steps_per_epoch(max_steps_per_epoch: int | None) -> None:
    """Sets :func:`max_steps_per_epoch`."""
    settings.max_steps_per_epoch = max_steps_per_epoch


def dtype_policy() -> Any:
    """The dtypes of layers that are given none."""
    from . import dtypes

    return dtypes.dtype_policy()


def set_dtype_policy(policy: Any) -> None:
    """Sets :func:`dtype_policy`, by name or as an object. Raises ValueError for an unknown name."""
    from . import dtypes

    dtypes.set_dtype_policy(policy)


def next_seed() -> int:
    """A fresh seed, from the sequence that ``keras.utils.set_random_seed`` starts."""
    return settings.seeds.randrange(2**31 - 1)
