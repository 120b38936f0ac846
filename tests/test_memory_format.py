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


# --- the order of results -----------------------------------------------------------------------

OPERANDS = {
    "transposed": lambda m, a: a.transpose(0, 1),
    "permuted": lambda m, a: a.permute(2, 0, 1),
    "every second": lambda m, a: a.permute(2, 1, 0)[:, ::2],
    "expanded": lambda m, a: a[:1].transpose(1, 2).expand(6, 5, 4),
    "row-major": lambda m, a: a,
    "channels last": lambda m, a: a[None].contiguous(memory_format=m.channels_last),
    "of a size of 1": lambda m, a: a[:, :1].permute(2, 1, 0),
}
RESULTS = {
    "unary": lambda m, x: x.exp(),
    "activation": lambda m, x: m.nn.functional.gelu(x),
    "number": lambda m, x: 2 - x,
    "binary": lambda m, x: x * x,
    "of integers": lambda m, x: x.int() // 2,
    "mixed dtypes": lambda m, x: x + x.double(),
    "compare": lambda m, x: x < x.sin(),
    "logical": lambda m, x: ~(x < 0) & (x > -1),
    "where": lambda m, x: m.where(x < 0, x, 0.5),
    "vector": lambda m, x: x * m.ones(x.shape[-1]),
    "column": lambda m, x: x - m.ones(*x.shape[:-1], 1),
    "row-major beside": lambda m, x: x + m.ones(*x.shape),
    "row-major first": lambda m, x: m.ones(*x.shape) / x,
    "two transposed": lambda m, x: x.transpose(0, 1) + m.ones(x.shape[1], *x.shape[:1], 1),
    "clone": lambda m, x: x.clone(),
    "clone, contiguous": lambda m, x: x.clone(memory_format=m.contiguous_format),
    "to": lambda m, x: x.double(),
    "to half": lambda m, x: x.bfloat16() * 2,
    "to a copy": lambda m, x: x.to(m.float32, copy=True),
    "clamp": lambda m, x: x.clamp(-1, 1),
    "empty_like": lambda m, x: m.empty_like(x).fill_(1),
    "zeros_like": lambda m, x: m.zeros_like(x, dtype=m.int32),
    "ones_like": lambda m, x: m.ones_like(x),
    "full_like": lambda m, x: m.full_like(x, 3),
    "full_like, contiguous": lambda m, x: m.full_like(x, 3, memory_format=m.contiguous_format),
    "rand_like": lambda m, x: m.rand_like(x),
    "randn_like": lambda m, x: m.randn_like(x),
    "randn_like, contiguous": lambda m, x: m.randn_like(x, memory_format=m.contiguous_format),
    "randint_like": lambda m, x: m.randint_like(x, 2, 50),
}


def steps(y):
    return [s for s, n in zip(y.stride(), y.shape, strict=True) if n > 1]


@pytest.mark.parametrize("operand", OPERANDS)
@pytest.mark.parametrize("result", RESULTS)
def test_results_lie_as_their_operands_do(result, operand):
    values, seen = randn(3, 4, 5), []
    for m in (tg, torch):
        m.manual_seed(3)
        y = RESULTS[result](m, OPERANDS[operand](m, m.from_numpy(values)))
        if y.dtype == m.bfloat16:
            y = y.float()
        seen.append([y.shape, steps(y), y.resolve_conj().numpy()])
    assert tuple(seen[0][0]) == tuple(seen[1][0]) and seen[0][1] == seen[1][1]
    assert seen[0][2] == pytest.approx(seen[1][2], rel=1e-5, abs=1e-6)


def test_normal_numbers_off_row_major_order():
    for change in (
        lambda m, x: x.t().normal_(1, 2),
        lambda m, x: x[:, 3:].normal_(),
        lambda m, x: m.nn.init.normal_(x[::2]),
        lambda m, x: m.nn.init.trunc_normal_(x.t()),
    ):
        seen = []
        for m in (tg, torch):
            m.manual_seed(4)
            x = m.zeros(6, 10)
            change(m, x)
            seen.append(x.numpy())
        assert seen[0] == pytest.approx(seen[1], rel=1e-5, abs=1e-6)


def test_gradients_lie_as_their_leaves_do():
    for make in (
        lambda m: m.ones(3, 4).t().requires_grad_(),
        lambda m: m.ones(3, 4).requires_grad_(),
        lambda m: m.ones(3, 8)[:, ::2].requires_grad_(),
    ):
        for use in (
            lambda m, x: (x * 2).sum(),
            lambda m, x: (x.t() * m.arange(12.0).view(*x.t().shape)).sum(),
            lambda m, x: x.t().reshape(-1)[3:].sum(),
            lambda m, x: x.sum(),
        ):
            seen = []
            for m in (tg, torch):
                x = make(m)
                use(m, x).backward()
                seen.append((x.grad.stride(), x.grad.tolist()))
            assert seen[0] == seen[1]


@pytest.mark.parametrize("shape", [(40, 50), (17, 33, 20)], ids=str)
def test_large_operands_in_different_orders(shape):
    a, b = randn(*shape), randn(*shape[::-1])
    turned = tuple(range(len(shape)))[::-1]
    for function in (
        lambda m, x, y: x + y.permute(*turned),
        lambda m, x, y: y.permute(*turned) - x,
        lambda m, x, y: (x.permute(*turned) * y).exp(),
        lambda m, x, y: m.where(x > 0, x, y.permute(*turned)),
        lambda m, x, y: x.permute(*turned).mul(2).add_(y),
        lambda m, x, y: x.clone().permute(*turned)[1:].mul_(y[1:]),
    ):
        check(function, a, b)
