"""The default dtype: of Python floats, and of results of integers; a half, too."""

import pytest
import torch

import tilegrad as tg
from support import check_error

DTYPES = ["float16", "bfloat16", "float32", "float64"]


@pytest.fixture(params=DTYPES)
def default(request):
    """Both libraries with this default dtype."""
    for m in (tg, torch):
        m.set_default_dtype(getattr(m, request.param))
    yield request.param
    for m in (tg, torch):
        m.set_default_dtype(m.float32)


CASES = {
    "numbers": lambda m: m.tensor([1.5, 2.0]),
    "full": lambda m: m.full((2,), 1.5),
    "zeros": lambda m: m.zeros(2),
    "linspace": lambda m: m.linspace(0, 1, 5),
    "arange": lambda m: m.arange(0, 2, 0.5),
    "added": lambda m: m.arange(3) + 1.5,
    "divided": lambda m: m.arange(3) / 2,
    "function": lambda m: m.arange(3).sin(),
    "chosen": lambda m: m.where(m.tensor([True, False]), 1.0, 2.0),
    "sum of bools": lambda m: m.tensor([True, True]).sum() * 0.5,
    "kept float32": lambda m: m.ones(2, dtype=m.float32) * m.arange(2) + 0.1,
    "converted": lambda m: m.arange(3).float(),
    "float64 by its Python name": lambda m: m.ones(2).to(float),
    "parameters": lambda m: m.nn.Linear(2, 3).weight * 0,
    "layer": lambda m: m.nn.functional.linear(m.ones(1, 2), m.ones(3, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_dtypes_and_values(default, name):
    ours, theirs = CASES[name](tg), CASES[name](torch)
    assert str(ours.dtype).split(".")[1] == str(theirs.dtype).split(".")[1]
    assert ours.double().tolist() == theirs.double().tolist()
    assert str(tg.get_default_dtype()).endswith(default)
    assert str(tg.result_type(tg.arange(2), 0.5)).endswith(default)


def test_other_dtypes_are_refused():
    check_error(TypeError, "floating", lambda: tg.set_default_dtype(tg.int64))
