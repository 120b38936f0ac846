"""Switches of PyTorch that a deterministic library accepts, and what they mean here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import _C

__all__ = [
    "are_deterministic_algorithms_enabled",
    "compile",
    "get_deterministic_debug_mode",
    "get_float32_matmul_precision",
    "get_num_interop_threads",
    "is_deterministic_algorithms_warn_only_enabled",
    "is_warn_always_enabled",
    "set_deterministic_debug_mode",
    "set_float32_matmul_precision",
    "set_flush_denormal",
    "set_num_interop_threads",
    "set_warn_always",
    "use_deterministic_algorithms",
]

_state: dict[str, Any] = {
    "deterministic": False,
    "warn_only": False,
    "precision": "highest",
    "interop": 1,
    "warn_always": False,
}


def compile(
    model: Callable[..., Any] | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: Any = "inductor",
    mode: str | None = None,
    options: dict | None = None,
    disable: bool = False,
) -> Any:
    """The module or function itself: nothing is compiled at run time here.

    Also a decorator. Raises TypeError for what cannot be called, RuntimeError for both ``mode`` and
    ``options``.
    """
    if mode is not None and options is not None:
        raise RuntimeError("compile: either mode or options can be specified, but not both")
    if model is None:
        return lambda model: compile(model, mode=mode, options=options)
    if not callable(model):
        raise TypeError(f"compile: expected a module or function, got {type(model).__name__}")
    return model


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Accepted: all algorithms are deterministic, for every number of threads.

    Raises TypeError for what is not a bool.
    """
    if not isinstance(mode, bool) or not isinstance(warn_only, bool):
        raise TypeError(
            f"use_deterministic_algorithms: expected bools, got {mode!r}, {warn_only!r}"
        )
    _state.update(deterministic=mode, warn_only=mode and warn_only)


def are_deterministic_algorithms_enabled() -> bool:
    """What :func:`use_deterministic_algorithms` was told; they are in any case."""
    return _state["deterministic"]


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """What :func:`use_deterministic_algorithms` was told."""
    return _state["warn_only"]


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """``"default"``, ``"warn"`` or ``"error"``, or 0 to 2; see
    :func:`use_deterministic_algorithms`. Raises RuntimeError for others."""
    modes = ("default", "warn", "error")
    index = modes.index(debug_mode) if debug_mode in modes else debug_mode
    if index not in (0, 1, 2):
        raise RuntimeError(
            f"set_deterministic_debug_mode: expected one of {modes}, got {debug_mode!r}"
        )
    use_deterministic_algorithms(index != 0, warn_only=index == 1)


def get_deterministic_debug_mode() -> int:
    """0, 1 or 2: see :func:`set_deterministic_debug_mode`."""
    return _state["deterministic"] and (1 if _state["warn_only"] else 2)


def set_float32_matmul_precision(precision: str) -> None:
    """``"highest"``: products of float32 are exact; ``"high"``, ``"medium"``: TF32 on CUDA.

    The same as :attr:`tilegrad.backends.cuda.matmul.allow_tf32`. Raises ValueError for others.
    """
    if precision not in ("highest", "high", "medium"):
        raise ValueError(
            "set_float32_matmul_precision: expected 'highest', 'high' or 'medium', "
            f"got {precision!r}"
        )
    set_fp32_precision("matmul", "ieee" if precision == "highest" else "tf32")
    _state["precision"] = precision


def get_float32_matmul_precision() -> str:
    """What :func:`set_float32_matmul_precision` was told, ``"highest"`` at first; ``"high"`` where
    TF32 was allowed under one of its other names."""
    if not _C.get_allow_tf32():
        return "highest"
    return "high" if _state["precision"] == "highest" else _state["precision"]


_fp32 = {"all": "none", "matmul": "none"}


def set_fp32_precision(what: str, precision: str) -> None:
    """How float32 is multiplied on CUDA: ``"ieee"``, ``"tf32"``, or ``"none"``, as ``"all"`` says.

    Raises RuntimeError for others.
    """
    if precision not in ("ieee", "tf32", "none"):
        raise RuntimeError(
            f"fp32_precision: Unknown precision: expected 'ieee', 'tf32' or 'none', "
            f"got {precision!r}"
        )
    _fp32[what] = precision
    _state["precision"] = "highest"
    _C.set_allow_tf32(get_fp32_precision("matmul") == "tf32")


def get_fp32_precision(what: str) -> str:
    """What was set for ``"matmul"`` or, unless something was, for ``"all"``."""
    return _fp32["all"] if _fp32[what] == "none" else _fp32[what]


def set_num_interop_threads(n: int) -> None:
    """Accepted: operations run one after the other, each on :func:`get_num_threads` threads.

    Raises RuntimeError for a number that is not positive.
    """
    if not isinstance(n, int) or n < 1:
        raise RuntimeError(f"set_num_interop_threads: expected a positive integer, got {n!r}")
    _state["interop"] = n


def get_num_interop_threads() -> int:
    """What :func:`set_num_interop_threads` was told, 1 at first."""
    return _state["interop"]


def set_flush_denormal(mode: bool) -> bool:
    """Whether this thread's kernels take numbers below the smallest normal one for zero, at first
    not. Returns whether the processor can. Raises TypeError for no bool."""
    if not isinstance(mode, bool):
        raise TypeError(f"set_flush_denormal: expected a bool, got {type(mode).__name__}")
    return _C.set_flush_denormal(mode)


def set_warn_always(b: bool) -> None:
    """Accepted; Python's filters decide how often a warning shows. Raises TypeError for no bool."""
    if not isinstance(b, bool):
        raise TypeError(f"set_warn_always: expected a bool, got {type(b).__name__}")
    _state["warn_always"] = b


def is_warn_always_enabled() -> bool:
    """What :func:`set_warn_always` was told."""
    return _state["warn_always"]
