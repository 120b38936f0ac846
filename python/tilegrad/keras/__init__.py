"""``tilegrad.keras``: Keras 3's names, defaults and behaviour, over ``tilegrad.nn``."""

from __future__ import annotations

from .._lazy import lazily as _lazily
from . import (
    activations,
    callbacks,
    config,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    models,
    ops,
    optimizers,
    random,
    regularizers,
    saving,
    tree,
    utils,
)
from .dtypes import DTypePolicy, dtype_policy, set_dtype_policy
from .dtypes import DTypePolicy as FloatDTypePolicy
from .initializers import Initializer
from .layers import Input, InputSpec, Layer
from .losses import Loss
from .metrics import Metric
from .models import Functional, Model, Sequential
from .naming import name_scope
from .optimizers import Optimizer
from .regularizers import Regularizer
from .symbolic import KerasTensor, Operation
from .variable import Variable

__version__ = "3.15.1"

# What is imported when it is first asked for: applications, datasets and other rooms.
__getattr__ = _lazily(__name__)


def version() -> str:
    """The version of Keras whose behaviour is followed."""
    return __version__
