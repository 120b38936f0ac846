"""Views against PyTorch: shapes, strides, shared memory, gradients, complaints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check, check_error, randn

X = randn(2, 3, 4)
ARRAYS = {
    "plain": X,
    "transposed": randn(4, 3, 2).T,
    "permuted": randn(3, 4, 2).transpose(2, 0, 1),
    "sliced": randn(4, 6, 8)[::2, 1::2, ::2],
    "expanded": np.broadcast_to(randn(2, 1, 4), (2, 3, 4)),
    "float32": X.astype(np.float32),
    "whole": np.arange(24).reshape(2, 3, 4),
    "mask": X > 0,
}
VIEWS: dict[str, Callable[[Any, Any], Any]] = {
    "reshape": lambda m, x: (x.reshape(6, 4), m.reshape(x, (-1,)), x.reshape((2, -1, 2, 1))),
    "reshape_as": lambda m, x: x.reshape_as(x.reshape(4, 6)),
    "flatten": lambda m, x: (x.flatten(), m.flatten(x, 1), x.flatten(0, 1), x.flatten(-2, -1)),
    "unflatten": lambda m, x: (
        x.unflatten(2, (2, 2)),
        m.unflatten(x, -1, (-1, 4)),
        x.unflatten(0, [2]),
    ),
    "transpose": lambda m, x: (x.transpose(0, 2), m.transpose(x, -1, 1), x.transpose(1, 1)),
    "swapaxes": lambda m, x: (x.swapaxes(0, 1), x.swapdims(-1, 0), m.swapaxes(x, 0, 2)),
    "swapdims": lambda m, x: (m.swapdims(x, 0, 2), m.moveaxis(x, 0, -1)),
    "permute": lambda m, x: (x.permute(2, 0, 1), m.permute(x, (1, -1, 0)), x.permute([0, 1, 2])),
    "movedim": lambda m, x: (x.movedim(0, -1), m.movedim(x, (0, 1), (2, 0)), x.moveaxis(1, 0)),
    "expand": lambda m, x: (
        x[:, :1].expand(2, 3, 4),
        x[:, :1].expand(-1, 5, -1),
        x.expand(6, 2, 3, 4),
    ),
    "broadcast": lambda m, x: (
        x[:1].broadcast_to(7, 3, 4),
        m.broadcast_to(x, (5, 2, 3, 4)),
        x[:1].expand_as(x),
    ),
    "unsqueeze": lambda m, x: tuple(x.unsqueeze(d) for d in range(-4, 4)),
    "squeeze": lambda m, x: (
        x[:1].squeeze(),
        x[:1].squeeze(0),
        x[:1].squeeze(1),
        x[:1, :, :1].squeeze((0, 2)),
    ),
    "narrow": lambda m, x: (x.narrow(1, 1, 2), m.narrow(x, -1, -3, 2), x.narrow(0, 2, 0)),
    "select": lambda m, x: (x.select(1, 2), m.select(x, -1, -1), x.select(0, 0).select(0, 1)),
    "diagonal": lambda m, x: (
        x.diagonal(),
        x.diagonal(1, 1, 2),
        m.diagonal(x, -1, 0, -1),
        x.diagonal(9),
    ),
    "unfold": lambda m, x: (
        x.unfold(2, 2, 1),
        x.unfold(1, 2, 2),
        x.unfold(0, 2, 1),
        x.unfold(-1, 4, 3),
    ),
    "T": lambda m, x: (x[0].T, x.mT, x[0].t(), x[0, 0].t(), x[0, 0, 0].t()),
    "basic index": lambda m, x: (
        x[0],
        x[..., 1],
        x[:, 1:, ::2],
        x[:, None],
        x[-1, -1, -1],
        x[:, 5:],
    ),
    "chain": lambda m, x: x.transpose(0, 2)[1:].reshape(-1)[::2].unsqueeze(0).expand(2, 9),
}  # fmt: skip


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("case", ARRAYS)
def test_values_and_gradients(name: str, case: str) -> None:
    check(VIEWS[name], ARRAYS[case])
    check(lambda m, x: VIEWS[name](m, x * 2), ARRAYS[case])


@pytest.mark.parametrize("name", VIEWS)
def test_second_derivatives(name: str) -> None:
    x = tg.from_numpy(X).requires_grad_()
    assert tg.autograd.gradgradcheck(
        lambda a: tuple(y * y for y in _as_tuple(VIEWS[name](tg, a * a)) if y.numel()), (x,)
    )


def _as_tuple(result: Any) -> tuple:
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("name", VIEWS)
def test_strides_and_shared_memory(name: str) -> None:
    """Layouts agree with PyTorch's, and a write to the base is seen through every view."""

    def layouts(m: Any, x: Any) -> list:
        views = _as_tuple(VIEWS[name](m, x))
        kept = [tuple(v.stride()) for v in views if v.numel() > 1 and 1 not in v.shape]
        offsets = [v.storage_offset() for v in views if v.numel()]
        x.fill_(7)
        return [*map(str, kept), *offsets, *(bool((v == 7).all()) for v in views)]

    check(layouts, X, grad=False)


@pytest.mark.parametrize(
    "size", [(24,), (-1,), (6, 4), (2, -1), (2, 3, 2, 2), (1, 24, 1), ((4, 6),)]
)
def test_view(size: tuple) -> None:
    check(lambda m, x: x.view(*size), X)
    check(lambda m, x: (x.view(2, 12).view_as(x), x[1:].view(3, -1)), X)
    check(lambda m, x: x[0, 0, 0].view(1, 1), X)


def test_view_of_joined_dimensions() -> None:
    check(lambda m, x: x.transpose(0, 1).view(3, 2, 2, 2), X)
    check(lambda m, x: x[:, 1:].view(2, 8), X)
    check(lambda m, x: x.expand(5, 2, 3, 4).view(5, 6, 4), X)
    for view in (lambda x: x.transpose(1, 2).view(24), lambda x: x[:, :, :2].view(2, 6)):
        check_error(RuntimeError, "not compatible.*reshape", lambda: view(tg.from_numpy(X)))


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3, 2), (1, 0, 1)])
def test_empty(shape: tuple) -> None:
    x = randn(*shape)
    check(
        lambda m, a: (
            a.reshape(0, 5),
            a.flatten(),
            a.unsqueeze(0),
            a.squeeze(),
            a.T if a.ndim == 2 else a,
        ),
        x,
    )
    check(lambda m, a: a.view(0, 7).expand(3, 0, 7).transpose(0, 1), x)


def test_zero_dimensional() -> None:
    x = np.array(3.0)
    check(lambda m, a: (a.flatten(), a.unsqueeze(0), a.unsqueeze(-1), a.squeeze(), a.squeeze(0)), x)
    check(
        lambda m, a: (a.reshape(()), a.view(1), a.expand(3), a.expand(2, 0), a.transpose(0, -1)), x
    )
    check(
        lambda m, a: (a.permute(()), a.t(), a.movedim(0, 0), a[None], a[...], a.unfold(0, 1, 1)), x
    )


STRIDED = [
    ((2, 3), (3, 1), 0),
    ((3, 2), (1, 3), 2),
    ((4,), (0,), 5),
    ((3, 3), (1, 1), 0),
    ((2, 2, 2), (4, 2, 1), 3),
    ((), (), 4),
    ((0, 3), (3, 1), 1),
    ((5, 2), (2, 1), None),
]


@pytest.mark.parametrize("size, stride, offset", STRIDED)
def test_as_strided(size: tuple, stride: tuple, offset: int | None) -> None:
    check(lambda m, x: m.as_strided(x, size, stride, offset), randn(24))
    check(lambda m, x: (x * 2).as_strided(size, stride, offset) ** 2, X)
    if offset is not None:
        check(lambda m, x: x.t().as_strided(size, stride, offset), randn(4, 6))
    x = tg.from_numpy(randn(24)).requires_grad_()
    if 0 not in size:
        assert tg.autograd.gradgradcheck(
            lambda a: (a * a).as_strided(size, stride, offset) ** 2, (x,)
        )


def test_writes_through_views_reach_the_gradient() -> None:
    def write(m: Any, x: Any, y: Any) -> Any:
        z = x * 1
        z.transpose(0, 1)[1].mul_(2)
        z.view(-1)[::5].copy_(y)
        z.diagonal(0, 1, 2)[0].add_(1)
        z.narrow(2, 1, 2).unsqueeze(0).zero_()
        return z * z

    check(write, X, randn(5, seed=1))


def test_broadcast_helpers() -> None:
    check(lambda m, a, b: m.broadcast_tensors(a, b), randn(3, 1), randn(4, seed=1))
    for shapes in [((2, 1), (3,)), ((), (4,)), ((0, 1), (1, 5)), ((3,),), (3, (2, 1))]:
        check(lambda m: tuple(m.broadcast_shapes(*shapes)), grad=False)


V = tg.ones(2, 3, 4)


@pytest.mark.parametrize(
    "exception, pattern, function",
    [
        (
            RuntimeError,
            r"view: shape '\(5, 5\)' is invalid for input of size 24",
            lambda: V.view(5, 5),
        ),
        (RuntimeError, "only one dimension", lambda: V.view(-1, -1)),
        (RuntimeError, "invalid", lambda: V.view(-1, 5)),
        (RuntimeError, "invalid shape dimension -2", lambda: V.view(-2, 12)),
        (RuntimeError, "cannot infer", lambda: tg.ones(0).view(-1, 0)),
        (RuntimeError, "overflows", lambda: V.view(2**62, 2**62)),
        (TypeError, "", lambda: V.view(2.5)),
        (TypeError, "", lambda: V.view("24")),
        (TypeError, "", lambda: V.view(None)),
        (RuntimeError, "reshape.*invalid", lambda: V.reshape(7)),
        (TypeError, "", lambda: V.reshape((2, "x"))),
        (IndexError, r"transpose.*\[-3, 2\], got 3", lambda: V.transpose(0, 3)),
        (IndexError, "range", lambda: V.transpose(-4, 0)),
        (TypeError, "", lambda: V.transpose("0", 1)),
        (RuntimeError, "permute.*expected 3", lambda: V.permute(0, 1)),
        (RuntimeError, "duplicate", lambda: V.permute(0, 1, 1)),
        (IndexError, "permute.*range", lambda: V.permute(0, 1, 3)),
        (RuntimeError, "movedim", lambda: V.movedim((0, 1), (0,))),
        (IndexError, "movedim", lambda: V.movedim(5, 0)),
        (RuntimeError, r"expand.*\(2, 3, 4\).*\(5, 3, 4\)", lambda: V.expand(5, 3, 4)),
        (RuntimeError, "expand", lambda: V.expand(3, 4)),
        (RuntimeError, "expand", lambda: V.expand(-1, 2, 3, 4)),
        (IndexError, "unsqueeze.*got 4", lambda: V.unsqueeze(4)),
        (IndexError, "squeeze.*got 3", lambda: V.squeeze(3)),
        (IndexError, "flatten", lambda: V.flatten(0, 3)),
        (RuntimeError, "start_dim cannot come after", lambda: V.flatten(2, 1)),
        (RuntimeError, "unflatten.*don't multiply", lambda: V.unflatten(1, (2, 2))),
        (IndexError, "unflatten", lambda: V.unflatten(3, (2, 2))),
        (IndexError, "narrow: start out of range", lambda: V.narrow(1, 4, 0)),
        (RuntimeError, "exceeds dimension size", lambda: V.narrow(1, 2, 2)),
        (RuntimeError, "non-negative", lambda: V.narrow(1, 0, -1)),
        (IndexError, "narrow", lambda: V.narrow(3, 0, 1)),
        (
            IndexError,
            "index 3 is out of bounds for dimension 1 with size 3",
            lambda: V.select(1, 3),
        ),
        (IndexError, "0-dim", lambda: tg.tensor(1).select(0, 0)),
        (RuntimeError, "diagonal.*different", lambda: V.diagonal(0, 1, 1)),
        (IndexError, "diagonal", lambda: V.diagonal(0, 0, 3)),
        (RuntimeError, "t\\(\\) expects", lambda: V.t()),
        (RuntimeError, "maximum size", lambda: V.unfold(1, 4, 1)),
        (RuntimeError, "step is 0", lambda: V.unfold(1, 2, 0)),
        (RuntimeError, "same length", lambda: V.as_strided((2, 2), (1,))),
        (RuntimeError, "outside the storage of 24", lambda: V.as_strided((5, 5), (5, 1))),
        (RuntimeError, "outside the storage", lambda: V.as_strided((2,), (1,), -1)),
        (RuntimeError, "strides of at least 0", lambda: V.as_strided((2,), (-1,))),
        (RuntimeError, "overflows", lambda: V.as_strided((2**40,), (2**40,))),
        (RuntimeError, "cannot be broadcast", lambda: tg.broadcast_shapes((2,), (3,))),
        (RuntimeError, "cannot be broadcast", lambda: tg.broadcast_tensors(tg.ones(2), tg.ones(3))),
    ],
)
def test_complaints(exception: Any, pattern: str, function: Callable[[], Any]) -> None:
    check_error(exception, pattern, function)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16", "int32", "float32", "float64"])
@pytest.mark.parametrize("given", ["int32", "float64", "int8"])
def test_bytes_as_another_dtype(given, dtype):
    array = (randn(3, 4, 8) * 50).astype(given)
    results = []
    for m in (tg, torch):
        x = m.from_numpy(array.copy()).transpose(0, 1)
        y = x.view(getattr(m, dtype))
        y[0, 0, 0] = 1
        results.append((y.numpy(), y.stride(), y.data_ptr() == x.data_ptr(), x.numpy()))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_bytes_as_another_dtype_that_are_refused():
    x = tg.ones(3, 5)
    for pattern, function in [
        ("divisible by 2", lambda: x.view(tg.float64)),
        ("stride", lambda: x.t().view(tg.int16)),
        ("dim", lambda: x[0, 0].view(tg.int8)),
        ("storage_offset", lambda: x.view(-1)[1:3].view(tg.int64)),
    ]:
        check_error(RuntimeError, pattern, function)
    x.requires_grad_()
    assert not x.view(tg.int32).requires_grad


def test_narrow_refuses_what_pytorch_refuses():
    x = tg.ones(3, 4)
    check_error(RuntimeError, "0-dim tensor", lambda: tg.narrow(x[0, 0], 0, 0, 1))
    check_error(RuntimeError, "integral", lambda: x.narrow(0, tg.tensor([1]), 1))
    check_error(RuntimeError, "integral", lambda: x.narrow(0, tg.tensor(True), 1))
    check_error(RuntimeError, "dim < 2", lambda: tg.narrow_copy(x, 2, 0, 1))
    assert x.narrow(0, tg.tensor(1), 2).shape == (2, 4)
