"""What :class:`tilegrad.amp.GradScaler` does to gradients and to its factor, without waiting for
the device. The names are those under which PyTorch keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import _C

__all__ = ["_amp_foreach_non_finite_check_and_unscale_", "_amp_update_scale_"]


def _amp_foreach_non_finite_check_and_unscale_(
    self: Sequence[Any], found_inf: Any, inv_scale: Any
) -> None:
    """Multiplies every tensor of a list by ``inv_scale``, in place; sets ``found_inf`` to 1 if an
    element was infinite or NaN.

    ``found_inf`` and ``inv_scale`` hold one float32 each, on the device of the tensors, which are
    floating. Raises RuntimeError for other dtypes and devices, TypeError for what is no tensor.
    """
    _C.unscale_(list(self), found_inf, inv_scale)


def _amp_update_scale_(
    self: Any,
    growth_tracker: Any,
    found_inf: Any,
    scale_growth_factor: float,
    scale_backoff_factor: float,
    growth_interval: int,
) -> Any:
    """Multiplies the scale by the backoff factor after ``found_inf``, and by the growth factor
    after ``growth_interval`` calls in a row without, unless that would be infinite; returns it.

    ``self`` and ``found_inf`` hold one float32 each, ``growth_tracker`` an int32. Raises
    RuntimeError for other dtypes and for different devices.
    """
    _C.update_scale_(
        self,
        growth_tracker,
        found_inf,
        scale_growth_factor,
        scale_backoff_factor,
        growth_interval,
    )
    return self
