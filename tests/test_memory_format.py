"""Memory formats against PyTorch: strides, values, gradients, complaints."""

from __future__ import annotations

import pickle

import pytest
import torch

import tilegrad as tg
from support import check, check_error, randn

FORMATS = {4: "channels_last", 5: "channels_last_3d"}
SHAPES = [(2, 3, 4, 5), (2, 1, 4, 5), (1, 3, 1, 1), (0, 3, 4, 5), (2, 3, 2, 3, 4), (1, 2, 1, 3, 1)]
METHODS = {
    "contiguous": lambda m, x, f: x.contiguous(memory_format=f),
    "to": lambda m, x, f: x.to(memory_format=f),
    "to dtype": lambda m, x, f: x.to(m.float32, memory_format=f),
    "clone": lambda m, x, f: x.clone(memory_format=f),
    "and back": lambda m, x, f: x.contiguous(memory_format=f).contiguous(),
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_values_gradients_and_order(method, shape):
    name = FORMATS[len(shape)]
    check(lambda m, x: method(m, x, getattr(m, name)) * 1, randn(*shape))
    seen = []
    for m in (tg, torch):
        y = method(m, m.from_numpy(randn(*shape)), getattr(m, name))
        format = getattr(m, name)
        seen.append([y.is_contiguous(), y.is_contiguous(memory_format=format)])
        seen[-1].append(y.is_contiguous(memory_format=m.contiguous_format))
        if y.numel() > 0:  # strides of dimensions of size 1 mean nothing
            seen[-1].append([s for s, n in zip(y.stride(), y.shape, strict=True) if n > 1])
    if 0 not in shape:  # an empty tensor lies in every format here
        assert seen[0] == seen[1]


def test_what_lies_so_already_is_not_copied():
    x = tg.randn(2, 3, 4, 5).contiguous(memory_format=tg.channels_last)
    assert x.contiguous(memory_format=tg.channels_last) is x
    assert x.to(memory_format=tg.channels_last) is x
    assert x.to(memory_format=tg.preserve_format) is x
    copy = x.clone(memory_format=tg.channels_last)
    assert copy.data_ptr() != x.data_ptr() and copy.stride() == x.stride()


def test_other_ranks_lie_in_no_channels_last_format():
    for m in (tg, torch):
        assert not m.zeros(3, 4).is_contiguous(memory_format=m.channels_last)
        assert not m.zeros(2, 3, 4, 5).is_contiguous(memory_format=m.channels_last_3d)


def test_names():
    assert repr(tg.channels_last) == "tilegrad.channels_last"
    assert pickle.loads(pickle.dumps(tg.channels_last)) is tg.channels_last


ERRORS = {
    "rank": (RuntimeError, "rank 4", lambda x: x.contiguous(memory_format=tg.channels_last)),
    "rank, to": (RuntimeError, "rank 5", lambda x: x.to(memory_format=tg.channels_last_3d)),
    "no format": (TypeError, "memory_format", lambda x: x.contiguous(memory_format=1)),
    "no format, is": (TypeError, "memory_format", lambda x: x.is_contiguous(memory_format="a")),
    "no format, to": (TypeError, "memory_format", lambda x: x.to(memory_format=2)),
    "no format, clone": (TypeError, "memory_format", lambda x: x.clone(memory_format=0)),
}


@pytest.mark.parametrize("case", ERRORS.values(), ids=ERRORS)
def test_complaints(case):
    exception, pattern, function = case
    check_error(exception, pattern, lambda: function(tg.zeros(2, 3, 4)))
