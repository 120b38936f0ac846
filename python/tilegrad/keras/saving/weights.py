"""Weights in files: safetensors, in the order of ``model.weights``, with their paths as names."""

from __future__ import annotations

import os
import warnings
from typing import Any

import tilegrad as tg

from ...serialization.atomic import atomic_writer

__all__ = ["load_training_state", "load_weights", "save_training_state", "save_weights"]

_ENDINGS = (".weights.h5", ".safetensors")


def _codec() -> Any:
    from ...utils import safetensors

    return safetensors


def weights_as_bytes(model: Any, with_optimizer: bool, epoch: int | None = None) -> bytes:
    """The file's content: weights, and the state of the optimizer if there is one."""
    tensors = {
        f"{i}/{weight.path}": weight.detach().contiguous().clone()
        for i, weight in enumerate(model.weights)
    }
    optimizer = model.__dict__.get("optimizer")
    if with_optimizer and optimizer is not None and optimizer.built:
        for i, variable in enumerate(optimizer.variables):
            tensors[f"optimizer/{i}"] = variable.detach().clone()
    if epoch is not None:
        tensors["epoch"] = tg.scalar_tensor(epoch, dtype=tg.int64)
    return _codec().save(tensors, {"format": "keras"})


def put_weights(model: Any, tensors: dict[str, Any], skip_mismatch: bool, what: str) -> None:
    """Takes over the weights, and the optimizer's state if both have one.

    Raises ValueError for another number of weights and for other shapes.
    """
    found = sorted(
        (name for name in tensors if not name.startswith("optimizer/")),
        key=lambda name: int(name.split("/")[0]),
    )
    weights = model.weights
    if not weights and found:
        raise ValueError(
            f"Model '{model.name}' has no weights yet, so {what} cannot be loaded into it: build "
            "it "
            "first, by calling it on data or model.build(input_shape)"
        )
    if len(found) != len(weights) and not skip_mismatch:
        raise ValueError(
            f"{what} holds {len(found)} weights, but model '{model.name}' has {len(weights)}"
        )
    for name, weight in zip(found, weights, strict=False):
        value = tensors[name]
        if tuple(value.shape) == tuple(weight.shape):
            continue
        problem = (
            f"{what}: weight {name!r} has shape {tuple(value.shape)}, but {weight.path!r} of the "
            f"model has shape {tuple(weight.shape)}"
        )
        if not skip_mismatch:
            raise ValueError(problem)
        warnings.warn(problem + "; skipped", stacklevel=4)
    for name, weight in zip(found, weights, strict=False):
        if tuple(tensors[name].shape) == tuple(weight.shape):
            weight.assign(tensors[name].to(weight.dtype))
    state = {name[len("optimizer/") :]: x for name, x in tensors.items() if name[:9] == "optimizer"}
    optimizer = model.__dict__.get("optimizer")
    if state and optimizer is not None:
        if not optimizer.built:
            optimizer.build(model.trainable_weights)
        optimizer.load_own_variables(state)


def check_place(filepath: Any, overwrite: bool) -> str:
    """The path as text. Raises FileExistsError for a file that must stay."""
    path = os.fspath(filepath)
    if not overwrite and os.path.exists(path):
        raise FileExistsError(f"{path} exists already; pass overwrite=True to replace it")
    return path


def save_weights(
    model: Any, filepath: Any, overwrite: bool = True, max_shard_size: Any = None, **kwargs: Any
) -> None:
    """Writes the weights to a file whose name ends with ``.weights.h5``, as Keras wants it, or
    ``.safetensors``; the format is safetensors in both cases.

    Raises ValueError for another ending, for a model without weights and for ``max_shard_size``.
    """
    path = check_place(filepath, overwrite)
    if not path.endswith(_ENDINGS):
        raise ValueError(
            "The filename must end in `.weights.h5` (or `.safetensors`). Received: "
            f"filepath={filepath}"
        )
    if max_shard_size is not None:
        raise ValueError("save_weights: files are not split: max_shard_size is not supported")
    if not model.built:
        raise ValueError(f"Model '{model.name}' has no weights yet: build it or call it first")
    content = weights_as_bytes(model, False)
    with atomic_writer(path) as file:
        file.write(content)


def load_weights(model: Any, filepath: Any, skip_mismatch: bool = False, **kwargs: Any) -> None:
    """Takes over weights from a file of :func:`save_weights` or a whole ``.keras`` file.

    Raises ValueError for files of other kinds and for weights that do not fit.
    """
    path = os.fspath(filepath)
    with open(path, "rb") as file:
        start = file.read(8)
        if start[:4] == b"PK\x03\x04":
            from .archive import read_archive

            tensors = read_archive(path)[1]
            tensors = {name: x for name, x in tensors.items() if name[:10] != "optimizer/"}
        elif start == b"\x89HDF\r\n\x1a\n":
            raise ValueError(
                f"{path} is an HDF5 file, as Keras itself writes it; tilegrad reads safetensors. "
                "In "
                "Keras, hand the weights over with model.get_weights() and np.savez, and "
                "set_weights()"
            )
        else:
            tensors = _codec().load(start + file.read())
    put_weights(model, tensors, skip_mismatch, path)


def save_training_state(model: Any, path: str, epoch: int) -> None:
    """Writes weights, optimizer and the number of the last whole epoch."""
    content = weights_as_bytes(model, True, epoch)
    with atomic_writer(path) as file:
        file.write(content)


def load_training_state(model: Any, path: str) -> int:
    """Takes over what :func:`save_training_state` wrote; returns the number of the epoch."""
    with open(path, "rb") as file:
        tensors = _codec().load(file.read())
    epoch = int(tensors.pop("epoch").item())
    put_weights(model, tensors, False, path)
    return epoch
