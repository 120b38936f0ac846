"""Differences and areas: diff, gradient, trapezoid, cumulative_trapezoid.

All follow the PyTorch functions of the same names. Errors: IndexError for a dimension out of range,
RuntimeError for sizes that do not fit, TypeError for what is not a tensor.
"""

from __future__ import annotations

from typing import Any

from .. import _C
from ..tensor import Tensor
from ._register import composed_in_place, method, put_out, takes_tensors
from .compare import logical_xor
from .cumsum import cumsum
from .join import cat
from .scan import cumprod
from .view import _dim, slice_dim

__all__ = ["cumulative_trapezoid", "diff", "gradient", "trapezoid", "trapz"]


@method()
@takes_tensors
def diff(
    input: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None, *,
    out: Any = None,
) -> Any:  # fmt: skip
    """Differences of neighbours along ``dim``, ``n`` times over; of bools, where they differ.

    ``prepend`` and ``append`` are joined before the differences are taken. Raises RuntimeError for
    a scalar and a negative ``n``.
    """
    if input.ndim == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    at = _dim(dim, input.ndim, "diff")
    parts = [x for x in (prepend, input, append) if x is not None and (n or x is input)]
    for x in parts:
        if x.ndim != input.ndim:
            raise RuntimeError(
                "diff expects prepend or append to be the same dimension as input, got "
                f"{x.ndim} and {input.ndim}"
            )
    output = cat(parts, at) if len(parts) > 1 else input
    size = output.shape[at]
    if n == 0:
        output = output.clone()
    for _ in range(n):
        length = max(output.shape[at] - 1, 0)
        if length == 0 or output.shape[at] == 0:
            output = slice_dim(output, at, 0, 0, 1)
            break
        after, before = slice_dim(output, at, 1, length, 1), slice_dim(output, at, 0, length, 1)
        output = logical_xor(after, before) if size and _is_bool(output) else after - before
    return output if out is None else put_out(out, output)


def _is_bool(x: Any) -> bool:
    return x.dtype is _C.boolean


# --- areas ----------------------------------------------------------------------------------------


def _heights(y: Any, x: Any, dx: Any, dim: int, op: str) -> Any:
    """The area under each step along ``dim``, which is then the last dimension's."""
    if y.ndim == 0:
        raise IndexError(f"{op}: Dimension specified as {dim} but tensor has no dimensions")
    at = _dim(dim, y.ndim, op)
    length = max(y.shape[at] - 1, 0)
    sums = slice_dim(y, at, min(1, y.shape[at]), length, 1) + slice_dim(y, at, 0, length, 1)
    if x is None:
        return sums * (dx / 2)
    if x.ndim == 0:
        raise IndexError(f"{op}: Dimension specified as {dim} but tensor has no dimensions")
    if x.ndim == 1:
        if x.shape[0] != y.shape[at]:
            raise RuntimeError(
                f"{op}: There must be one `x` value for each sample point, got {x.shape[0]} and "
                f"{y.shape[at]}"
            )
        steps = diff(x)
        steps = steps.view([-1 if d == at else 1 for d in range(y.ndim)])
    else:
        steps = diff(x, dim=dim)
    return sums * steps / 2


@takes_tensors
def trapezoid(y: Any, x: Any = None, *, dx: Any = 1, dim: int = -1) -> Any:
    """The integral along ``dim`` by the trapezoidal rule, at positions ``x`` or ``dx`` apart.

    Raises RuntimeError for a number of positions that is not that of the values.
    """
    if isinstance(y, Tensor) and y.ndim and y.shape[_dim(dim, y.ndim, "trapezoid")] == 0:
        return y.sum(dim)
    return _heights(y, x, dx, dim, "trapezoid").sum(dim)


trapz = trapezoid


@takes_tensors
def cumulative_trapezoid(y: Any, x: Any = None, *, dx: Any = 1, dim: int = -1) -> Any:
    """The integral up to each position by the trapezoidal rule, with the errors of
    :func:`trapezoid`."""
    return _heights(y, x, dx, dim, "cumulative_trapezoid").cumsum(dim)


# --- slopes ---------------------------------------------------------------------------------------


@takes_tensors
def gradient(input: Any, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> tuple:
    """Slopes along each of ``dim`` by second-order central differences; one tensor for each.

    ``spacing``: a number for all, one per dimension, or a tensor of positions per dimension. At the
    edges one-sided differences of ``edge_order`` 1 or 2. Raises RuntimeError for too few elements
    and numbers of spacings that do not fit.
    """
    if edge_order not in (1, 2):
        raise RuntimeError(
            f"torch.gradient only supports edge_order=1 and edge_order=2, got {edge_order}"
        )
    if dim is None:
        count = len(spacing) if isinstance(spacing, (list, tuple)) else input.ndim
        dims = list(range(count)) if count != input.ndim else list(range(input.ndim))
    else:
        dims = [dim] if isinstance(dim, int) else list(dim)
    dims = [_dim(d, input.ndim, "gradient") for d in dims]
    if len(set(dims)) < len(dims):
        raise RuntimeError(f"dim {dims} appears multiple times in the list of dims")
    spacing = 1 if spacing is None else spacing
    many = isinstance(spacing, (list, tuple))
    spacings = list(spacing) if many else [spacing] * len(dims)
    if len(spacings) != len(dims):
        raise RuntimeError(
            "torch.gradient expected spacing to be unspecified, a scalar or to have a length equal "
            f"to the number of dimensions {len(dims)}, but got {len(spacings)}"
        )
    for d in dims:
        if input.shape[d] < edge_order + 1:
            raise RuntimeError(
                "torch.gradient expected each dimension size to be at least edge_order+1, got "
                f"{input.shape[d]}"
            )
    return tuple(_slopes(input, h, d, edge_order) for h, d in zip(spacings, dims, strict=True))


def _slopes(f: Any, spacing: Any, dim: int, edge_order: int) -> Any:
    n = f.shape[dim]

    def at(first: int, count: int) -> Any:
        return slice_dim(f, dim, first, count, 1)

    if not isinstance(spacing, Tensor) or spacing.ndim == 0:
        h = spacing
        middle = (at(2, n - 2) - at(0, n - 2)) / (2 * h)
        if edge_order == 1:
            first, last = (at(1, 1) - at(0, 1)) / h, (at(n - 1, 1) - at(n - 2, 1)) / h
        else:
            first = (-1.5 * at(0, 1) + 2 * at(1, 1) - 0.5 * at(2, 1)) / h
            last = (1.5 * at(n - 1, 1) - 2 * at(n - 2, 1) + 0.5 * at(n - 3, 1)) / h
        return cat([first, middle, last], dim)
    if spacing.shape != (n,):
        raise RuntimeError(
            f"torch.gradient expected spacing of {n} positions, but got {list(spacing.shape)}"
        )
    shape = [-1 if d == dim else 1 for d in range(f.ndim)]
    steps = diff(spacing)

    def step(i: int) -> Any:
        return steps[i]

    a, b = steps[:-1].view(shape), steps[1:].view(shape)
    middle = (
        -b / (a * (a + b)) * at(0, n - 2)
        + (b - a) / (a * b) * at(1, n - 2)
        + a / (b * (a + b)) * at(2, n - 2)
    )
    if edge_order == 1:
        first = (at(1, 1) - at(0, 1)) / step(0)
        last = (at(n - 1, 1) - at(n - 2, 1)) / step(-1)
    else:
        a, b = step(0), step(1)
        first = (
            -(2 * a + b) / (a * (a + b)) * at(0, 1)
            + (a + b) / (a * b) * at(1, 1)
            - a / (b * (a + b)) * at(2, 1)
        )
        a, b = step(-2), step(-1)
        last = (
            b / (a * (a + b)) * at(n - 3, 1)
            - (a + b) / (a * b) * at(n - 2, 1)
            + (2 * b + a) / (b * (a + b)) * at(n - 1, 1)
        )
    return cat([first, middle, last], dim)


for _op in (cumsum, cumprod):  # their in-place forms
    composed_in_place(_op)
