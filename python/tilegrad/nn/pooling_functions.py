"""Pooling that combines other operations: power means, and the inverse of maximum pooling."""

from __future__ import annotations

from typing import Any

from .._autocast import full_precision_on
from ..ops._register import takes_tensors
from ..ops.activation import relu
from ..ops.fill import zeros
from ..ops.pool import avg_pool1d, avg_pool2d, avg_pool3d
from ..ops.scatter import scatter

__all__ = ["lp_pool1d", "lp_pool2d", "lp_pool3d", "max_unpool1d", "max_unpool2d", "max_unpool3d"]


def _tuple(value: Any, ndim: int) -> tuple:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * ndim


def _power_mean(pool: Any, ndim: int, input: Any, p: float, kernel: Any, *rest: Any) -> Any:
    if p == 0:
        raise ValueError(f"lp_pool{ndim}d: argument 'norm_type': must not be 0")
    count = 1
    for size in _tuple(kernel, ndim):
        count *= size
    mean = pool(input.pow(p), kernel, *rest)
    # An odd power leaves negative sums their sign, and the root of that is NaN, as in PyTorch.
    return (mean.sign() * relu(mean.abs()) * count).pow(1.0 / p)


@takes_tensors
def lp_pool1d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Any:
    """``sum(x ** norm_type) ** (1 / norm_type)`` over windows of (N, C, L) or (C, L).

    Floating dtypes, which are kept. ValueError for a ``norm_type`` of 0, else errors as in
    :func:`avg_pool1d`.
    """
    return _power_mean(avg_pool1d, 1, input, norm_type, kernel_size, stride, 0, ceil_mode)


@takes_tensors
def lp_pool2d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Any:
    """``sum(x ** norm_type) ** (1 / norm_type)`` over windows of (N, C, H, W) or (C, H, W).

    Floating dtypes, which are kept. ValueError for a ``norm_type`` of 0, else errors as in
    :func:`avg_pool2d`.
    """
    return _power_mean(avg_pool2d, 2, input, norm_type, kernel_size, stride, 0, ceil_mode)


@takes_tensors
def lp_pool3d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Any:
    """``sum(x ** norm_type) ** (1 / norm_type)`` over windows of (N, C, D, H, W) or (C, D, H, W).

    Floating dtypes, which are kept. ValueError for a ``norm_type`` of 0, else errors as in
    :func:`avg_pool3d`.
    """
    return _power_mean(avg_pool3d, 3, input, norm_type, kernel_size, stride, 0, ceil_mode)


def _unpooled_size(
    input: Any, kernel: tuple, stride: tuple, padding: tuple, output_size: Any
) -> list[int]:
    """The last sizes of the output: the default ones, or those wanted if they are near."""
    ndim = len(kernel)
    default = [
        (size - 1) * s + k - 2 * p
        for size, k, s, p in zip(input.shape[-ndim:], kernel, stride, padding, strict=True)
    ]
    if output_size is None:
        return default
    wanted = list(output_size)
    if len(wanted) == input.ndim:
        wanted = wanted[-ndim:]
    if len(wanted) != ndim:
        raise ValueError(
            f"output_size should be a sequence containing {ndim} or {input.ndim} elements, "
            f"but it has a length of '{len(wanted)}'"
        )
    for d in range(ndim):
        least, most = default[d] - stride[d], default[d] + stride[d]
        if not least < wanted[d] < most:
            raise ValueError(
                f'invalid output_size "{wanted}" (dim {d} must be between {least} and {most})'
            )
    return wanted


def _unpool(
    ndim: int,
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    output_size: Any,
) -> Any:
    op = f"max_unpool{ndim}d"
    if input.ndim not in (ndim + 1, ndim + 2):
        raise RuntimeError(
            f"{op}: expected a {ndim + 1}D or {ndim + 2}D input, got shape {tuple(input.shape)}"
        )
    if tuple(indices.shape) != tuple(input.shape):
        raise RuntimeError(
            f"{op}: Expected shape of indices to be: {tuple(input.shape)} but got: "
            f"{tuple(indices.shape)}"
        )
    kernel = _tuple(kernel_size, ndim)
    strides = kernel if stride is None or stride == [] else _tuple(stride, ndim)
    if len(kernel) != ndim or len(strides) != ndim or len(_tuple(padding, ndim)) != ndim:
        raise RuntimeError(f"{op}: kernel_size, stride and padding must have {ndim} elements")
    size = _unpooled_size(input, kernel, strides, _tuple(padding, ndim), output_size)
    leading, count = input.shape[:-ndim], 1
    for length in size:
        count *= length
    blank = zeros(*leading, count, dtype=input.dtype, device=input.device)
    flat = scatter(blank, -1, indices.reshape(*leading, -1), input.reshape(*leading, -1))
    return flat.reshape(*leading, *size)


@full_precision_on("cpu")
@takes_tensors
def max_unpool1d(
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Any:
    """Puts the maxima of :func:`max_pool1d` back to their places; all else is zero.

    ``indices`` are those of the pooling, whose windows the other arguments repeat. ``output_size``
    resolves which of the inputs that pool to this size is meant. Raises ValueError for an
    ``output_size`` that does not, RuntimeError for shapes and indices that do not fit.
    """
    return _unpool(1, input, indices, kernel_size, stride, padding, output_size)


@full_precision_on("cpu")
@takes_tensors
def max_unpool2d(
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Any:
    """Puts the maxima of :func:`max_pool2d` back to their places; see :func:`max_unpool1d`."""
    return _unpool(2, input, indices, kernel_size, stride, padding, output_size)


@full_precision_on("cpu")
@takes_tensors
def max_unpool3d(
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Any:
    """Puts the maxima of :func:`max_pool3d` back to their places; see :func:`max_unpool1d`."""
    return _unpool(3, input, indices, kernel_size, stride, padding, output_size)
