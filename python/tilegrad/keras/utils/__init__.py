"""``keras.utils``: encodings, padding, seeds, pictures of models."""

from __future__ import annotations

from ..naming import clear_session
from ..registry import (
    CustomObjectScope,
    custom_object_scope,
    deserialize_keras_object,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
    serialize_keras_object,
)
from .datasets import PyDataset, Sequence, split_dataset, timeseries_dataset_from_array
from .encoding import normalize, pad_sequences, to_categorical
from .plot_model import model_to_dot, plot_model
from .progress import Progbar
from .seeds import set_random_seed

__all__ = [
    "CustomObjectScope",
    "Progbar",
    "PyDataset",
    "Sequence",
    "clear_session",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "model_to_dot",
    "normalize",
    "pad_sequences",
    "plot_model",
    "register_keras_serializable",
    "serialize_keras_object",
    "set_random_seed",
    "split_dataset",
    "timeseries_dataset_from_array",
    "to_categorical",
]
