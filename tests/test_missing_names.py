"""docs/missing.md names every public name of PyTorch that is missing, each with a reason."""

from __future__ import annotations

import pytest

import missing
from missing_reasons import REASONS


def test_the_list_of_missing_names_is_current():
    """If not: PYTHONPATH=python python tests/missing.py"""
    assert missing.PAGE.read_text() == missing.page(), (
        test_the_list_of_missing_names_is_current.__doc__
    )


def test_no_name_is_missing_without_a_reason():
    assert missing.sorted_by_reason()[1] == []


def test_no_reason_is_left_over():
    lacking = {room: missing.missing_names(room) for room in missing.ROOMS}
    unneeded = [
        f"{room}: {pattern}"
        for _, rooms in REASONS
        for room, patterns in rooms.items()
        for pattern in patterns.split()
        if not any(missing.fnmatchcase(name, pattern) for name in lacking[room])
    ]
    assert not unneeded


def test_a_name_that_is_there_is_not_listed():
    groups, _ = missing.sorted_by_reason()
    listed = {name for (_, room), names in groups.items() if room == "" for name in names}
    assert listed and "add" not in listed and "vmap" not in listed
    assert missing.reason_for("", "a_name_nobody_has") is None


@pytest.mark.parametrize("room", missing.ROOMS)
def test_rooms_have_names(room):
    if room not in ("backends", "backends.cudnn", "backends.mkldnn", "backends.openmp"):
        assert missing.names_of_torch(room)
