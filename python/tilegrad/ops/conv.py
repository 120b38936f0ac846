"""Convolutions in one and three dimensions, and transposed ones, by way of conv2d's kernels.

A signal is an image of height 1. A volume is a batch of images, one for each output depth, whose
channels are those of all the input slices that the output sees: conv2d then sums over depth as over
channels. A transposed convolution is the gradient of a convolution for its input. So all gradients
are convolutions again, and derivatives of every order exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .. import _C, _autocast
from ..autograd.graph import needs_grad, record
from ..autograd.mode import no_grad
from ._register import takes_tensors
from .conv2d import bias_gradient, conv2d, conv2d_grad_weight
from .join import cat

__all__ = ["conv1d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]


@takes_tensors
def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Every filter of ``weight`` slid over the signals of ``input`` (a cross-correlation).

    Shapes: input (N, C, L) or (C, L), weight (K, C / groups, R), bias (K) -> output (N, K, L') with
    L' = (L + 2 * padding - dilation * (R - 1) - 1) // stride + 1. Options and errors are those of
    :func:`conv2d`, with one number instead of two.
    """
    if _autocast.enabled and _autocast.is_on():
        return _autocast.lower(conv1d, input, weight, bias, stride, padding, dilation, groups)
    if input.ndim == 2:
        return conv1d(input.unsqueeze(0), weight, bias, stride, padding, dilation, groups)[0]
    stride, padding, dilation, _ = _C.conv_sizes(
        "conv1d", 1, input, weight, bias, stride, padding, dilation, groups
    )
    padding = padding if padding == "same" else (0, *padding)
    image, filters = input.unsqueeze(2), weight.unsqueeze(2)
    return conv2d(image, filters, bias, (1, *stride), padding, (1, *dilation), groups).squeeze(2)


@takes_tensors
def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Every filter of ``weight`` slid over the volumes of ``input`` (a cross-correlation).

    Shapes: input (N, C, D, H, W) or (C, D, H, W), weight (K, C / groups, T, R, S), bias (K) ->
    output (N, K, D', H', W'). Options, sizes and errors are those of :func:`conv2d`, with three
    numbers (depth, vertical, horizontal) instead of two.
    """
    if _autocast.enabled and _autocast.is_on():
        return _autocast.lower(conv3d, input, weight, bias, stride, padding, dilation, groups)
    if input.ndim == 4:
        return conv3d(input.unsqueeze(0), weight, bias, stride, padding, dilation, groups)[0]
    *options, size = _C.conv_sizes(
        "conv3d", 3, input, weight, bias, stride, padding, dilation, groups
    )
    return _conv3d(input, weight, bias, (*options, groups), size)


def _conv3d(input: Any, weight: Any, bias: Any, options: tuple, size: tuple) -> Any:
    output = _Depth(input.shape, weight.shape, options, size).forward(input, weight, bias)
    if needs_grad(input, weight, bias):
        record(output, conv3d_backward, (input, weight, bias), (input, weight, options))
    return output


def conv3d_backward(node: Any, grad: Any) -> tuple:
    input, weight, options = node.saved
    return (
        conv3d_grad_input(grad, weight, input.shape, options) if node.needs(0) else None,
        conv3d_grad_weight(grad, input, weight.shape, options) if node.needs(1) else None,
        bias_gradient(grad, weight) if node.needs(2) else None,
    )


def conv3d_grad_input(grad_output: Any, weight: Any, input_shape: Any, options: tuple) -> Any:
    """The gradient for ``input``: a transposed convolution of ``grad_output``."""
    depth = _Depth(input_shape, weight.shape, options, grad_output.shape[2:])
    output = depth.grad_input(grad_output, weight)
    if needs_grad(grad_output, weight):
        inputs = (grad_output, weight)
        record(output, conv3d_grad_input_backward, inputs, (grad_output, weight, options))
    return output


def conv3d_grad_input_backward(node: Any, grad: Any) -> tuple:
    grad_output, weight, options = node.saved
    return (
        _conv3d(grad, weight, None, options, grad_output.shape[2:]) if node.needs(0) else None,
        conv3d_grad_weight(grad_output, grad, weight.shape, options) if node.needs(1) else None,
    )


def conv3d_grad_weight(grad_output: Any, input: Any, weight_shape: Any, options: tuple) -> Any:
    """The gradient for ``weight``: ``input`` convolved with ``grad_output``, summed over N."""
    depth = _Depth(input.shape, weight_shape, options, grad_output.shape[2:])
    output = depth.grad_weight(grad_output, input)
    if needs_grad(grad_output, input):
        inputs = (grad_output, input)
        record(output, conv3d_grad_weight_backward, inputs, (grad_output, input, options))
    return output


def conv3d_grad_weight_backward(node: Any, grad: Any) -> tuple:
    grad_output, input, options = node.saved
    return (
        _conv3d(input, grad, None, options, grad_output.shape[2:]) if node.needs(0) else None,
        conv3d_grad_input(grad_output, grad, input.shape, options) if node.needs(1) else None,
    )


class _Depth:
    """A three-dimensional convolution as two-dimensional ones of some output slices at a time.

    ``stacked`` are the inputs of these slices: images of T * C channels, the tap the slower index
    within a group. Its size is bounded, whatever the volumes' size.
    """

    STACKED = 1 << 21  # elements

    def __init__(self, input_shape: Any, weight_shape: Any, options: tuple, size: Any) -> None:
        stride, padding, dilation, self.groups = options
        self.input_shape, self.weight_shape = tuple(input_shape), tuple(weight_shape)
        self.depth, self.plane = size[0], tuple(size[1:])
        self.taps, self.stride, self.dilation = weight_shape[2], stride[0], dilation[0]
        same = padding == "same"
        self.padding = self.dilation * (self.taps - 1) // 2 if same else padding[0]
        plane_padding = "same" if same else padding[1:]
        self.options = (stride[1:], plane_padding, dilation[1:], self.groups)
        filters, channels, _, *kernel = self.weight_shape
        self.filters_shape = (filters, self.taps * channels, *kernel)

    def runs(self) -> Iterator[tuple[int, int, int, int]]:
        """(first volume, volumes, first output slice, slices) of each piece of the work."""
        batch, channels, _, height, width = self.input_shape
        slices = max(1, self.STACKED // max(self.taps * channels * height * width, 1))
        volumes = max(1, slices // max(self.depth, 1))
        for first in range(0, batch, volumes):
            for start in range(0, self.depth, slices):
                yield (
                    first,
                    min(volumes, batch - first),
                    start,
                    min(slices, self.depth - start),
                )

    def stacked_shape(self, volumes: int, slices: int) -> tuple:
        channels = self.weight_shape[1]
        return (volumes, slices, self.groups, self.taps, channels, *self.input_shape[3:])

    def pairs(self, input: Any, stacked: Any, first: int, start: int) -> Iterator[tuple]:
        """Per tap: the input slices that it meets, and their places in ``stacked``, as views."""
        volumes, slices = stacked.shape[:2]
        input = input.narrow(0, first, volumes).unflatten(1, (self.groups, -1))
        input = input.permute(0, 3, 1, 2, 4, 5)
        for tap in range(self.taps):
            shift = start * self.stride + tap * self.dilation - self.padding
            low = max(0, -(shift // self.stride))  # the first slice that lies inside
            high = min(slices, (self.input_shape[2] - 1 - shift) // self.stride + 1)
            if low < high:
                begin = shift + low * self.stride
                end = begin + (high - low - 1) * self.stride + 1
                yield input[:, begin : end : self.stride], stacked[:, low:high, :, tap]

    def stack(self, input: Any, first: int, volumes: int, start: int, slices: int) -> Any:
        stacked = input.new_zeros(self.stacked_shape(volumes, slices))
        for source, target in self.pairs(input, stacked, first, start):
            target.copy_(source)
        return stacked.flatten(2, 4).flatten(0, 1)

    def filters(self, weight: Any) -> Any:
        return weight.transpose(1, 2).reshape(self.filters_shape)

    def outputs(self, output: Any, first: int, volumes: int, start: int, slices: int) -> Any:
        """The slices of an output, as a view (volumes, slices, channels, height, width)."""
        return output.narrow(0, first, volumes).narrow(2, start, slices).transpose(1, 2)

    def forward(self, input: Any, weight: Any, bias: Any) -> Any:
        with no_grad():
            filters = self.weight_shape[0] if self.weight_shape[1] > 0 else 0  # as conv2d
            shape = (self.input_shape[0], filters, self.depth, *self.plane)
            output, filters = input.new_empty(shape), self.filters(weight)
            for run in self.runs():
                images = _C.conv2d(self.stack(input, *run), filters, bias, *self.options)
                self.outputs(output, *run).copy_(images.unflatten(0, (run[1], run[3])))
        return output

    def grad_input(self, grad: Any, weight: Any) -> Any:
        with no_grad():
            output, filters = grad.new_zeros(self.input_shape), self.filters(weight)
            for run in self.runs():
                first, volumes, start, slices = run
                stacked_shape = self.stacked_shape(volumes, slices)
                shape = (volumes * slices, self.groups * self.filters_shape[1], *stacked_shape[5:])
                images = self.outputs(grad, *run).flatten(0, 1)
                stacked = _C.conv2d_grad_input(images, filters, shape, *self.options)
                stacked = stacked.reshape(stacked_shape)
                for target, source in self.pairs(output, stacked, first, start):
                    target.add_(source)
        return output

    def grad_weight(self, grad: Any, input: Any) -> Any:
        with no_grad():
            total = grad.new_zeros(self.filters_shape)
            for run in self.runs():
                images = self.outputs(grad, *run).flatten(0, 1)
                stacked = self.stack(input, *run)
                total.add_(
                    _C.conv2d_grad_weight(images, stacked, self.filters_shape, *self.options)
                )
            total = total.unflatten(1, (self.taps, -1)).transpose(1, 2)
        return total.contiguous()


@takes_tensors
def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """The gradient of :func:`conv1d` for its input, as an operation of its own.

    Shapes: input (N, C, L) or (C, L), weight (C, K / groups, R), bias (K) -> output (N, K, L').
    Options, sizes and errors are those of :func:`conv_transpose2d`, with one number instead of two.
    """
    if _autocast.enabled and _autocast.is_on():
        return _autocast.lower(
            conv_transpose1d, input, weight, bias, stride, padding, output_padding, groups, dilation
        )
    if input.ndim == 2:
        input = input.unsqueeze(0)
        options: tuple = (stride, padding, output_padding, groups, dilation)
        return conv_transpose1d(input, weight, bias, *options)[0]
    stride, padding, dilation, size, missing = _C.conv_transpose_sizes(
        "conv_transpose1d",
        1,
        input,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        dilation,
        groups,
    )
    options = ((1, *stride), (0, *padding), (1, *dilation), groups)
    image, filters = _extend(input, missing).unsqueeze(2), weight.unsqueeze(2)
    return _transposed2d(image, filters, bias, options, (1, *size)).squeeze(2)


@takes_tensors
def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """The gradient of :func:`conv2d` for its input, as an operation of its own: every element of
    the input spreads the filters of its channel, ``stride`` apart.

    Shapes: input (N, C, H, W) or (C, H, W), weight (C, K / groups, R, S), bias (K) -> output
    (N, K, H', W') with H' = (H - 1) * stride - 2 * padding + dilation * (R - 1) + output_padding
    + 1. All of one floating dtype. ``output_padding`` chooses among the sizes that a convolution
    with this stride shrinks to H; it is smaller than the stride or the dilation.

    Raises RuntimeError for shapes and dtypes that do not match, a stride, dilation or groups below
    1, negative padding and an output without elements; NotImplementedError for integers.
    """
    if _autocast.enabled and _autocast.is_on():
        return _autocast.lower(
            conv_transpose2d, input, weight, bias, stride, padding, output_padding, groups, dilation
        )
    if input.ndim == 3:
        input = input.unsqueeze(0)
        options = (stride, padding, output_padding, groups, dilation)
        return conv_transpose2d(input, weight, bias, *options)[0]
    *options, size, missing = _C.conv_transpose_sizes(
        "conv_transpose2d",
        2,
        input,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        dilation,
        groups,
    )
    return _transposed2d(_extend(input, missing), weight, bias, (*options, groups), size)


@takes_tensors
def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """The gradient of :func:`conv3d` for its input, as an operation of its own.

    Shapes: input (N, C, D, H, W) or (C, D, H, W), weight (C, K / groups, T, R, S), bias (K) ->
    output (N, K, D', H', W'). Options, sizes and errors are those of :func:`conv_transpose2d`, with
    three numbers instead of two.
    """
    if _autocast.enabled and _autocast.is_on():
        return _autocast.lower(
            conv_transpose3d, input, weight, bias, stride, padding, output_padding, groups, dilation
        )
    if input.ndim == 4:
        input = input.unsqueeze(0)
        options = (stride, padding, output_padding, groups, dilation)
        return conv_transpose3d(input, weight, bias, *options)[0]
    *options, size, missing = _C.conv_transpose_sizes(
        "conv_transpose3d",
        3,
        input,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        dilation,
        groups,
    )
    input = _extend(input, missing)
    shape = (input.shape[0], weight.shape[1] * groups, *size)
    output = conv3d_grad_input(input, weight, shape, (*options, groups))
    return output if bias is None else output + bias.reshape(-1, 1, 1, 1)


def _extend(input: Any, missing: tuple) -> Any:
    """``input`` with zeros behind its end: so many in each spatial dimension."""
    for dim, count in enumerate(missing, 2):
        if count > 0:
            shape = (*input.shape[:dim], count, *input.shape[dim + 1 :])
            input = cat((input, input.new_zeros(shape)), dim)
    return input


def _transposed2d(input: Any, weight: Any, bias: Any, options: tuple, size: tuple) -> Any:
    shape = (input.shape[0], weight.shape[1] * options[3], *size)
    output = _C.conv2d_grad_input(input, weight, shape, *options)
    if bias is not None:
        _C.add_(output, bias.detach().reshape(-1, 1, 1))
    if needs_grad(input, weight, bias):
        inputs = (input, weight, bias)
        record(output, conv_transpose2d_backward, inputs, (input, weight, options))
    return output


def conv_transpose2d_backward(node: Any, grad: Any) -> tuple:
    input, weight, options = node.saved
    return (
        conv2d(grad, weight, None, *options) if node.needs(0) else None,
        conv2d_grad_weight(input, grad, weight.shape, options) if node.needs(1) else None,
        grad.sum((0, 2, 3)) if node.needs(2) else None,
    )
