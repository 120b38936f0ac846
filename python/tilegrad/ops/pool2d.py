"""Two-dimensional pooling: the maximum or the average of every window.

Input is (N, C, H, W) or (C, H, W), float32 or float64; output has the same dimensions with H and W
reduced. Sizes given as one integer count for both directions. All raise RuntimeError for other
shapes and for windows that do not fit, NotImplementedError for integer dtypes.

The gradient of an average is linear, and its own derivative is the average again; the gradient of a
maximum is a scatter, whose derivative is a gather. So derivatives of every order exist.
"""

from __future__ import annotations

from typing import Any

from .. import _C
from ..autograd.graph import needs_grad, record
from ._register import takes_tensors

__all__ = ["max_pool2d"]


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
    stride = () if stride is None else stride
    output, indices = _C.max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode)
    return _finish_max(input, output, indices, return_indices)


@takes_tensors
def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The maximum of windows that divide the input into ``output_size``; None keeps a size.

    Window i covers floor(i * H / H') up to ceil((i + 1) * H / H').

    (N, C, H, W) or (C, H, W), float32 or float64, which is kept. Raises RuntimeError for other
    shapes and windows that do not fit, NotImplementedError for other dtypes.
    """
    size = _adaptive_size("adaptive_max_pool2d", input, output_size)
    output, indices = _C.adaptive_max_pool2d(input, size)
    return _finish_max(input, output, indices, return_indices)


def _finish_max(input: Any, output: Any, indices: Any, return_indices: bool) -> Any:
    if needs_grad(input):
        record(output, max_pool2d_backward, (input,), (indices, input.shape))
    return (output, indices) if return_indices else output


def max_pool2d_backward(node: Any, grad: Any) -> Any:
    indices, shape = node.saved
    return _scatter(grad, indices, shape)


def _scatter(grad: Any, indices: Any, shape: Any) -> Any:
    """Zeros of ``shape``, plus every element of ``grad`` at its index."""
    output = _C.max_pool2d_backward(grad, indices, shape)
    if needs_grad(grad):
        record(output, max_pool2d_scatter_backward, (grad,), (indices,))
    return output


def max_pool2d_scatter_backward(node: Any, grad: Any) -> Any:
    (indices,) = node.saved
    return _gather(grad, indices)


def _gather(input: Any, indices: Any) -> Any:
    output = _C.max_pool2d_gather(input, indices)
    if needs_grad(input):
        record(output, max_pool2d_backward, (input,), (indices, input.shape))
    return output


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
    stride = () if stride is None else stride
    windows = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _average(_C.avg_pool2d, _C.avg_pool2d_backward, input, windows)


@takes_tensors
def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """The average of windows that divide the input into ``output_size``; None keeps a size.

    Window i covers floor(i * H / H') up to ceil((i + 1) * H / H').

    (N, C, H, W) or (C, H, W), float32 or float64, which is kept. Raises RuntimeError for other
    shapes and windows that do not fit, NotImplementedError for other dtypes.
    """
    windows = (_adaptive_size("adaptive_avg_pool2d", input, output_size),)
    return _average(_C.adaptive_avg_pool2d, _C.adaptive_avg_pool2d_backward, input, windows)


def _average(forward: Any, backward: Any, input: Any, windows: tuple) -> Any:
    output = forward(input, *windows)
    if needs_grad(input):
        record(output, avg_pool2d_backward, (input,), (forward, backward, input.shape, windows))
    return output


def avg_pool2d_backward(node: Any, grad: Any) -> Any:
    forward, backward, shape, windows = node.saved
    output = backward(grad, shape, *windows)
    if needs_grad(grad):
        record(output, avg_pool2d_backward_backward, (grad,), (forward, backward, windows))
    return output


def avg_pool2d_backward_backward(node: Any, grad: Any) -> Any:
    forward, backward, windows = node.saved
    return _average(forward, backward, grad, windows)


def _adaptive_size(op: str, input: Any, output_size: Any) -> tuple:
    """``output_size`` as a pair, with the input's sizes for None."""
    if not isinstance(output_size, (tuple, list)):
        output_size = (output_size, output_size)
    if len(output_size) != 2 or input.ndim not in (3, 4):
        raise RuntimeError(
            f"{op}: expected a 3D or 4D input and an output_size of 2 sizes, got shape "
            f"{tuple(input.shape)} and output_size {tuple(output_size)}"
        )
    kept = input.shape[-2:]
    return tuple(k if size is None else size for size, k in zip(output_size, kept, strict=True))
