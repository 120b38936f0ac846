"""Watching for NaN in backward passes: ``set_detect_anomaly``, ``detect_anomaly``."""

from __future__ import annotations

import warnings
from typing import Any

__all__ = [
    "check",
    "detect_anomaly",
    "is_anomaly_check_nan_enabled",
    "is_anomaly_enabled",
    "set_anomaly_enabled",
    "set_detect_anomaly",
    "state",
]


class _State:
    enabled = False
    check_nan = True


state = _State()


def is_anomaly_enabled() -> bool:
    """Whether :class:`set_detect_anomaly` is on. Raises nothing."""
    return state.enabled


def is_anomaly_check_nan_enabled() -> bool:
    """Whether it looks for NaN while it is on. Raises nothing."""
    return state.check_nan


def set_anomaly_enabled(mode: bool, check_nan: bool = True) -> None:
    """Switches it on or off. Raises nothing."""
    state.enabled, state.check_nan = bool(mode), bool(check_nan)


def check(node: Any, results: Any) -> None:
    """Raises RuntimeError for a gradient with NaN among those that a node gives its inputs."""
    given = results if isinstance(results, tuple) else (results,)
    for i, grad in enumerate(given):
        if grad is None or not (grad.dtype.is_floating_point or grad.dtype.is_complex):
            continue
        if grad.isnan().any():
            raise RuntimeError(f"Function '{node.name()}' returned nan values in its {i}th output.")


class set_detect_anomaly:
    """Makes a gradient that becomes NaN raise RuntimeError with the name of the operation.

    At once, for all threads; also a ``with`` block. With ``check_nan=False`` nothing is checked.
    PyTorch shows the lines that recorded the operation too; here they are not kept.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = state.enabled, state.check_nan
        state.enabled, state.check_nan = bool(mode), bool(check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        state.enabled, state.check_nan = self._before


class detect_anomaly:
    """A ``with`` block of :class:`set_detect_anomaly`; warns that it slows down."""

    def __init__(self, check_nan: bool = True) -> None:
        self._check_nan = check_nan
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should "
            "only be enabled for debugging.",
            stacklevel=2,
        )

    def __enter__(self) -> None:
        self._mode = set_detect_anomaly(True, self._check_nan)

    def __exit__(self, *exception: object) -> None:
        self._mode.__exit__(*exception)
