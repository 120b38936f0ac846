"""``tilegrad.testing`` beside PyTorch's: what is close, and what is said where it is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check, check_error

CLOSE = [
    lambda m: (m.tensor([1.0, 2.0]), m.tensor([1.0, 2.0 + 1e-6])),
    lambda m: (m.tensor([1, 2]), m.tensor([1, 2])),
    lambda m: (1.0, 1.0 + 1e-9),
    lambda m: ([m.ones(2), 3], [m.ones(2), 3]),
    lambda m: ({"a": m.ones(2), "b": (True, None)}, {"b": (True, None), "a": m.ones(2)}),
    lambda m: (np.ones(2), np.ones(2)),
    lambda m: (m.tensor([float("inf"), -float("inf")]), m.tensor([float("inf"), -float("inf")])),
    lambda m: (m.tensor(1 + 2j), m.tensor(1 + 2j)),
    lambda m: (m.tensor([1.0], dtype=m.bfloat16), m.tensor([1.004], dtype=m.bfloat16)),
]
APART = [
    (lambda m: (m.tensor([1.0, 2.0, 4.0]), m.tensor([1.0, 2.5, 3.0])), {}),
    (lambda m: (m.tensor([1, 2]), m.tensor([1, 3])), {}),
    (lambda m: (m.ones(2, 2), m.ones(2, 2) * 1.5), {"rtol": 0.1, "atol": 0.1}),
    (lambda m: (m.tensor(1.0), m.tensor(2.0)), {}),
    (lambda m: (1.0, 2.0), {}),
    (lambda m: (1, 2), {}),
    (lambda m: (m.ones(2), m.ones(3)), {}),
    (lambda m: ([m.ones(2)], [m.ones(2), m.ones(2)]), {}),
    (lambda m: ({"a": [m.ones(2)]}, {"a": [m.zeros(2)]}), {}),
    (lambda m: (m.tensor([float("nan")]), m.tensor([float("nan")])), {}),
    (lambda m: (True, False), {}),
    (lambda m: (m.ones(2), m.zeros(2)), {"msg": "as asked"}),
    (lambda m: (m.ones(2), m.zeros(2)), {"msg": lambda text: "before\n" + text}),
    (lambda m: (m.tensor([True, False]), m.tensor([True, True])), {}),
]


@pytest.mark.parametrize("pair", CLOSE)
def test_what_is_close(pair):
    for m in (tg, torch):
        m.testing.assert_close(*pair(m))
    nan = tg.tensor([float("nan")])
    tg.testing.assert_close(nan, nan, equal_nan=True)
    tg.testing.assert_close(tg.ones(2), tg.ones(2, dtype=tg.float64), check_dtype=False)
    tg.testing.assert_allclose([1.0, 2.0], tg.tensor([1.0, 2.0]))


@pytest.mark.parametrize(("pair", "options"), APART)
def test_what_is_said_of_the_rest(pair, options):
    texts = []
    for m in (tg, torch):
        with pytest.raises(AssertionError) as caught:
            m.testing.assert_close(*pair(m), **options)
        texts.append(str(caught.value).replace("tilegrad.Size", "torch.Size"))
    ours, theirs = texts
    assert ours.split("\n") == theirs.split("\n")


def test_attributes():
    x = tg.ones(2, 2)
    for options, other, pattern in [
        ({}, x.double(), "'dtype' do not match: tilegrad.float32 != tilegrad.float64"),
        ({"check_stride": True}, tg.ones(2, 4)[:, ::2], r"'stride\(\)' do not match"),
    ]:
        with pytest.raises(AssertionError, match=pattern):
            tg.testing.assert_close(x, other, **options)
    for kind, pattern, call in [
        (ValueError, "both be specified", lambda: tg.testing.assert_close(x, x, rtol=1.0)),
        (TypeError, "No comparison pair", lambda: tg.testing.assert_close("a", "a")),
        (TypeError, "No comparison pair", lambda: tg.testing.assert_close(x, [1.0])),
    ]:
        check_error(kind, pattern, call)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool", "complex64"])
def test_drawn_tensors(dtype):
    def draw(m):
        m.manual_seed(3)
        make = lambda *shape, **k: m.testing.make_tensor(  # noqa: E731
            *shape, dtype=getattr(m, dtype), device="cpu", **k
        )
        odd = make(3, 4, noncontiguous=True)
        assert not odd.is_contiguous()
        found = [make(5), make((2, 3)), odd, make(())]
        if dtype != "bool":
            found += [make(40, low=0, high=3, exclude_zero=True), make(4, low=1, high=5)]
        return found

    check(draw, grad=False)


def test_drawn_tensors_complain():
    make, f = tg.testing.make_tensor, {"dtype": tg.float32, "device": "cpu"}
    check_error(ValueError, "`low` must be less", lambda: make(2, low=3, high=1, **f))
    check_error(ValueError, "mutually exclusive", lambda: make(
        2, noncontiguous=True, memory_format=tg.channels_last, **f))  # fmt: skip
    whole = {"dtype": tg.int64, "device": "cpu"}
    check_error(
        ValueError, "not supported for boolean", lambda: make(2, requires_grad=True, **whole)
    )
    assert make(2, requires_grad=True, **f).requires_grad
