"""Normalizations that combine other operations."""

from __future__ import annotations

from typing import Any

from ..ops._register import takes_tensors
from ..ops.batchnorm import batch_norm
from ..ops.pool import avg_pool3d

__all__ = ["instance_norm", "local_response_norm"]


@takes_tensors
def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """``(input - mean) / sqrt(var + eps) * weight + bias``, with one mean and variance for each
    channel of each sample.

    Shapes: input (N, C, ...), all others (C), of its floating dtype. With ``use_input_stats``, mean
    and (biased) variance are those of the input, and ``running_mean`` and ``running_var``, unless
    None, move towards their averages over the batch by the share ``momentum``, the variance
    unbiased. Otherwise the running ones are used.

    Ulyanov, Vedaldi and Lempitsky, "Instance Normalization: The Missing Ingredient for Fast
    Stylization" (2016).

    Raises ValueError for a single value per channel, RuntimeError for sizes and dtypes that do not
    match or missing statistics, NotImplementedError for integers, TypeError for what is not a
    tensor.
    """
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise RuntimeError(
                "Expected running_mean and running_var to be defined when use_input_stats=False"
            )
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    if input.ndim < 2:
        raise RuntimeError(
            "instance_norm: expected at least 2 dimensions (batch, channels, ...), got shape "
            f"{tuple(input.shape)}"
        )
    batch, channels = input.shape[:2]
    if input.ndim < 3 or input.numel() == batch * channels > 0:
        raise ValueError(
            "Expected more than 1 spatial element when training, got input size "
            f"{tuple(input.shape)}"
        )
    for name, value in (
        ("running_mean", running_mean),
        ("running_var", running_var),
        ("weight", weight),
        ("bias", bias),
    ):
        if value is not None and tuple(value.shape) != (channels,):
            raise RuntimeError(
                f"instance_norm: {name} should contain {channels} elements, got shape "
                f"{tuple(value.shape)}"
            )
    # Each channel of each sample is a channel of a batch of one.
    mean, var, *affine = (
        None if x is None else x.repeat(batch) for x in (running_mean, running_var, weight, bias)
    )
    if batch == 0:
        return input.clone()
    instances = input.reshape(1, batch * channels, *input.shape[2:])
    output = batch_norm(instances, mean, var, affine[0], affine[1], True, momentum, eps)
    for running, moved in ((running_mean, mean), (running_var, var)):
        if running is not None and moved is not None:
            running.copy_(moved.reshape(batch, channels).mean(0))
    return output.reshape(input.shape)


@takes_tensors
def local_response_norm(
    input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Any:
    """``input / (k + alpha * average) ** beta``, with the average of the squares of ``size``
    neighbouring channels, where channels that do not exist count as zeros.

    Shapes: (N, C, ...) with at least three dimensions, floating. Krizhevsky, Sutskever and Hinton,
    "ImageNet Classification with Deep Convolutional Neural Networks" (2012).

    Raises ValueError for fewer dimensions, NotImplementedError for integers, TypeError for what is
    not a tensor.
    """
    if input.ndim < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality input (got {input.ndim} dimensions)"
        )
    if input.numel() == 0:
        return input
    # As volumes (batch, 1, channels, 1, length), with windows along the channels. One more channel
    # on the left for even sizes, whose window reaches farther back.
    batch, channels = input.shape[:2]
    squares = (input * input).reshape(batch, 1, channels, 1, -1)
    before = size // 2
    average = avg_pool3d(squares, (size, 1, 1), 1, (before, 0, 0)).narrow(2, 0, channels)
    return input / (average.reshape(input.shape) * alpha + k) ** beta
