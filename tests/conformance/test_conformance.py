"""Every entry of PyTorch's databases passes, or is listed, with the reason, and fails.

``python tests/conformance/counts.py PATTERN`` prints what fails; see there and listing.py.
"""

from __future__ import annotations

import warnings

import pytest
import torch

pytest.importorskip("expecttest", reason="PyTorch's databases of operators need expecttest")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import counts
    import listing


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The samples are too small for more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("kind", "entry"),
    [(kind, entry) for kind, (entries, _) in counts.CHECKS.items() for entry in entries],
)
def test_entry(kind, entry):
    check = counts.CHECKS[kind][1]
    listing.hold_to_list(kind, entry, lambda: check(entry))


@pytest.mark.parametrize("name", listing.LISTS)
def test_lists_are_sorted_and_name_entries(name):
    entries = list(listing.read(name))
    assert entries == sorted(entries)
    assert not [key for key in entries if key[1] not in counts.CHECKS[key[0]][0]]


def test_no_entry_is_on_both_lists():
    first, second = (listing.read(name) for name in listing.LISTS)
    assert not first.keys() & second.keys()


def test_the_page_shows_the_counts():
    assert counts.PAGE.read_text() == counts.table()
