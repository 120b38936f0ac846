"""Rearrangements of images: sliding blocks (unfold, fold), pixel and channel shuffles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from .. import _C
from ..autograd.graph import needs_grad, record
from ..autograd.mode import no_grad
from ..ops._register import takes_tensors

__all__ = ["channel_shuffle", "fold", "pixel_shuffle", "pixel_unshuffle", "unfold"]


class _Blocks(NamedTuple):
    """Where blocks of ``kernel`` pixels lie in images of ``size``: pairs, vertical first."""

    size: tuple
    kernel: tuple
    dilation: tuple
    padding: tuple
    stride: tuple

    def counts(self) -> tuple[int, int]:
        """How many blocks there are below and beside each other; not positive if none fits."""
        first, second = (
            (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, dilation, padding, stride in zip(*self, strict=True)
        )
        return first, second


def _pair(op: str, name: str, value: Any, smallest: int) -> tuple:
    values = (value, value) if isinstance(value, int) else tuple(value)
    if len(values) == 1:
        values *= 2
    if len(values) != 2:
        raise RuntimeError(f"{op}: expected {name} of one size or two, got {value!r}")
    if not all(isinstance(size, int) for size in values):
        raise TypeError(f"{op}: argument '{name}' must be ints, got {value!r}")
    if min(values) < smallest:
        limit = "greater than zero" if smallest else "non-negative"
        raise RuntimeError(f"{op}: {name} should be {limit}, but got {values}")
    return values


def _blocks(op: str, size: tuple, options: tuple) -> _Blocks:
    names = (("kernel size", 1), ("dilation", 1), ("padding", 0), ("stride", 1))
    pairs = (_pair(op, name, value, low) for (name, low), value in zip(names, options, strict=True))
    blocks = _Blocks(size, *pairs)
    if min(blocks.counts()) < 1:
        raise RuntimeError(
            f"{op}: with spatial size {tuple(size)}, kernel_size={blocks.kernel}, "
            f"dilation={blocks.dilation}, padding={blocks.padding}, calculated shape of the array "
            f"of sliding blocks as {blocks.counts()}, but its components must be at least one."
        )
    return blocks


@takes_tensors
def unfold(
    input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Any:
    """The blocks that a kernel sees, as columns: what convolution multiplies with its filters.

    (N, C, H, W) -> (N, C * R * S, blocks) for a kernel of R x S, blocks in row-major order; the
    batch may be missing. Floating dtypes. All options are one integer or a pair.

    Raises RuntimeError for other shapes, sizes out of range and kernels that do not fit,
    NotImplementedError for integers.
    """
    if input.ndim == 3:
        return unfold(input.unsqueeze(0), kernel_size, dilation, padding, stride).squeeze(0)
    _check_floating("unfold", input)
    if input.ndim != 4 or 0 in input.shape[1:]:
        raise RuntimeError(
            "unfold: Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other "
            f"non-zero dimensions for input, but got: {list(input.shape)}"
        )
    options = (kernel_size, dilation, padding, stride)
    return _unfold(input, _blocks("unfold", tuple(input.shape[2:]), options))


@takes_tensors
def fold(
    input: Any,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Any:
    """Adds blocks up to images where :func:`unfold` would take them from: its gradient.

    (N, C * R * S, blocks) -> (N, C, *output_size); the batch may be missing. Floating dtypes. All
    options are one integer or a pair.

    Raises RuntimeError for other shapes and sizes out of range, NotImplementedError for integers.
    """
    if input.ndim == 2:
        options = (output_size, kernel_size, dilation, padding, stride)
        return fold(input.unsqueeze(0), *options).squeeze(0)
    _check_floating("fold", input)
    if input.ndim != 3 or 0 in input.shape[1:]:
        raise RuntimeError(
            "fold: Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and "
            f"non-zero dimensions for input, but got: {list(input.shape)}"
        )
    size = _pair("fold", "output size", output_size, 1)
    blocks = _blocks("fold", size, (kernel_size, dilation, padding, stride))
    rows, columns = blocks.counts()
    if input.shape[1] % (blocks.kernel[0] * blocks.kernel[1]):
        raise RuntimeError(
            "fold: Expected size of input's dimension 1 to be divisible by the product of "
            f"kernel_size, but got input.size(1)={input.shape[1]} and kernel_size={blocks.kernel}."
        )
    if input.shape[2] != rows * columns:
        raise RuntimeError(
            f"fold: Given output_size={size}, kernel_size={blocks.kernel}, "
            f"dilation={blocks.dilation}, padding={blocks.padding}, stride={blocks.stride}, "
            "expected size of input's dimension 2 to match the calculated number of sliding blocks "
            f"{rows} * {columns} = {rows * columns}, but got input.size(2)={input.shape[2]}."
        )
    return _fold(input, blocks)


def _check_floating(op: str, input: Any) -> None:
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f"{op}: not implemented for {input.dtype}")


def _frame(blocks: _Blocks) -> tuple:
    vertical, horizontal = blocks.padding
    return (horizontal, horizontal, vertical, vertical)


def _views(images: Any, blocks: _Blocks) -> Iterator[tuple]:
    """(row, column, the pixels which that tap of the kernel meets) in padded ``images``."""
    rows, columns = blocks.counts()
    for row in range(blocks.kernel[0]):
        y = row * blocks.dilation[0]
        lines = images[:, :, y : y + (rows - 1) * blocks.stride[0] + 1 : blocks.stride[0]]
        for column in range(blocks.kernel[1]):
            x = column * blocks.dilation[1]
            end = x + (columns - 1) * blocks.stride[1] + 1
            yield row, column, lines[:, :, :, x : end : blocks.stride[1]]


def _unfold(input: Any, blocks: _Blocks) -> Any:
    with no_grad():
        images = _C.pad(input, _frame(blocks), 0) if any(blocks.padding) else input.detach()
        batch, channels = input.shape[:2]
        output = input.new_empty(batch, channels, *blocks.kernel, *blocks.counts())
        for row, column, pixels in _views(images, blocks):
            output[:, :, row, column].copy_(pixels)
        output = output.flatten(4, 5).flatten(1, 3)
    if needs_grad(input):
        record(output, im2col_backward, (input,), (blocks,))
    return output


def im2col_backward(node: Any, grad: Any) -> Any:
    return _fold(grad, *node.saved)


def _fold(input: Any, blocks: _Blocks) -> Any:
    with no_grad():
        padded = [
            size + 2 * padding for size, padding in zip(blocks.size, blocks.padding, strict=True)
        ]
        values = input.detach().unflatten(2, blocks.counts()).unflatten(1, (-1, *blocks.kernel))
        images = input.new_zeros(*values.shape[:2], *padded)
        for row, column, pixels in _views(images, blocks):
            pixels.add_(values[:, :, row, column])
        output = images
        if any(blocks.padding):
            output = _C.pad(images, tuple(-size for size in _frame(blocks)), 0)
    if needs_grad(input):
        record(output, col2im_backward, (input,), (blocks,))
    return output


def col2im_backward(node: Any, grad: Any) -> Any:
    return _unfold(grad, *node.saved)


def _check_shuffle(op: str, input: Any, name: str, factor: Any) -> None:
    if not isinstance(factor, int):
        raise TypeError(f"{op}(): argument '{name}' must be int, not {type(factor).__name__}")
    if input.ndim < 3:
        raise RuntimeError(
            f"{op} expects input to have at least 3 dimensions, but got input with {input.ndim} "
            "dimension(s)"
        )
    if factor <= 0:
        raise RuntimeError(f"{op} expects a positive {name}, but got {factor}")


@takes_tensors
def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """(*, C * r * r, H, W) -> (*, C, H * r, W * r): channels become pixels, r = ``upscale_factor``.

    Any dtype. Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient
    Sub-Pixel Convolutional Neural Network" (2016). Raises RuntimeError for fewer than three
    dimensions, channels that r * r does not divide and a factor below 1.
    """
    _check_shuffle("pixel_shuffle", input, "upscale_factor", upscale_factor)
    channels, height, width = input.shape[-3:]
    if channels % upscale_factor**2:
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square "
            f"of upscale_factor, but input.size(-3)={channels} is not divisible by "
            f"{upscale_factor**2}"
        )
    lead, r, n = input.shape[:-3], upscale_factor, input.ndim - 3
    split = input.reshape(*lead, channels // r**2, r, r, height, width)
    split = split.permute(*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return split.reshape(*lead, channels // r**2, height * r, width * r)


@takes_tensors
def pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """(*, C, H * r, W * r) -> (*, C * r * r, H, W): the inverse of :func:`pixel_shuffle`.

    Any dtype. Raises RuntimeError for fewer than three dimensions, a height or width that
    ``downscale_factor`` does not divide and a factor below 1.
    """
    _check_shuffle("pixel_unshuffle", input, "downscale_factor", downscale_factor)
    channels, *sizes = input.shape[-3:]
    for name, dim, size in (("height", -2, sizes[0]), ("width", -1, sizes[1])):
        if size % downscale_factor:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but "
                f"input.size({dim})={size} is not divisible by {downscale_factor}"
            )
    lead, r, n = input.shape[:-3], downscale_factor, input.ndim - 3
    height, width = (size // r for size in sizes)
    split = input.reshape(*lead, channels, height, r, width, r)
    split = split.permute(*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return split.reshape(*lead, channels * r * r, height, width)


@takes_tensors
def channel_shuffle(input: Any, groups: int) -> Any:
    """(N, C, *): the channels as a table of ``groups`` rows, read by columns.

    Any dtype. Raises RuntimeError for fewer than three dimensions and channels that ``groups`` does
    not divide.
    """
    if input.ndim < 3 or groups <= 0 or input.shape[1] % groups:
        raise RuntimeError(
            "channel_shuffle expects at least 3 dimensions and a number of channels divisible by "
            f"groups, got shape {tuple(input.shape)} and groups={groups}"
        )
    return input.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)
