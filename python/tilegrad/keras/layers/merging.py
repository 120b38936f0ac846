"""Layers that take several tensors: Add, Concatenate, Dot and their kin, also as functions."""

from __future__ import annotations

from typing import Any

import tilegrad as tg

from ..registry import own_module
from .layer import Layer

__all__ = [
    "Add",
    "Average",
    "Concatenate",
    "Dot",
    "Maximum",
    "Minimum",
    "Multiply",
    "Subtract",
]


class Merge(Layer):
    """The base class. Raises ValueError for what is no list of at least two tensors."""

    _count: int | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        listed = isinstance(input_shape, (list, tuple)) and all(
            isinstance(s, (list, tuple)) for s in input_shape
        )
        if not listed or not input_shape:
            raise ValueError(
                f"A merge layer such as {type(self).__name__} should be called on a list of "
                "inputs. "
                f"Received: input_shape={input_shape} (not a list of shapes)"
            )
        if self._count is not None and len(input_shape) != self._count:
            raise ValueError(
                f"A `{type(self).__name__}` layer should be called on exactly {self._count} "
                "inputs. "
                f"Received: input_shape={input_shape}"
            )

    def _merge(self, inputs: list) -> Any:
        raise NotImplementedError

    def call(self, inputs: Any) -> Any:
        return self._merge(_aligned(list(inputs)))

    def compute_output_shape(self, input_shape: Any) -> tuple:
        shapes = [tuple(s) for s in input_shape]
        made = shapes[0]
        for other in shapes[1:]:
            made = _broadcast(made, other, shapes)
        return made

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """True where any of the inputs is to be seen; None unless all have a mask."""
        masks = [m for m in mask or [] if m is not None]
        if not masks or len(masks) != len(inputs):
            return None
        made = masks[0]
        for other in masks[1:]:
            made = made | other
        return made

    _makes_masks = False


def _aligned(inputs: list) -> list:
    """Tensors of equal rank, with axes of size one put in behind the batch."""
    rank = max(x.ndim for x in inputs)
    return [x if x.ndim == rank else x.reshape(x.shape[0], *[1] * (rank - x.ndim), *x.shape[1:])
            for x in inputs]  # fmt: skip


def _broadcast(a: tuple, b: tuple, shapes: list) -> tuple:
    rank = max(len(a), len(b))
    a = (*a[:1], *[1] * (rank - len(a)), *a[1:])
    b = (*b[:1], *[1] * (rank - len(b)), *b[1:])
    made = []
    for m, n in zip(a, b, strict=True):
        if m == n or n == 1:
            made.append(m)
        elif m == 1:
            made.append(n)
        elif m is None or n is None:
            made.append(n if m is None else m)
        else:
            raise ValueError(
                "Inputs have incompatible shapes. Received shapes " + " and ".join(map(str, shapes))
            )
    return tuple(made)


class Add(Merge):
    """The sum of the inputs."""

    def _merge(self, inputs: list) -> Any:
        total = inputs[0]
        for x in inputs[1:]:
            total = total + x
        return total


class Subtract(Merge):
    """The first input minus the second."""

    _count = 2

    def _merge(self, inputs: list) -> Any:
        return inputs[0] - inputs[1]


class Multiply(Merge):
    """The product of the inputs."""

    def _merge(self, inputs: list) -> Any:
        total = inputs[0]
        for x in inputs[1:]:
            total = total * x
        return total


class Average(Add):
    """The mean of the inputs."""

    def _merge(self, inputs: list) -> Any:
        return super()._merge(inputs) / len(inputs)


class Maximum(Merge):
    """The largest of the inputs, element by element."""

    def _merge(self, inputs: list) -> Any:
        total = inputs[0]
        for x in inputs[1:]:
            total = tg.maximum(total, x)
        return total


class Minimum(Merge):
    """The smallest of the inputs, element by element."""

    def _merge(self, inputs: list) -> Any:
        total = inputs[0]
        for x in inputs[1:]:
            total = tg.minimum(total, x)
        return total


class Concatenate(Merge):
    """The inputs side by side along an axis. Raises ValueError for other sizes that differ."""

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, inputs: Any) -> Any:
        try:
            return tg.cat(list(inputs), dim=self.axis)
        except RuntimeError:
            self.compute_output_shape([x.shape for x in inputs])  # which says what does not fit
            raise

    def compute_output_shape(self, input_shape: Any) -> tuple:
        shapes = [tuple(s) for s in input_shape]
        axis = self.axis % len(shapes[0])
        made = list(shapes[0])
        for other in shapes[1:]:
            fits = len(other) == len(made) and all(
                i == axis or m == n or m is None or n is None
                for i, (m, n) in enumerate(zip(shapes[0], other, strict=False))
            )
            if not fits:
                raise ValueError(
                    "A `Concatenate` layer requires inputs with matching shapes except for the "
                    f"concatenation axis. Received: input_shape={shapes}"
                )
            made[axis] = None if None in (made[axis], other[axis]) else made[axis] + other[axis]
        return tuple(made)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The masks side by side, all True where an input has none."""
        if mask is None or all(m is None for m in mask):
            return None
        axis = self.axis % inputs[0].ndim
        parts = []
        for x, m in zip(inputs, mask, strict=True):
            m = tg.ones(x.shape[:2], dtype=tg.bool) if m is None else m
            while m.ndim <= axis and m.ndim < x.ndim:
                m = m.unsqueeze(-1)
            parts.append(m)
        if axis >= parts[0].ndim or (parts[0].shape[axis] == 1 and axis > 1):
            made = parts[0]
            for m in parts[1:]:
                made = made & m
            return made.reshape(made.shape[:2])
        return tg.cat(parts, dim=axis)

    _makes_masks = False

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}


class Dot(Merge):
    """Sums of products of two inputs along an axis of each, sample by sample.

    With ``normalize`` the vectors have norm 1 first: cosines. Raises ValueError for sizes that
    differ along those axes.
    """

    _count = 2

    def __init__(self, axes: Any, normalize: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axes = tuple(axes) if isinstance(axes, (list, tuple)) else axes
        self.normalize = normalize

    def _pair(self, first: int, second: int) -> tuple[int, int]:
        a, b = self.axes if isinstance(self.axes, tuple) else (self.axes, self.axes)
        return a % first, b % second

    def call(self, inputs: Any) -> Any:
        x, y = inputs
        a, b = self._pair(x.ndim, y.ndim)
        if self.normalize:
            x = x * tg.rsqrt((x * x).sum(a, keepdim=True).clamp(min=1e-12))
            y = y * tg.rsqrt((y * y).sum(b, keepdim=True).clamp(min=1e-12))
        left = tg.moveaxis(x, a, -1)
        right = tg.moveaxis(y, b, 1)
        head, tail = left.shape[1:-1], right.shape[2:]
        product = left.reshape(left.shape[0], -1, left.shape[-1]) @ right.reshape(
            right.shape[0], right.shape[1], -1
        )
        shape = (x.shape[0], *head, *tail)
        return product.reshape(shape if len(shape) > 1 else (x.shape[0], 1))

    def compute_output_shape(self, input_shape: Any) -> tuple:
        x, y = (tuple(s) for s in input_shape)
        a, b = self._pair(len(x), len(y))
        if None not in (x[a], y[b]) and x[a] != y[b]:
            raise ValueError(
                f"Incompatible input shapes: axis values {x[a]} (at axis {a}) != {y[b]} (at axis "
                f"{b})"
                f". Full input shapes: {x}, {y}"
            )
        made = (
            *(n for i, n in enumerate(x) if i != a),
            *(n for i, n in enumerate(y[1:], 1) if i != b),
        )
        return made if len(made) > 1 else (*made, 1)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """None."""
        return None

    _makes_masks = False

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axes": self.axes, "normalize": self.normalize}


def add(inputs: Any, **kwargs: Any) -> Any:
    """:class:`Add` as a function."""
    return Add(**kwargs)(inputs)


def subtract(inputs: Any, **kwargs: Any) -> Any:
    """:class:`Subtract` as a function."""
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Any, **kwargs: Any) -> Any:
    """:class:`Multiply` as a function."""
    return Multiply(**kwargs)(inputs)


def average(inputs: Any, **kwargs: Any) -> Any:
    """:class:`Average` as a function."""
    return Average(**kwargs)(inputs)


def maximum(inputs: Any, **kwargs: Any) -> Any:
    """:class:`Maximum` as a function."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Any, **kwargs: Any) -> Any:
    """:class:`Minimum` as a function."""
    return Minimum(**kwargs)(inputs)


def concatenate(inputs: Any, axis: int = -1, **kwargs: Any) -> Any:
    """:class:`Concatenate` as a function."""
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs: Any, axes: Any = -1, **kwargs: Any) -> Any:
    """:class:`Dot` as a function."""
    return Dot(axes=axes, **kwargs)(inputs)


own_module(globals())
