"""Every public name says what it does, and every function what it refuses."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from typing import Any

import pytest

import names
import tilegrad as tg

ROOMS = {
    "tg": tg,
    "Tensor": tg.Tensor,
    "nn": tg.nn,
    "nn.functional": tg.nn.functional,
    "nn.init": tg.nn.init,
    "optim": tg.optim,
    "autograd": tg.autograd,
    "utils.data": tg.utils.data,
    "cuda": tg.cuda,
    "datasets": tg.datasets,
    "linalg": tg.linalg,
    "special": tg.special,
}
# Questions and switches without arguments that could be wrong.
NOTHING_TO_REFUSE = {
    "config", "device_count", "empty_cache", "get_default_device", "get_rng_state",
    "get_worker_info", "initial_seed", "is_available", "is_grad_enabled",
    "is_inference_mode_enabled", "seed", "show_config",
}  # fmt: skip
STATEMENTS = ("Raises", "Error", "errors", "Never fails")


def public(room: Any) -> Iterator[tuple[str, Any]]:
    """What a room offers under ``__all__``, else all that is ours and not a module."""
    for name in getattr(room, "__all__", dir(room)):
        value = getattr(room, name)
        if name[0] == "_" or isinstance(value, types.ModuleType):
            continue
        owner = getattr(value, "__module__", None) or ""
        if owner.startswith("tilegrad") and owner != "tilegrad._C":
            yield name, value


def test_the_list_of_names_is_current():
    """If not: PYTHONPATH=python python tests/names.py"""
    assert names.PAGE.read_text() == names.page(), test_the_list_of_names_is_current.__doc__


@pytest.mark.parametrize("room", ROOMS)
def test_every_name_is_documented(room):
    found = list(public(ROOMS[room]))
    assert len(found) > 4
    assert not [name for name, value in found if not inspect.getdoc(value)]


def test_no_module_of_an_operation_leaks_into_the_top():
    found = {name for name, x in vars(tg).items() if isinstance(x, types.ModuleType)}
    wanted = {"autograd", "backends", "cuda", "ops", "utils"}
    asked_for = {  # imported when a test asked for them
        "accelerator", "amp", "compiler", "datasets", "distributed", "distributions", "fft", "func",
        "cpu", "hub", "jit", "keras", "linalg", "masked", "multiprocessing", "nn", "optim",
        "profiler", "random", "run", "serialization", "signal", "special", "storage", "testing",
        "types", "version",
    }  # fmt: skip
    names = {name for name in found if name[0] != "_"}
    assert wanted <= names <= wanted | asked_for


def test_public_members_of_classes_are_documented():
    classes = {value for room in ROOMS.values() for _, value in public(room)}
    classes = {value for value in classes if inspect.isclass(value)}
    silent = [
        f"{cls.__name__}.{name}"
        for cls in classes
        for name, member in vars(cls).items()
        if name[0] != "_"
        and (inspect.isfunction(member) or isinstance(member, property))
        and not inspect.getdoc(getattr(cls, name))
    ]
    assert len(classes) > 50 and not silent


@pytest.mark.parametrize(
    "room", ["tg", "nn.functional", "nn.init", "autograd", "utils.data", "datasets", "linalg"]
)
def test_functions_say_what_they_refuse(room):
    silent = [
        name
        for name, value in public(ROOMS[room])
        if inspect.isfunction(value)
        and name not in NOTHING_TO_REFUSE
        and not any(word in inspect.getdoc(value) for word in STATEMENTS)
        and ":func:" not in inspect.getdoc(value)  # which says it
    ]
    assert not silent
