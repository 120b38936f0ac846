"""The names under which TF32 is allowed agree with each other, as PyTorch's do."""

from __future__ import annotations

import pytest
import torch

import tilegrad as tg
from support import check_error

STEPS = [
    ("matmul", "allow_tf32", True),
    ("matmul", "allow_tf32", False),
    ("matmul", "allow_tf32", True),
    ("set", "", "highest"),
    ("set", "", "high"),
    ("set", "", "medium"),
    ("set", "", "highest"),
    ("matmul", "fp32_precision", "none"),
    ("matmul", "fp32_precision", "ieee"),
    ("all", "fp32_precision", "ieee"),
    ("matmul", "fp32_precision", "none"),
]


@pytest.fixture(autouse=True)
def as_before():
    # Other tests import what freezes PyTorch's switches for the process.
    with getattr(torch.backends, "__allow_nonbracketed_mutation")():
        yield
        _reset()


def _reset():
    for m in (tg, torch):
        m.backends.fp32_precision = "none"
        m.set_float32_matmul_precision("highest")
        m.backends.cuda.matmul.fp32_precision = "none"


def test_names_agree():
    def run(m):
        places = {"matmul": m.backends.cuda.matmul, "all": m.backends}
        seen = []
        for place, name, value in [*STEPS]:
            if place == "set":
                m.set_float32_matmul_precision(value)
            else:
                setattr(places[place], name, value)
            matmul = m.backends.cuda.matmul
            seen.append((matmul.allow_tf32, m.get_float32_matmul_precision()))
            seen.append((matmul.fp32_precision, m.backends.fp32_precision))
        return seen

    assert run(tg) == run(torch)


def test_the_general_name_holds_where_nothing_was_said():
    matmul = tg.backends.cuda.matmul
    tg.backends.fp32_precision = "tf32"
    assert matmul.allow_tf32 and matmul.fp32_precision == "tf32"
    assert tg.get_float32_matmul_precision() == "high"
    matmul.fp32_precision = "ieee"
    assert not matmul.allow_tf32 and tg.get_float32_matmul_precision() == "highest"
    check_error(RuntimeError, "Unknown precision", lambda: setattr(matmul, "fp32_precision", "x"))
    assert matmul.fp32_precision == "ieee"
