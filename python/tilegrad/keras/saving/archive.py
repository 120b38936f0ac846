"""Models in files: a zip archive of the configuration as JSON and the weights as safetensors.

Nothing in such a file is run: classes and functions are looked up among those that were registered.
"""

from __future__ import annotations

import datetime
import io
import json
import os
import zipfile
from typing import Any

from ...serialization.atomic import atomic_writer
from ..registry import deserialize_keras_object, serialize_keras_object
from .weights import _codec, check_place, put_weights, weights_as_bytes

__all__ = ["load_model", "save_model"]

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.safetensors"


def save_model(
    model: Any, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
) -> None:
    """Writes configuration, weights and the optimizer's state to a file ``.keras``.

    The file is replaced only when the new one is whole. Raises ValueError for another ending and
    for what has no configuration, FileExistsError without ``overwrite``.
    """
    include_optimizer = kwargs.pop("include_optimizer", True)
    if kwargs:
        raise ValueError(f"The following argument(s) are not supported: {list(kwargs)}")
    path = check_place(filepath, overwrite)
    if not path.endswith(".keras"):
        raise ValueError(
            "Invalid filepath extension for saving. Please add a `.keras` extension to the "
            "filename. "
            f"Received: filepath={filepath}."
        )
    if zipped is False:
        raise ValueError("save: models are written as one file: zipped=False is not supported")
    config = json.dumps(serialize_keras_object(model))
    from .. import __version__

    metadata = {
        "keras_version": __version__,
        "date_saved": datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S"),
        "backend": "tilegrad",
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(_METADATA, json.dumps(metadata))
        archive.writestr(_CONFIG, config)
        archive.writestr(_WEIGHTS, weights_as_bytes(model, include_optimizer))
    with atomic_writer(path) as file:
        file.write(content.getbuffer())


def read_archive(path: str) -> tuple[Any, dict[str, Any]]:
    """Configuration and tensors. Raises ValueError for a file that is no such archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "model.weights.h5" in names and _WEIGHTS not in names:
                raise ValueError(
                    f"{path} was written by Keras itself, with its weights in HDF5; tilegrad reads "
                    "safetensors. Hand the weights over with get_weights() and set_weights()."
                )
            config = json.loads(archive.read(_CONFIG))
            return config, _codec().load(archive.read(_WEIGHTS))
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"{path} is not a model saved by model.save(): {error}") from None


def load_model(
    filepath: Any, custom_objects: Any = None, compile: bool = True, safe_mode: bool = True
) -> Any:
    """The model of a file ``.keras``, compiled as it was unless told otherwise.

    Raises ValueError for a file that is missing or of another kind, TypeError for classes that are
    neither registered nor among ``custom_objects``.
    """
    path = os.fspath(filepath)
    if not os.path.isfile(path):
        raise ValueError(
            f"File not found: filepath={filepath}. Please ensure the file is an accessible "
            "`.keras` "
            "zip file."
        )
    config, tensors = read_archive(path)
    if not compile:
        config.pop("compile_config", None)
        tensors = {name: x for name, x in tensors.items() if not name.startswith("optimizer/")}
    model = deserialize_keras_object(config, custom_objects, safe_mode)
    put_weights(model, tensors, False, path)
    return model
