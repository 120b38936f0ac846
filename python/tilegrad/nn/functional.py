"""The functions behind the layers: ``torch.nn.functional``'s names, from ``tilegrad/ops``.

Defined here are only those that combine others.
"""

from __future__ import annotations

import warnings
from typing import Any

from .._autocast import lowered_on, widest_on
from ..ops._register import takes_tensors
from ..ops.activation import (
    celu,
    celu_,
    elu,
    gelu,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    logsigmoid,
    mish,
    relu,
    relu6,
    relu_,
    selu,
    selu_,
    sigmoid,
    silu,
    softplus,
    tanh,
)
from ..ops.attention import scaled_dot_product_attention
from ..ops.batchnorm import batch_norm
from ..ops.conv import conv1d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d
from ..ops.conv2d import conv2d
from ..ops.dropout import dropout, dropout1d, dropout2d, dropout3d, feature_dropout
from ..ops.embedding import embedding, embedding_bag, one_hot
from ..ops.grid_sample import affine_grid, grid_sample
from ..ops.group_norm import group_norm
from ..ops.layer_norm import layer_norm, rms_norm
from ..ops.matmul import linear
from ..ops.pad import pad
from ..ops.pool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool1d_with_indices,
    adaptive_max_pool2d,
    adaptive_max_pool2d_with_indices,
    adaptive_max_pool3d,
    adaptive_max_pool3d_with_indices,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    max_pool1d,
    max_pool1d_with_indices,
    max_pool2d,
    max_pool2d_with_indices,
    max_pool3d,
    max_pool3d_with_indices,
)
from ..ops.softmax import log_softmax as _log_softmax
from ..ops.softmax import softmax as _softmax
from ..ops.where import where
from .attention_functions import multi_head_attention_forward
from .ctc import ctc_loss
from .distance import cosine_similarity, normalize, pairwise_distance, pdist
from .fractional_pooling import (
    fractional_max_pool2d,
    fractional_max_pool2d_with_indices,
    fractional_max_pool3d,
    fractional_max_pool3d_with_indices,
)
from .interpolation import interpolate
from .linear_cross_entropy import linear_cross_entropy
from .loss_functions import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from .margin_losses import (
    cosine_embedding_loss,
    gaussian_nll_loss,
    hinge_embedding_loss,
    margin_ranking_loss,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    poisson_nll_loss,
    soft_margin_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from .normalization_functions import instance_norm, local_response_norm
from .pooling_functions import (
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
)
from .random_activations import (
    alpha_dropout,
    feature_alpha_dropout,
    gumbel_softmax,
    hardshrink,
    rrelu,
    rrelu_,
    softshrink,
)
from .sliding import channel_shuffle, fold, pixel_shuffle, pixel_unshuffle, unfold

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_with_indices",
    "affine_grid",
    "alpha_dropout",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "celu_",
    "channel_shuffle",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "ctc_loss",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "elu_",
    "embedding",
    "embedding_bag",
    "feature_alpha_dropout",
    "feature_dropout",
    "fold",
    "fractional_max_pool2d",
    "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "grid_sample",
    "group_norm",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "hinge_embedding_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "leaky_relu_",
    "linear",
    "linear_cross_entropy",
    "local_response_norm",
    "log_softmax",
    "logsigmoid",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "max_pool3d_with_indices",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "mish",
    "mse_loss",
    "multi_head_attention_forward",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pairwise_distance",
    "pdist",
    "pixel_shuffle",
    "pixel_unshuffle",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "rms_norm",
    "rrelu",
    "rrelu_",
    "scaled_dot_product_attention",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    "unfold",
    "upsample",
    "upsample_bilinear",
    "upsample_nearest",
]


def _dim_or_implicit(op: str, dim: int | None, ndim: int) -> int:
    """Without ``dim``, PyTorch's old choice, with its warning."""
    if dim is not None:
        return dim
    warnings.warn(
        f"Implicit dimension choice for {op} has been deprecated. Change the call to include dim=X "
        "as an argument.",
        stacklevel=4,
    )
    return 0 if ndim in (0, 1, 3) else 1


@takes_tensors
def softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """``exp(input) / sum(exp(input))`` along ``dim``; ``dtype`` converts the input first.

    ``input``: any shape, floating or converted by ``dtype``; the shape is kept. Without ``dim`` the
    old implicit choice is taken, with a warning. Raises IndexError for a dimension out of range,
    NotImplementedError for a dtype that is not floating, TypeError for what is not a tensor.
    """
    return _softmax(input, _dim_or_implicit("softmax", dim, input.ndim), dtype)


@takes_tensors
def softmin(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """``softmax(-input)`` along ``dim``.

    ``input``: any shape, floating or converted by ``dtype``; the shape is kept. Without ``dim`` the
    old implicit choice is taken, with a warning. Raises IndexError for a dimension out of range,
    NotImplementedError for a dtype that is not floating, TypeError for what is not a tensor.
    """
    return _softmax(-input, _dim_or_implicit("softmin", dim, input.ndim), dtype)


@takes_tensors
def log_softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """``input - log(sum(exp(input)))`` along ``dim``; ``dtype`` converts the input first.

    ``input``: any shape, floating or converted by ``dtype``; the shape is kept. Without ``dim`` the
    old implicit choice is taken, with a warning. Raises IndexError for a dimension out of range,
    NotImplementedError for a dtype that is not floating, TypeError for what is not a tensor.
    """
    return _log_softmax(input, _dim_or_implicit("log_softmax", dim, input.ndim), dtype)


@takes_tensors
def softsign(input: Any) -> Any:
    """``input / (1 + |input|)``.

    Any shape; floating dtypes are kept, others give the default dtype. Raises TypeError for what is
    not a tensor.
    """
    return input / (input.abs() + 1)


def tanhshrink(input: Any) -> Any:
    """``input - tanh(input)``.

    Any shape; floating dtypes are kept, others give the default dtype. Raises TypeError for what is
    not a tensor.
    """
    return input - tanh(input)


@takes_tensors
def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    """``input`` where it is above ``threshold``, ``value`` elsewhere.

    Any shape; the dtype is kept. Raises TypeError for what is not a tensor, RuntimeError for
    ``inplace`` on a leaf that requires grad.
    """
    above = input > threshold
    if inplace:
        return input.masked_fill_(~above, value)
    return input.masked_fill(~above, value)


@takes_tensors
@lowered_on(None)
def prelu(input: Any, weight: Any) -> Any:
    """``input`` where positive, else ``weight * input``; weight is one number or one per channel.

    Raises RuntimeError for another number of weights than channels.
    """
    if weight.ndim > 1:
        raise RuntimeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}"
        )
    if weight.numel() != 1:
        if input.ndim == 0:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = input.shape[1] if input.ndim > 1 else 1
        if weight.numel() != channels:
            raise RuntimeError(
                f"Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{weight.numel()} and channel size = {channels}."
            )
        weight = weight.reshape(-1, *(1,) * (input.ndim - 2))
    elif input.ndim == 0:
        weight = weight.reshape(())
    return where(input > 0, input, weight * input)


@takes_tensors
def glu(input: Any, dim: int = -1) -> Any:
    """``a * sigmoid(b)`` for the halves a and b along ``dim``. RuntimeError for an odd size."""
    if input.ndim == 0:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    size = input.shape[dim]
    if size % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {dim} is size {size}")
    first = input.narrow(dim, 0, size // 2)
    second = input.narrow(dim, size // 2, size // 2)
    return first * sigmoid(second)


@takes_tensors
@widest_on("cuda")
def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """``y[..., k] = input1 @ weight[k] @ input2 + bias[k]``.

    (*, n1), (*, n2), weight (outputs, n1, n2) -> (*, outputs).

    All of one floating dtype. Raises RuntimeError for leading sizes of the inputs that differ and
    for numbers of features that are not the weight's.
    """
    outputs, n1, n2 = weight.shape
    if input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            "bilinear(): input batch dimensions do not match: "
            f"got {list(input1.shape[:-1])} and {list(input2.shape[:-1])}"
        )
    if input1.shape[-1] != n1 or input2.shape[-1] != n2:
        raise RuntimeError(
            f"bilinear(): expected inputs of {n1} and {n2} features, "
            f"got {input1.shape[-1]} and {input2.shape[-1]}"
        )
    # (rows, n1) @ (n1, outputs * n2), then the rows of input2 against each output's n2 columns.
    rows = input1.reshape(-1, n1)
    left = rows @ weight.permute((1, 0, 2)).reshape(n1, outputs * n2)
    output = (left.reshape(-1, outputs, n2) * input2.reshape(-1, 1, n2)).sum(-1)
    output = output.reshape(*input1.shape[:-1], outputs)
    return output if bias is None else output + bias


def elu_(input: Any, alpha: float = 1.0) -> Any:
    """In-place form of :func:`elu`; returns ``input``."""
    return elu(input, alpha, True)


def hardtanh_(input: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """In-place form of :func:`hardtanh`; returns ``input``."""
    return hardtanh(input, min_val, max_val, True)


def leaky_relu_(input: Any, negative_slope: float = 0.01) -> Any:
    """In-place form of :func:`leaky_relu`; returns ``input``."""
    return leaky_relu(input, negative_slope, True)


def threshold_(input: Any, threshold: float, value: float) -> Any:
    """In-place form of :func:`threshold`; returns ``input``."""
    return _threshold(input, threshold, value, True)


_threshold = threshold


def upsample(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Any:
    """The old name of :func:`interpolate`, with a warning."""
    warnings.warn(
        "`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Any, size: Any = None, scale_factor: Any = None) -> Any:
    """The old name of :func:`interpolate` with mode "nearest", with a warning."""
    warnings.warn(
        "`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Any, size: Any = None, scale_factor: Any = None) -> Any:
    """The old name of :func:`interpolate` with mode "bilinear" and aligned corners, with a
    warning."""
    warnings.warn(
        "`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)
