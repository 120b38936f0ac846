"""Pooling over one, two or three dimensions: the maximum or the average of every window.

Input is (N, C, L), (N, C, H, W) or (N, C, D, H, W), or the same without N, in float32 or float64;
the output keeps dimensions and dtype, with the last sizes reduced. Sizes given as one integer count
for all directions. All raise RuntimeError for other shapes and for windows that do not fit,
NotImplementedError for integer dtypes.

The gradient of an average is linear, and its own derivative is the average again; the gradient of a
maximum is a scatter, whose derivative is a gather. So derivatives of every order exist.
"""

from __future__ import annotations

from typing import Any

from .. import _C
from .._autocast import full_precision_on
from ..autograd.graph import needs_grad, record
from ._register import takes_tensors
from .index import gather

__all__ = [
    "adaptive_avg_pool1d",
    "avg_pool1d",
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool3d",
]


def max_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of every window of (N, C, L) or (C, L); see :func:`max_pool2d`."""
    windows = _windows("max_pool1d", 1, kernel_size, stride, padding, dilation, ceil_mode)
    return _maximum(input, windows, return_indices)


def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of every window; with ``return_indices`` also where in its plane it lies (int64).

    H' = (H + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1, rounded up instead with
    ``ceil_mode`` unless the last window would start in the padding. ``stride`` defaults to
    ``kernel_size``; padding counts as minus infinity and is at most half the kernel. NaN wins; of
    equal maxima the first one gets the gradient.

    (N, C, H, W) or (C, H, W), float32 or float64, which is kept. Raises RuntimeError for other
    shapes and windows that do not fit, NotImplementedError for other dtypes.
    """
    windows = _windows("max_pool2d", 2, kernel_size, stride, padding, dilation, ceil_mode)
    return _maximum(input, windows, return_indices)


@full_precision_on("cpu")
def max_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of every window of (N, C, D, H, W) or (C, D, H, W); see :func:`max_pool2d`."""
    windows = _windows("max_pool3d", 3, kernel_size, stride, padding, dilation, ceil_mode)
    return _maximum(input, windows, return_indices)


def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The maximum of windows that divide (N, C, L) or (C, L); see :func:`adaptive_max_pool2d`."""
    windows = _adaptive("adaptive_max_pool1d", 1, input, output_size)
    return _maximum(input, windows, return_indices)


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The maximum of windows that divide the input into ``output_size``; None keeps a size.

    Window i covers floor(i * H / H') up to ceil((i + 1) * H / H').

    (N, C, H, W) or (C, H, W), float32 or float64, which is kept. Raises RuntimeError for other
    shapes and windows that do not fit, NotImplementedError for other dtypes.
    """
    windows = _adaptive("adaptive_max_pool2d", 2, input, output_size)
    return _maximum(input, windows, return_indices)


@full_precision_on("cpu")
def adaptive_max_pool3d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The maximum of windows that divide (N, C, D, H, W); see :func:`adaptive_max_pool2d`."""
    windows = _adaptive("adaptive_max_pool3d", 3, input, output_size)
    return _maximum(input, windows, return_indices)


def max_pool1d_with_indices(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple:
    """:func:`max_pool1d` of (N, C, L) or (C, L): always the maxima and their places."""
    return max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool2d_with_indices(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple:
    """:func:`max_pool2d` of (N, C, H, W) or (C, H, W): always the maxima and their places."""
    return max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool3d_with_indices(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple:
    """:func:`max_pool3d` of (N, C, D, H, W) or (C, D, H, W): always the maxima and their places."""
    return max_pool3d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def adaptive_max_pool1d_with_indices(
    input: Any, output_size: Any, return_indices: bool = False
) -> tuple:
    """:func:`adaptive_max_pool1d`: always the maxima and their places (int64)."""
    return adaptive_max_pool1d(input, output_size, True)


def adaptive_max_pool2d_with_indices(
    input: Any, output_size: Any, return_indices: bool = False
) -> tuple:
    """:func:`adaptive_max_pool2d`: always the maxima and their places (int64)."""
    return adaptive_max_pool2d(input, output_size, True)


def adaptive_max_pool3d_with_indices(
    input: Any, output_size: Any, return_indices: bool = False
) -> tuple:
    """:func:`adaptive_max_pool3d`: always the maxima and their places (int64)."""
    return adaptive_max_pool3d(input, output_size, True)


def _windows(
    op: str,
    ndim: int,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> tuple:
    """What the bindings take as windows; they check all of it."""
    rule = (bool(ceil_mode), False, bool(count_include_pad))
    return (op, ndim, kernel, stride, padding, dilation, *rule, divisor)


@takes_tensors
def _adaptive(op: str, ndim: int, input: Any, output_size: Any) -> tuple:
    """The windows of an adaptive op, with the input's sizes for None."""
    if not isinstance(output_size, (tuple, list)):
        output_size = (output_size,) * ndim
    elif ndim > 1 and input.ndim <= len(output_size):
        raise ValueError(
            f"{op}: Input dimension should be at least {len(output_size) + 1}, got {input.ndim}"
        )
    if len(output_size) != ndim or input.ndim not in (ndim + 1, ndim + 2):
        raise RuntimeError(
            f"{op}: expected a {ndim + 1}D or {ndim + 2}D input and an output_size of {ndim} "
            f"sizes, got shape {tuple(input.shape)} and output_size {tuple(output_size)}"
        )
    kept = input.shape[-ndim:]
    size = tuple(k if size is None else size for size, k in zip(output_size, kept, strict=True))
    return (op, ndim, size, None, 0, 1, False, True, True, None)


def _maximum(input: Any, windows: tuple, return_indices: bool) -> Any:
    recorded = needs_grad(input)
    output, places = _C.max_pool(input, windows, return_indices or recorded)
    if recorded:
        record(output, max_pool_backward, (input,), (places, input.shape, windows))
    if not return_indices:
        return output
    return output, _indices(places, input.shape, windows)


def _indices(places: Any, shape: Any, windows: tuple) -> Any:
    """Where in their planes maxima lie (int64)."""
    if places.dtype is _C.int64:
        return places
    return _C.max_pool_indices(places, shape, windows)


def max_pool_backward(node: Any, grad: Any) -> Any:
    places, shape, windows = node.saved
    return _scatter(grad, places, shape, windows)


def _scatter(grad: Any, places: Any, shape: Any, windows: tuple) -> Any:
    """Zeros of ``shape``, plus every element of ``grad`` at its place."""
    output = _C.max_pool_backward(grad, places, shape, windows)
    if needs_grad(grad):
        record(output, max_pool_scatter_backward, (grad,), (places, shape, windows))
    return output


def max_pool_scatter_backward(node: Any, grad: Any) -> Any:
    places, shape, windows = node.saved
    indices = _indices(places, shape, windows)
    return gather(_flat(grad, windows[1]), -1, _flat(indices, windows[1])).reshape(places.shape)


def _count(sizes: Any) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product


def _flat(x: Any, ndim: int) -> Any:
    """The last ``ndim`` dimensions as one."""
    return x.reshape(*x.shape[:-ndim], _count(x.shape[-ndim:]))


def avg_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """The average of every window of (N, C, L) or (C, L); see :func:`avg_pool2d`."""
    rule = (stride, padding, 1, ceil_mode, count_include_pad)
    return _average(input, _windows("avg_pool1d", 1, kernel_size, *rule))


def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The sum of every window divided by its size; output sizes as in :func:`max_pool2d`.

    Padding counts as zeros, and towards the size unless ``count_include_pad`` is false.
    ``divisor_override`` divides by that number instead; RuntimeError if it is 0.

    (N, C, H, W) or (C, H, W), float32 or float64, which is kept. Raises RuntimeError for other
    shapes and windows that do not fit, NotImplementedError for other dtypes.
    """
    rule = (stride, padding, 1, ceil_mode, count_include_pad, divisor_override)
    return _average(input, _windows("avg_pool2d", 2, kernel_size, *rule))


@full_precision_on("cpu")
def avg_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The average of every window of (N, C, D, H, W) or (C, D, H, W); see :func:`avg_pool2d`."""
    rule = (stride, padding, 1, ceil_mode, count_include_pad, divisor_override)
    return _average(input, _windows("avg_pool3d", 3, kernel_size, *rule))


def adaptive_avg_pool1d(input: Any, output_size: Any) -> Any:
    """The average of windows that divide (N, C, L) or (C, L); see :func:`adaptive_avg_pool2d`."""
    return _average(input, _adaptive("adaptive_avg_pool1d", 1, input, output_size))


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """The average of windows that divide the input into ``output_size``; None keeps a size.

    Window i covers floor(i * H / H') up to ceil((i + 1) * H / H').

    (N, C, H, W) or (C, H, W), float32 or float64, which is kept. Raises RuntimeError for other
    shapes and windows that do not fit, NotImplementedError for other dtypes.
    """
    return _average(input, _adaptive("adaptive_avg_pool2d", 2, input, output_size))


@full_precision_on("cpu")
def adaptive_avg_pool3d(input: Any, output_size: Any) -> Any:
    """The average of windows that divide (N, C, D, H, W); see :func:`adaptive_avg_pool2d`."""
    return _average(input, _adaptive("adaptive_avg_pool3d", 3, input, output_size))


def _average(input: Any, windows: tuple) -> Any:
    output = _C.avg_pool(input, windows)
    if needs_grad(input):
        record(output, avg_pool_backward, (input,), (input.shape, windows))
    return output


def avg_pool_backward(node: Any, grad: Any) -> Any:
    shape, windows = node.saved
    output = _C.avg_pool_backward(grad, shape, windows)
    if needs_grad(grad):
        record(output, avg_pool_backward_backward, (grad,), (windows,))
    return output


def avg_pool_backward_backward(node: Any, grad: Any) -> Any:
    (windows,) = node.saved
    return _average(grad, windows)


def repeat_in_blocks(input: Any, steps: tuple) -> Any:
    """Every element as a block of ``steps`` elements along the last dimensions, one number for
    each: the transposed map of sums over such blocks."""
    ndim = len(steps)
    windows = _windows("interpolate", ndim, steps, None, 0, 1, False, True, 1)
    sizes = (n * step for n, step in zip(input.shape[-ndim:], steps, strict=True))
    output = _C.avg_pool_backward(input, (*input.shape[:-ndim], *sizes), windows)
    if needs_grad(input):
        record(output, avg_pool_backward_backward, (input,), (windows,))
    return output
