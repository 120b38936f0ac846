"""``InputSpec``: what a layer demands of its inputs, and the complaint where they differ."""

from __future__ import annotations

from typing import Any

__all__ = ["InputSpec", "check_input"]


class InputSpec:
    """Rank, shape, dtype and sizes along some axes (``{axis: size}``); None allows anything."""

    def __init__(
        self,
        dtype: Any = None,
        shape: Any = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: dict[int, int | None] | None = None,
        allow_last_axis_squeeze: bool = False,
        name: str | None = None,
        optional: bool = False,
    ) -> None:
        self.dtype = dtype
        self.shape = None if shape is None else tuple(shape)
        self.ndim = len(self.shape) if self.shape is not None else ndim
        self.max_ndim, self.min_ndim = max_ndim, min_ndim
        self.axes = {int(axis): size for axis, size in (axes or {}).items()}
        self.allow_last_axis_squeeze = allow_last_axis_squeeze
        self.name = name
        self.optional = optional

    def __repr__(self) -> str:
        shown = {k: v for k, v in vars(self).items() if v not in (None, {}, False)}
        return f"InputSpec({', '.join(f'{k}={v}' for k, v in shown.items())})"

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal one."""
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> InputSpec:
        """The specification of a configuration."""
        return cls(**config)


def _hint(rank: int, fewest: int | None, most: int | None) -> str:
    """What to do about an input with too few axes, or too many."""
    if fewest is not None and rank < fewest:
        return (
            ". The first axis is that of the samples, the last that of the channels or features: "
            "x[None] makes a batch of one sample, x[..., None] adds an axis of one channel"
        )
    return "" if most is None else ". Layers such as Flatten, Reshape or pooling give fewer axes"


def check_input(spec: InputSpec, shape: tuple, index: int, layer_name: str) -> None:
    """Raises ValueError unless ``shape``, with None for open sizes, is as ``spec`` demands."""
    rank = len(shape)
    start = f'Input {index} of layer "{layer_name}" is incompatible with the layer: '
    end = f". Full shape received: {tuple(shape)}"
    if spec.ndim is not None and rank != spec.ndim and not spec.allow_last_axis_squeeze:
        hint = _hint(rank, spec.ndim, spec.ndim)
        raise ValueError(f"{start}expected ndim={spec.ndim}, found ndim={rank}{end}{hint}")
    if spec.max_ndim is not None and rank > spec.max_ndim:
        hint = _hint(rank, None, spec.max_ndim)
        raise ValueError(f"{start}expected max_ndim={spec.max_ndim}, found ndim={rank}{end}{hint}")
    if spec.min_ndim is not None and rank < spec.min_ndim:
        hint = _hint(rank, spec.min_ndim, None)
        raise ValueError(f"{start}expected min_ndim={spec.min_ndim}, found ndim={rank}{end}{hint}")
    for axis, size in spec.axes.items():
        if size is not None and shape[axis] not in (size, None):
            raise ValueError(
                f"{start}expected axis {axis} of input shape to have value {size}, but received "
                f"input with shape {tuple(shape)}"
            )
    for wanted, actual in zip(spec.shape or (), shape, strict=False):
        if wanted is not None and actual is not None and wanted != actual:
            raise ValueError(f"{start}expected shape={spec.shape}, found shape={tuple(shape)}")
