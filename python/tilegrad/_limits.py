"""The limits of the dtypes: ``finfo`` and ``iinfo``."""

from __future__ import annotations

from typing import Any

from . import _C

__all__ = ["finfo", "iinfo"]

# Bits of the stored fraction, exponents of the smallest normal and of the largest number, and the
# decimal digits that survive.
_FLOATING = {
    "float16": (10, -14, 15, 3),
    "bfloat16": (7, -126, 127, 2),
    "float32": (23, -126, 127, 6),
    "float64": (52, -1022, 1023, 15),
}


class finfo:
    """The limits of a floating dtype, of the default dtype if none is given.

    ``bits``; ``eps``, the step from 1 to the next number; ``max`` and ``min``;
    ``smallest_normal``, also called ``tiny``; ``resolution``, a power of ten that numbers of the
    dtype tell apart; ``dtype``, its name. Raises TypeError for a dtype that is not floating.
    """

    def __init__(self, type: Any = None) -> None:
        dtype = _C.get_default_dtype() if type is None else type
        if not isinstance(dtype, _C.dtype) or not dtype.is_floating_point:
            raise TypeError(
                f"finfo: argument 'type': expected a floating-point dtype, got {dtype!r}; "
                "use iinfo for integers"
            )
        fraction, lowest, highest, digits = _FLOATING[dtype.name]
        self.dtype: str = dtype.name
        self.bits: int = 8 * dtype.itemsize
        self.eps: float = 2.0**-fraction
        self.max: float = (2 - 2.0**-fraction) * 2.0**highest
        self.min: float = -self.max
        self.smallest_normal: float = 2.0**lowest
        self.tiny: float = self.smallest_normal
        self.resolution: float = float(f"1e-{digits}")

    def __repr__(self) -> str:
        names = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        values = ", ".join(f"{name}={getattr(self, name):g}" for name in names)
        return f"finfo({values}, dtype={self.dtype})"


class iinfo:
    """The limits of an integer dtype: ``bits``, ``min``, ``max``, and its name ``dtype``.

    Raises TypeError for bool and floating dtypes.
    """

    def __init__(self, type: Any) -> None:
        if not isinstance(type, _C.dtype) or type.is_floating_point or type is _C.boolean:
            raise TypeError(
                f"iinfo: argument 'type': expected an integer dtype, got {type!r}; "
                "use finfo for floating-point dtypes"
            )
        self.dtype: str = type.name
        self.bits: int = 8 * type.itemsize
        self.min: int = -(2 ** (self.bits - 1)) if type.is_signed else 0
        self.max: int = 2 ** (self.bits - 1 if type.is_signed else self.bits) - 1

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"
