"""``keras.layers``: all layers by name."""

from __future__ import annotations

from . import (
    activation,
    convolution,
    core,
    merging,
    normalization,
    pooling,
    regularization,
    reshaping,
    transposed_convolution,
    wrapper,
)
from .activation import *  # noqa: F403
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
from .normalization import *  # noqa: F403
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
from .regularization import *  # noqa: F403
from .reshaping import *  # noqa: F403
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
    *activation.__all__,
    *convolution.__all__,
    *core.__all__,
    *merging.__all__,
    *normalization.__all__,
    *pooling.__all__,
    *regularization.__all__,
    *reshaping.__all__,
    *transposed_convolution.__all__,
    *wrapper.__all__,
]
