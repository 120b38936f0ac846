"""Creation of tensors against PyTorch: shapes, dtypes, values, complaints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check, check_error, randn

DTYPES = ["float64", "float32", "int64", "int32", "int16", "int8", "uint8", "bool"]
NESTED = {
    "int": 3,
    "float": 2.5,
    "bool": True,
    "negative": -(2**40),
    "nan": float("nan"),
    "empty": [],
    "empty rows": [[], []],
    "list": [1, 2, 3],
    "floats": [1.5, float("inf")],
    "bools": [True, False],
    "bool and int": [True, 2],
    "int and float": [1, 2.5],
    "bool and float": [True, 0.5],
    "matrix": [[1, 2], [3, 4]],
    "tuples": ((1.0, 2.0), (3.0, 4.0)),
    "deep": [[[1.0], [2.0]], [[3.0], [4.0]]],
    "array": randn(2, 3),
    "float32 array": randn(2, 3, dtype=np.float32),
    "transposed array": randn(2, 3).T,
    "reversed array": randn(5)[::-1],
    "0-dim array": np.array(3, dtype=np.int16),
    "numpy number": np.float32(1.5),
    "numpy float64": np.float64(1.5),
    "numpy int": np.int8(4),
    "numpy bool": np.bool_(True),
    "range": range(4),
    "int8 array": np.arange(3, dtype=np.int8),
    "bool array": np.array([True, False]),
    "list of arrays": [np.float64(1.0), np.float64(2.0)],
}


@pytest.mark.parametrize("case", NESTED)
def test_tensor(case: str) -> None:
    data = NESTED[case]
    if case != "reversed array":  # PyTorch has no negative strides
        check(lambda m: m.tensor(data), grad=False)
    else:
        np.testing.assert_array_equal(tg.tensor(data).cpu().numpy(), data)
    if case not in {"nan", "negative", "floats", "numpy number", "numpy bool", "numpy float64"}:
        for dtype in DTYPES:
            data = np.ascontiguousarray(data) if isinstance(data, np.ndarray) else data
            check(lambda m: m.tensor(data, dtype=getattr(m, dtype)), grad=False)


@pytest.mark.parametrize("number", [-1, -300, 300, 1.5, 128.0, -(2**40), float("nan"), 1e300])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64", "float32", "bool"])
def test_range_of_numbers(number: float, dtype: str) -> None:
    """Numbers that do not fit raise RuntimeError, as in PyTorch; negative ones wrap in uint8."""
    makers: list[Callable[[Any, Any], Any]] = [
        lambda m, t: m.tensor(number, dtype=t),
        lambda m, t: m.tensor([number], dtype=t),
        lambda m, t: m.full((2,), number, dtype=t),
        lambda m, t: m.zeros(2, dtype=t).fill_(number),
    ]
    for make in makers:
        try:
            make(torch, getattr(torch, dtype))
        except RuntimeError:
            check_error(RuntimeError, "without overflow", lambda: make(tg, getattr(tg, dtype)))
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                check(lambda m: make(m, getattr(m, dtype)), grad=False)


def test_integers_beyond_64_bits() -> None:
    for data in (2**63, 2**70, [1, 2**70], -(2**70)):
        check_error(ValueError, "overflows 64 bits", lambda: tg.tensor(data))
        check(lambda m: m.tensor(data, dtype=m.float64), grad=False)
    check_error(OverflowError, "", lambda: tg.full((2,), 2**70))
    check_error(OverflowError, "", lambda: tg.arange(2**70))


@pytest.mark.host("arrays share the memory of the CPU")
def test_tensor_copies() -> None:
    array = np.zeros(3)
    x, shared = tg.tensor(array), tg.as_tensor(array)
    array[0] = 5
    assert x.tolist() == [0, 0, 0] and shared.tolist() == [5, 0, 0]
    y = tg.tensor(x)
    y[1] = 7
    assert x.tolist() == [0, 0, 0] and not tg.tensor(x.requires_grad_()).requires_grad
    assert tg.as_tensor(y) is y and tg.as_tensor(y, dtype=tg.float32).dtype is tg.float32


def test_tensor_of_tensors() -> None:
    check(lambda m: m.tensor([m.tensor(1), m.tensor(2)]), grad=False)
    check(lambda m: m.tensor([m.tensor(1.5), 2]), grad=False)
    check(lambda m: m.tensor([[m.tensor(1.5)], [m.tensor(2.5)]]), grad=False)


@pytest.mark.parametrize(
    "exception, pattern, data",
    [
        (ValueError, "equal length", [[1, 2], [3]]),
        (ValueError, "equal length", [1, [2]]),
        (TypeError, "NoneType|object", [None]),
        (TypeError, "str", "abc"),
        (TypeError, "str|<U", ["a"]),
        (TypeError, "", None),
        (TypeError, "", object()),
        (TypeError, "", {1: 2}),
        (TypeError, "longdouble|clongdouble|complex256", np.zeros(2, np.clongdouble)),
        (TypeError, "uint16", np.zeros(2, np.uint16)),
        (TypeError, "object", np.array([None])),
    ],
)
def test_tensor_complaints(exception: Any, pattern: str, data: Any) -> None:
    check_error(exception, pattern, lambda: tg.tensor(data))
    check_error(exception, pattern, lambda: tg.as_tensor(data))


def test_from_numpy_complaints() -> None:
    check_error(TypeError, r"expected np.ndarray \(got list\)", lambda: tg.from_numpy([1]))
    check_error(TypeError, "uint32", lambda: tg.from_numpy(np.zeros(2, np.uint32)))
    check_error(ValueError, "negative strides", lambda: tg.from_numpy(np.zeros(2)[::-1]))
    check_error(TypeError, "byte order", lambda: tg.from_numpy(np.zeros(2, ">f8")))
    check_error(RuntimeError, "floating", lambda: tg.tensor([1], requires_grad=True))


@pytest.mark.parametrize(
    "size", [(3,), ((),), (2, 3), (0,), (2, 0, 3), ((2, 3),), ([4],), (1,) * 7]
)
@pytest.mark.parametrize("name", ["zeros", "ones", "empty"])
def test_sizes(name: str, size: tuple) -> None:
    fixed = (lambda x: x * 0) if name == "empty" else lambda x: x
    for dtype in DTYPES:
        check(lambda m: m.zeros_like(getattr(m, name)(*size, dtype=getattr(m, dtype))), grad=False)
    if name != "empty":
        check(lambda m: fixed(getattr(m, name)(*size)), grad=False)
        check(lambda m: getattr(m.zeros(2, dtype=m.int8), "new_" + name)(*size), grad=False)
    assert getattr(tg, name)(*size, requires_grad=True).requires_grad
    assert tg.zeros(1).__getattribute__("new_" + name)(*size, requires_grad=True).requires_grad


@pytest.mark.parametrize("value", [0, 1, -3, 2.5, True, float("nan"), float("-inf"), np.int64(4)])
def test_full(value: Any) -> None:
    check(lambda m: (m.full((2, 3), value), m.full((), value), m.full((0,), value)), grad=False)
    for dtype in ("float64", "float32", *(("int32", "bool") if value == value else ())):
        if not (isinstance(value, float) and value < -1e9):
            check(lambda m: m.full((2,), value, dtype=getattr(m, dtype)), grad=False)
    check(lambda m, x: (m.full_like(x, value), x.new_full((3,), value)), randn(2, 2), grad=False)


def test_like() -> None:
    for x in (randn(2, 3), randn(2, 3).T, np.arange(3), np.ones((0, 2), np.float32)):
        check(lambda m, a: (m.zeros_like(a), m.ones_like(a)), x, grad=False)
        check(
            lambda m, a: (m.zeros_like(a, dtype=m.int8), m.empty_like(a) * 0 == 0),
            x * 0,
            grad=False,
        )
        check(lambda m, a: a.new_tensor([1, 2]), x, grad=False)
    assert tg.ones_like(tg.ones(2), requires_grad=True).requires_grad


@pytest.mark.parametrize(
    "bounds",
    [
        (5,), (0,), (5.0,), (2, 7), (2, 7, 2), (2, 8, 2), (7, 2, -1), (7, 2, -2), (0, 1, 0.1),
        (1, 0, -0.3), (0.5, 3), (-3, 3), (3, 3), (3, 3, -1), (0, 1, 1.0), (-0.0, 2.5, 0.25),
        (True, 4), (2**40, 2**40 + 3), (np.int32(1), np.int64(4)), (np.float32(1.5), 4),
    ],
)  # fmt: skip
def test_arange(bounds: tuple) -> None:
    check(lambda m: m.arange(*bounds), grad=False)
    for dtype in ("float64", "float32", "int32", "int16"):
        if max(bounds) < 1e9 and not (dtype.startswith("int") and 0 < abs(bounds[-1]) < 1):
            check(lambda m: m.arange(*bounds, dtype=getattr(m, dtype)), grad=False)


@pytest.mark.parametrize("bounds", [(0, 1), (1, 0), (-2.5, 2.5), (3, 3), (0, 100)])
@pytest.mark.parametrize("steps", [0, 1, 2, 5, 100])
def test_linspace(bounds: tuple, steps: int) -> None:
    check(lambda m: m.linspace(*bounds, steps), grad=False)
    check(lambda m: m.linspace(*bounds, steps, dtype=m.float64), grad=False)


def test_eye() -> None:
    for size in [(0,), (1,), (3,), (2, 4), (4, 2), (0, 3), (3, 0)]:
        check(lambda m: (m.eye(*size), m.eye(*size, dtype=m.int64)), grad=False)


def test_out() -> None:
    cases: list[Callable[[Any, Any], Any]] = [
        lambda m, out: m.zeros(3, out=out),
        lambda m, out: m.ones(3, out=out),
        lambda m, out: m.full((3,), 2.5, out=out),
        lambda m, out: m.arange(3, out=out),
        lambda m, out: m.linspace(0, 1, 3, out=out),
    ]
    for case in cases:
        check(case, np.full(3, 9.0, np.float64), grad=False)
        out = tg.full((3,), 9.0)
        assert case(tg, out) is out and tg.empty(3, out=out) is out
        with pytest.warns(UserWarning, match=r"\[4\].*\[3\]"):
            assert case(tg, tg.zeros(4)).shape == (3,)
        check_error(TypeError, "out.*list", lambda: case(tg, [1])) if case is cases[0] else None
    check(lambda m, out: m.eye(2, out=out), np.full((2, 2), 9.0), grad=False)


@pytest.mark.parametrize("dtype", DTYPES)
def test_fill_(dtype: str) -> None:
    x = np.ones((3, 4), dtype)
    for value in (0, 3, True, 2.5):
        check(lambda m, a: a.fill_(value), x, grad=False)
        check(lambda m, a: (a.t()[1:].fill_(value), a), x, grad=False)
    check(lambda m, a: (a[:, ::2].zero_(), a), x, grad=False)
    check(lambda m, a: a.fill_(m.tensor(2)), x, grad=False)
    check(lambda m, a: a[:0].fill_(1), x, grad=False)


def test_fill_gradients() -> None:
    check(lambda m, x: (x * 2).fill_(3), randn(2, 3))
    check(lambda m, x, v: (x * 2).fill_(v), randn(2, 3), np.array(1.5))

    def partly(m: Any, x: Any, v: Any) -> Any:
        y = x * 2
        y[1].fill_(v)
        y[:, 0].zero_()
        return y

    check(partly, randn(2, 3), np.array(1.5))


@pytest.mark.host("a card that is full is another error")
@pytest.mark.parametrize(
    "exception, pattern, function",
    [
        (RuntimeError, r"sizes of at least 0.*-1", lambda: tg.zeros(-1)),
        (RuntimeError, r"overflows 64 bits", lambda: tg.zeros(2**62, 2**62)),
        (RuntimeError, r"overflows 64 bits", lambda: tg.empty(2**62)),
        (MemoryError, r"", lambda: tg.empty(2**55)),
        (TypeError, "", lambda: tg.zeros(2.5)),
        (TypeError, "", lambda: tg.zeros("2")),
        (TypeError, "", lambda: tg.zeros(float("nan"))),
        (TypeError, "", lambda: tg.zeros((2, None))),
        (TypeError, "", lambda: tg.zeros(2, dtype="float32")),
        (TypeError, "", lambda: tg.full((2,), "x")),
        (TypeError, "", lambda: tg.full((2,), None)),
        (RuntimeError, "floating", lambda: tg.zeros(2, dtype=tg.int64, requires_grad=True)),
        (RuntimeError, "nonzero step", lambda: tg.arange(0, 3, 0)),
        (RuntimeError, "sign of step", lambda: tg.arange(0, 3, -1)),
        (RuntimeError, "finite", lambda: tg.arange(float("inf"))),
        (RuntimeError, "finite", lambda: tg.arange(float("nan"))),
        (RuntimeError, "overflows", lambda: tg.arange(0, 1e30, 1)),
        (TypeError, "", lambda: tg.arange("3")),
        (RuntimeError, "non-negative, got -1", lambda: tg.linspace(0, 1, -1)),
        (TypeError, "", lambda: tg.linspace(0, 1, 2.5)),
        (RuntimeError, "at least 0", lambda: tg.eye(-2)),
        (RuntimeError, "0-dimension", lambda: tg.zeros(2).fill_(tg.ones(2))),
        (RuntimeError, "without overflow", lambda: tg.arange(2).fill_(float("nan"))),
        (TypeError, "", lambda: tg.zeros(2).fill_("x")),
        (RuntimeError, "Invalid device|device", lambda: tg.zeros(2, device="gpu")),
    ],
)
def test_complaints(exception: Any, pattern: str, function: Callable[[], Any]) -> None:
    check_error(exception, pattern, function)
