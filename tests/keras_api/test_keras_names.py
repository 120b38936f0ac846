"""The public names of Keras and their arguments: all are there but what docs/keras.md lists."""

from __future__ import annotations

import inspect
import re
import types
from pathlib import Path

import pytest
from oracle import ours, theirs

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "keras.md").read_text()
ROOMS = [
    "", "layers", "ops", "ops.nn", "ops.linalg", "ops.image", "ops.numpy", "utils", "losses",
    "metrics", "callbacks", "optimizers", "optimizers.schedules", "initializers", "random",
    "activations", "regularizers", "constraints", "saving", "models", "config", "tree", "datasets",
    "dtype_policies", "mixed_precision", "backend", "preprocessing", "preprocessing.image",
    "preprocessing.sequence",
]  # fmt: skip


def room(keras, name):
    for part in filter(None, name.split(".")):
        keras = getattr(keras, part)
    return keras


def public(module):
    return {
        name
        for name in dir(module)
        if name[0] != "_" and not isinstance(getattr(module, name), types.ModuleType)
    }


def listed(name):
    """What the table of the page says is missing from a room, and that each line has a reason."""
    rows = re.findall(r"^\| (?:`([\w.]+)`)? ?\| (`.+`) \| (.+) \|$", PAGE, re.MULTILINE)
    assert rows and all(reason.strip() for _, _, reason in rows)
    return {n for where, names, _ in rows if where == name for n in re.findall(r"`(\w+)`", names)}


@pytest.mark.parametrize("name", ROOMS)
def test_what_is_missing_is_listed(name):
    here = room(ours, name)
    missing = {n for n in public(room(theirs, name)) if not hasattr(here, n)}
    assert missing == listed(name)


def test_rooms_that_are_missing_are_listed():
    rooms = {n for n in dir(theirs) if isinstance(getattr(theirs, n), types.ModuleType)}
    missing = {n for n in rooms if n[0] != "_" and not hasattr(ours, n)} - {"src", "legacy"}
    sentence = re.search(r"Whole rooms are missing: (.+?)\n\n|\Z", PAGE + "\n\n", re.DOTALL)
    assert missing == set(re.findall(r"`(\w+)`", sentence.group(1)))


# --- arguments ------------------------------------------------------------------------------------

# Arguments of Keras's that are not taken, or that have another default, on purpose: they belong to
# what docs/keras.md says is refused, or to Keras's own machinery.
MACHINERY = {
    "layout", "caller", "deduplicate", "override_parent", "gptq_unpacked_column_size", "args",
    "kwargs", "lora_rank", "lora_alpha", "quantization_config", "check_types", "none_is_leaf",
    "oov_method", "salt", "preferred_backend",
}  # fmt: skip
OTHERWISE = {
    "add_weight": {"aggregation"}, "add_variable": {"aggregation", "initializer"},
    "clip": {"x_min", "x_max"}, "multi_hot": {"num_classes"}, "StringLookup": {"oov_token"},
    "Operation": {"function"},
}  # fmt: skip
METHODS = {
    "Model": (
        "compile", "fit", "evaluate", "predict", "train_on_batch", "test_on_batch",
        "predict_on_batch", "compute_loss", "compute_metrics", "summary", "save", "save_weights",
        "load_weights", "get_layer", "train_step", "test_step", "predict_step",
    ),
    "Layer": ("add_weight", "add_loss", "set_weights", "stateless_call"),
    "Metric": ("update_state", "add_variable", "stateless_update_state"),
    "Optimizer": ("apply", "apply_gradients", "add_variable", "stateless_apply"),
}  # fmt: skip


def parameters(function):
    """Named parameters with their defaults, and whether any others are taken."""
    function = function.__init__ if isinstance(function, type) else function
    try:
        found = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    named = {p.name: p.default for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    named.pop("self", None)
    return named, any(p.kind is p.VAR_KEYWORD for p in found)


def plain(default):
    """A default in the form in which both write it: (2, 2) and 2 are the same for two axes."""
    while isinstance(default, tuple) and default and len(set(map(repr, default))) == 1:
        default = default[0]
    name = getattr(default, "__name__", None)
    return name if callable(default) and name and not isinstance(default, type) else default


def differences(label, there, here):
    theirs_, ours_ = parameters(there), parameters(here)
    if theirs_ is None or ours_ is None:
        return []
    found, skipped = [], MACHINERY | OTHERWISE.get(label.rpartition(".")[2], set())
    for name, default in theirs_[0].items():
        if name in skipped or name.startswith("_"):
            continue
        if name not in ours_[0]:
            if not ours_[1]:
                found.append(f"{label}: {name} is not taken")
        elif plain(default) != plain(ours_[0][name]):
            found.append(f"{label}: {name} is {ours_[0][name]!r}, not {default!r}")
    order = [name for name in theirs_[0] if name in ours_[0]]
    if order[:3] != [name for name in ours_[0] if name in theirs_[0]][:3]:
        found.append(f"{label}: other order: {order[:3]}")
    return found


@pytest.mark.parametrize("name", ROOMS)
def test_arguments_and_their_defaults_are_those_of_keras(name):
    there, here = room(theirs, name), room(ours, name)
    found = []
    for part in sorted(public(there)):
        if not hasattr(here, part) or not callable(getattr(there, part)):
            continue
        label = f"{name}.{part}".lstrip(".")
        found += differences(label, getattr(there, part), getattr(here, part))
        for method in METHODS.get(label, ()):
            pair = (getattr(getattr(k, part), method) for k in (theirs, ours))
            found += differences(f"{label}.{method}", *pair)
    assert found == []
