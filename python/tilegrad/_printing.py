"""How tensors print: PyTorch's layout, so that output can be compared line by line.

One format serves all elements of a tensor, chosen from its finite nonzero values: whole numbers
print as ``1.``, others with a fixed number of digits, values of very different size in scientific
notation. Large tensors show only the edges of each dimension.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import _C

__all__ = ["set_printoptions", "tensor_repr"]


class _Options:
    """A plain class: the module dataclasses alone is five percent of the package's import."""

    def __init__(self) -> None:
        self.precision = 4  # digits after the point
        self.threshold: float = 1000  # more elements than this are summarized
        self.edgeitems = 3  # shown at each end of a summarized dimension
        self.linewidth = 80
        self.sci_mode: bool | None = None  # None: decided by the values


_options = _Options()

# What a profile changes of the defaults.
_PROFILES: dict[str, dict[str, Any]] = {
    "default": {},
    "short": {"precision": 2, "edgeitems": 2},
    "full": {"threshold": math.inf},
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Sets how tensors print; what is not given stays.

    ``profile`` ('default', 'short', 'full') sets everything first. ``sci_mode`` forces scientific
    notation on or off; leaving it out lets the values decide. Raises ValueError for other profiles.
    """
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(
                "set_printoptions: argument 'profile': expected one of "
                f"{', '.join(_PROFILES)}, got {profile!r}"
            )
        _options.__dict__.update(vars(_Options()) | _PROFILES[profile])
    for name, value in {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }.items():
        if value is not None:
            setattr(_options, name, value)
    _options.sci_mode = sci_mode


def tensor_repr(tensor: Any) -> str:
    """``repr(tensor)``: the values, then whatever differs from a plain CPU tensor."""
    from .tensor import as_array

    array = as_array(tensor)
    prefix = "tensor("
    suffixes = []
    if tensor.device.type != "cpu":
        suffixes.append(f"device='{tensor.device}'")
    usual = [_C.get_default_dtype()]
    if array.size == 0:
        body = "[]"
        if array.ndim != 1:
            suffixes.append(f"size={tuple(array.shape)}")
    else:
        usual += [_C.int64, _C.boolean, _C.promote_types(_C.get_default_dtype(), _C.complex64)]
        summarize = array.size > _options.threshold
        shown = _edges(array) if summarize else array
        style = _ComplexStyle(shown) if array.dtype.kind == "c" else _Style(shown)
        body = _format_array(array, len(prefix), summarize, style)
    if tensor.dtype not in usual:
        suffixes.append(f"dtype={tensor.dtype}")
    if tensor.grad_fn is not None:
        suffixes.append(f"grad_fn=<{tensor.grad_fn.name()}>")
    elif tensor.requires_grad:
        suffixes.append("requires_grad=True")
    return _with_suffixes(prefix + body, suffixes, len(prefix))


class _Style:
    """The format and width that all elements of one tensor share."""

    def __init__(self, array: np.ndarray) -> None:
        self.floating = array.dtype.kind == "f"
        self.whole = True  # every finite value is an integer
        self.scientific = False
        self.width = 1
        values = array.reshape(-1)
        if self.floating:
            values = values[np.isfinite(values) & (values != 0)].astype(np.float64)
            if values.size == 0:
                return
            self._choose(values)
        self.width = max(len(self._plain(value)) for value in values.tolist())

    def _choose(self, values: np.ndarray) -> None:
        sizes = np.abs(values)
        smallest, largest = float(sizes.min()), float(sizes.max())
        self.whole = bool((values == np.ceil(values)).all())
        self.scientific = largest / smallest > 1000.0 or largest > 1.0e8
        if not self.whole:
            self.scientific = self.scientific or smallest < 1.0e-4
        if _options.sci_mode is not None:
            self.scientific = _options.sci_mode

    def _plain(self, value: Any) -> str:
        if not self.floating:
            return str(value)
        if self.scientific:
            return f"{value:.{_options.precision}e}"
        if self.whole:
            return f"{value:.0f}" + ("." if math.isfinite(value) else "")
        return f"{value:.{_options.precision}f}"

    def __call__(self, value: Any) -> str:
        return self._plain(value).rjust(self.width)


class _ComplexStyle:
    """The same for complex numbers: a format for each of the parts."""

    def __init__(self, array: np.ndarray) -> None:
        self.real, self.imag = _Style(array.real), _Style(array.imag)
        self.width = self.real.width + self.imag.width + 1

    def __call__(self, value: complex) -> str:
        imag = self.imag(value.imag).lstrip()
        sign = "" if imag[0] in "+-" else "+"
        return f"{self.real(value.real)}{sign}{imag}j"


def _edges(array: np.ndarray) -> np.ndarray:
    """The elements that a summary shows."""
    for axis, size in enumerate(array.shape):
        if size > 2 * _options.edgeitems:
            ends = [*range(_options.edgeitems), *range(size - _options.edgeitems, size)]
            array = array.take(ends, axis)
    return array


def _format_array(array: np.ndarray, indent: int, summarize: bool, style: Any) -> str:
    if array.ndim == 0:
        return style(array.item())
    edge = _options.edgeitems
    skip = summarize and len(array) > 2 * edge
    shown = [array[:edge], array[-edge:] if edge else array[:0]] if skip else [array]
    if array.ndim == 1:
        parts = [[style(value) for value in part.tolist()] for part in shown]
        return _wrap_vector(parts, indent, style)
    parts = [[_format_array(row, indent + 1, summarize, style) for row in part] for part in shown]
    rows = parts[0] + (["..."] + parts[1] if skip else [])
    return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(rows) + "]"


def _wrap_vector(parts: list, indent: int, style: Any) -> str:
    """One row of numbers, broken into lines of the allowed width."""
    values = parts[0] + ([" ...", *parts[1]] if len(parts) > 1 else [])
    per_line = max(1, (_options.linewidth - indent) // (style.width + 2))
    lines = [", ".join(values[i : i + per_line]) for i in range(0, len(values), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _with_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    """Appends each suffix to the last line, or to a new one where it would become too long."""
    used = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if used + len(suffix) + 2 > _options.linewidth:
            text += ",\n" + " " * indent + suffix
            used = indent + len(suffix)
        else:
            text += ", " + suffix
            used += len(suffix) + 2
    return text + ")"
