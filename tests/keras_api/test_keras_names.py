"""The public names of Keras: all are there but those that docs/keras.md lists."""

from __future__ import annotations

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
