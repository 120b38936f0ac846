"""``keras.layers``: all layers by name."""

from __future__ import annotations

from typing import Any

from ..registry import deserialize_keras_object, serialize_keras_object
from . import (
    activation,
    attention,
    audio,
    augmentation,
    bidirectional,
    categories,
    colors,
    conv_lstm,
    convolution,
    core,
    einsum_dense,
    merging,
    mixing,
    normalization,
    pipeline,
    pooling,
    preprocessing,
    random_augment,
    regularization,
    reshaping,
    rnn,
    rnn_cells,
    rnn_layers,
    text,
    torch_wrapper,
    transposed_convolution,
    wrapper,
)
from .activation import *  # noqa: F403
from .attention import *  # noqa: F403
from .audio import *  # noqa: F403
from .augmentation import *  # noqa: F403
from .bidirectional import *  # noqa: F403
from .categories import *  # noqa: F403
from .colors import *  # noqa: F403
from .conv_lstm import *  # noqa: F403
from .convolution import *  # noqa: F403
from .convolution import (
    Convolution1D,
    Convolution2D,
    Convolution3D,
    SeparableConvolution1D,
    SeparableConvolution2D,
)
from .core import *  # noqa: F403
from .core import Input
from .einsum_dense import *  # noqa: F403
from .input_spec import InputSpec
from .layer import Layer
from .merging import *  # noqa: F403
from .merging import (
    add,
    average,
    concatenate,
    dot,
    maximum,
    minimum,
    multiply,
    subtract,
)
from .mixing import *  # noqa: F403
from .normalization import *  # noqa: F403
from .pipeline import *  # noqa: F403
from .pooling import *  # noqa: F403
from .pooling import (
    AvgPool1D,
    AvgPool2D,
    AvgPool3D,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalAvgPool3D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    GlobalMaxPool3D,
    MaxPool1D,
    MaxPool2D,
    MaxPool3D,
)
from .preprocessing import *  # noqa: F403
from .random_augment import *  # noqa: F403
from .regularization import *  # noqa: F403
from .reshaping import *  # noqa: F403
from .rnn import *  # noqa: F403
from .rnn_cells import *  # noqa: F403
from .rnn_layers import *  # noqa: F403
from .text import *  # noqa: F403
from .torch_wrapper import *  # noqa: F403
from .transposed_convolution import *  # noqa: F403
from .transposed_convolution import (
    Convolution1DTranspose,
    Convolution2DTranspose,
    Convolution3DTranspose,
)
from .wrapper import *  # noqa: F403

__all__ = [
    "Input",
    "InputSpec",
    "Layer",
    "deserialize",
    "serialize",
    *activation.__all__,
    *attention.__all__,
    *augmentation.__all__,
    *bidirectional.__all__,
    *categories.__all__,
    *audio.__all__,
    *colors.__all__,
    *conv_lstm.__all__,
    *mixing.__all__,
    *convolution.__all__,
    *core.__all__,
    *einsum_dense.__all__,
    *merging.__all__,
    *normalization.__all__,
    *pipeline.__all__,
    *pooling.__all__,
    *preprocessing.__all__,
    *random_augment.__all__,
    *regularization.__all__,
    *reshaping.__all__,
    *rnn.__all__,
    *rnn_cells.__all__,
    *rnn_layers.__all__,
    *text.__all__,
    *torch_wrapper.__all__,
    *transposed_convolution.__all__,
    *wrapper.__all__,
]


def serialize(layer: Layer) -> Any:
    """The configuration that :func:`deserialize` takes."""
    return serialize_keras_object(layer)


def deserialize(config: Any, custom_objects: Any = None) -> Any:
    """The layer of a configuration. Raises TypeError for an unknown class."""
    return deserialize_keras_object(config, custom_objects)
