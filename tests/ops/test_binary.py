"""Two-operand arithmetic against PyTorch: values, dtypes, gradients, in-place forms, complaints."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import assert_same, check, check_error, randn, tensors_from

DTYPES = ["float64", "float32", "int64", "int32", "int16", "int8", "uint8", "bool"]
NUMBER_OPS = ["add", "sub", "mul", "div", "floor_divide", "remainder", "fmod", "pow", "atan2"]
BIT_OPS = ["bitwise_and", "bitwise_or", "bitwise_xor"]
PAIR_OPS = [*NUMBER_OPS, *BIT_OPS, "maximum", "minimum"]
OPERATORS = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and_", "or_", "xor"]
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 2.5, -2.5, np.inf, -np.inf, np.nan])
WHOLE = np.array([-7, -3, -2, -1, 1, 2, 3, 7])
X, Y = randn(3, 4), randn(3, 4, seed=1)


def same_outcome(function: Callable[..., Any], *arrays: Any, rtol: float | None = None) -> None:
    """Both libraries return the same, or both raise the same kind of exception."""
    outcomes = []
    for module in (tg, torch):
        try:
            outcomes.append(function(module, *tensors_from(module, arrays, False)))
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            outcomes.append(error)
    ours, theirs = outcomes
    if isinstance(theirs, Exception):
        assert type(ours) is type(theirs), f"{ours!r}, PyTorch: {theirs!r}"
    else:
        assert not isinstance(ours, Exception), f"{ours!r}, PyTorch: {theirs!r}"
        assert_same(ours, theirs, rtol, rtol, "result")


def sample(dtype: str, seed: int) -> np.ndarray:
    """Small nonzero numbers, negative ones where the dtype has them."""
    numbers = np.random.default_rng(seed).integers(1, 6, (3, 4))
    if dtype == "bool":
        return np.ones((3, 4), bool)
    if dtype != "uint8":
        numbers[:, ::2] *= -1
    return numbers.astype(dtype)


@pytest.mark.parametrize("name", PAIR_OPS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_promotion_of_all_pairs(name: str, dtype: str) -> None:
    for other in DTYPES:
        x, y = sample(dtype, 0), sample(other, 1)
        if name == "pow":
            y = np.abs(y) if other != "bool" else y
        same_outcome(lambda m, a, b: getattr(m, name)(a, b), x, y)
        if name in {"add", "mul", "sub", "pow", "maximum"}:  # 0-dim operands count less
            same_outcome(lambda m, a, b: getattr(m, name)(a, b), x, np.array(y[0, 0]))
            same_outcome(lambda m, a, b: getattr(m, name)(a, b), np.array(x[0, 0]), y)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", [2, -3, 2.5, True, np.float32(1.5), np.int8(3), np.float64(2)])
def test_numbers(name: str, dtype: str, number: Any) -> None:
    x = sample(dtype, 0)
    if (name, dtype, number) == ("pow", "bool", True):
        return  # PyTorch has a shortcut for exponent 1 where it refuses all other bool powers
    same_outcome(lambda m, a: getattr(operator, name)(a, number), x)
    if not isinstance(number, np.generic):  # NumPy scalars: see test_reflected_numpy
        same_outcome(lambda m, a: getattr(operator, name)(number, a), x)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv"])
@pytest.mark.parametrize("other", [np.float32(1.5), np.float64(2), X, np.arange(4)])
def test_reflected_numpy(name: str, other: Any) -> None:
    """A NumPy operand on the left defers to the tensor."""
    function = getattr(operator, name)
    ours = function(other, tg.from_numpy(Y)) if not isinstance(other, np.ndarray) else None
    if ours is not None:
        assert isinstance(ours, tg.Tensor)
        np.testing.assert_allclose(ours.cpu().numpy(), function(other, Y), rtol=1e-15)
    else:
        check_error(TypeError, "", lambda: function(other, tg.from_numpy(Y)))


OPERANDS = {
    "same shape": (X, Y),
    "float32": (X.astype(np.float32), Y.astype(np.float32)),
    "mixed floating": (X.astype(np.float32), Y),
    "row": (X, Y[0]),
    "column": (X, Y[:, :1]),
    "outer": (X[:, :1], Y[0]),
    "left grows": (X[0, :1], Y),
    "transposed": (X.T, Y.T),
    "transposed against plain": (X.T, randn(4, 3)),
    "sliced": (X[::2, 1::2], Y[1::2, ::2][:1]),
    "expanded": (np.broadcast_to(X[:1], (3, 4)), Y),
    "four dims": (randn(2, 1, 3, 1), randn(5, 1, 4)),
    "empty": (X[:0], Y[:0]),
    "empty against row": (X[:0], Y[0]),
    "0-dim": (np.array(1.5), np.array(-0.5)),
    "0-dim left": (np.array(1.5), Y),
    "long": (randn(40_000), randn(40_000, seed=1)),
}


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "atan2", "maximum", "minimum"])
@pytest.mark.parametrize("case", OPERANDS)
def test_values_and_gradients(name: str, case: str) -> None:
    check(lambda m, a, b: getattr(m, name)(a, b), *OPERANDS[case])


@pytest.mark.parametrize("name", ["remainder", "fmod", "pow"])
@pytest.mark.parametrize("case", OPERANDS)
def test_positive_base_or_divisor(name: str, case: str) -> None:
    x, y = OPERANDS[case]
    x, y = (np.abs(x) + 0.1, y) if name == "pow" else (x, np.abs(y) + 0.1)
    check(lambda m, a, b: getattr(m, name)(a, b), x, y)


@pytest.mark.parametrize("name", [*NUMBER_OPS, "maximum", "minimum"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_special_numbers(name: str, dtype: Any) -> None:
    x = SPECIAL.astype(dtype)
    check(lambda m, a, b: getattr(m, name)(a, b), x[:, None], x, grad=False)


@pytest.mark.parametrize("mode", [None, "trunc", "floor"])
@pytest.mark.parametrize("dtype", [*DTYPES[:-2], "uint8"])
def test_division_of_negative_numbers(mode: str | None, dtype: str) -> None:
    x, y = sample(dtype, 0), sample(dtype, 1)[0][:, None, None]
    check(lambda m, a, b: m.div(a, b, rounding_mode=mode), x, y, grad=False)
    check(lambda m, a, b: a.div_(b[:, 0], rounding_mode=mode) if mode else a, x, y[:1], grad=False)


@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "int32", "int16", "int8"])
def test_remainders_of_negative_numbers(name: str, dtype: str) -> None:
    x = WHOLE.astype(dtype)
    check(lambda m, a, b: getattr(m, name)(a, b), x[:, None], x, grad=False)
    for number in (3, -3):
        check(lambda m, a: getattr(m, name)(a, number), x, grad=False)
    for number in (0.7, -0.7):
        check(lambda m, a: getattr(m, name)(a, number), x, grad=False)


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "int8"])
def test_smallest_integer_wraps(dtype: str) -> None:
    lowest = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype)
    check(lambda m, a: (a + 1, a - 1, a * 2, a + a, a * a), lowest, grad=False)
    x = tg.from_numpy(lowest[:1])  # PyTorch's division traps here on some machines
    assert (x // -1).tolist() == [np.iinfo(dtype).min]
    assert (x % -1).tolist() == [0]


@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod"])
@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_integer_zero_divisor(name: str, dtype: str) -> None:
    x = tg.ones(3, dtype=getattr(tg, dtype))
    for zero in (0, x * 0):
        check_error(
            RuntimeError, f"{name}: integer division by zero", lambda: getattr(tg, name)(x, zero)
        )
    check_error(RuntimeError, "division by zero", lambda: x.div(0, rounding_mode="trunc"))
    assert (x / 0).tolist() == [float("inf")] * 3


@pytest.mark.parametrize("base", [-2, -1, 0, 1, 3])
@pytest.mark.parametrize("exponent", [0, 1, 2, 5])
def test_integer_powers(base: int, exponent: int) -> None:
    for dtype in ("int64", "int32", "int8"):
        x = np.array([base], dtype)
        check(lambda m, a: (a**exponent, m.pow(base, a * 0 + exponent)), x, grad=False)
        check(lambda m, a, b: a**b, x, np.array([exponent, -exponent]), grad=False)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, -2, 0.5, -0.5, 2.0, 1.7])
def test_power_with_a_number(exponent: float) -> None:
    positive = np.abs(X) + 0.5
    check(lambda m, a: a**exponent, positive)
    check(lambda m, a: exponent**a, positive) if exponent >= 0 else None
    check(lambda m, a: a**exponent, X.astype(np.float32), grad=float(exponent).is_integer())
    check(lambda m, a: a**exponent, np.array([0.0, 1.0]), grad=exponent >= 1 or exponent == 0)


def test_power_at_zero() -> None:
    zero = np.array([0.0, 0.0, 2.0])
    check(lambda m, a, b: a**b, zero, np.array([0.0, 2.0, 0.0]))
    check(lambda m, b: 0.0**b, np.array([0.0, 2.0]))


@pytest.mark.parametrize("alpha", [2, -1, 0, 0.5])
def test_alpha(alpha: float) -> None:
    for name in ("add", "sub", "rsub"):
        check(lambda m, a, b: getattr(m, name)(a, b, alpha=alpha), X, Y[0])
        check(lambda m, a: getattr(m, name)(a, 2.5, alpha=alpha), X)
        for x, y in [(WHOLE, WHOLE), (WHOLE.astype(np.int8), WHOLE), (WHOLE > 0, WHOLE)]:
            same_outcome(lambda m, a, b: getattr(m, name)(a, b, alpha=alpha), x, y)
    check(lambda m, a, b: a.add_(b, alpha=alpha).sub_(b, alpha=alpha), X, Y, grad=False)
    check(lambda m, a, b: (a * 1).add_(b, alpha=alpha).sub_(b[0], alpha=alpha), X, Y)


def test_aliases() -> None:
    check(lambda m, a, b: (m.subtract(a, b), m.multiply(a, b), m.divide(a, b)), X, Y)
    check(lambda m, a, b: (a.subtract(b), a.multiply(b), a.true_divide(b), a.arctan2(b)), X, Y)


IN_PLACE = {
    "iadd": lambda a, b: operator.iadd(a, b),
    "isub": lambda a, b: operator.isub(a, b),
    "imul": lambda a, b: operator.imul(a, b),
    "itruediv": lambda a, b: operator.itruediv(a, b),
    "add_": lambda a, b: a.add_(b),
    "sub_": lambda a, b: a.sub_(b),
    "mul_": lambda a, b: a.mul_(b),
    "div_": lambda a, b: a.div_(b),
    "fmod_": lambda a, b: a.fmod_(b),
    "remainder_": lambda a, b: a.remainder_(b),
    "pow_": lambda a, b: a.pow_(b),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_values_and_gradients(name: str) -> None:
    write = IN_PLACE[name]
    x, y = np.abs(X) + 0.5, np.abs(Y) + 0.5
    check(lambda m, a, b: write(a, b), x, y, grad=False)
    check(lambda m, a, b: write(a, b), x.T, y.T, grad=False)
    check(lambda m, a, b: write(a, b[0]), x, y, grad=False)
    check(lambda m, a: write(a, a), x, grad=False)
    check(lambda m, a: write(a, a[0].clone()), x, grad=False)
    check(lambda m, a: write(a, 2), x, grad=False)
    check(lambda m, a: write(a, 2.5), x.astype(np.float32), grad=False)
    check(lambda m, a, b: write(a, b), x.astype(np.float32), y, grad=False)
    check(lambda m, a, b: write(a, b), x[:0], y[:0], grad=False)
    check(lambda m, a, b: write(a * 1, b), x, y)
    check(lambda m, a, b: write((a * 1)[1:], b[0]), x, y)


@pytest.mark.parametrize(
    "name", ["ifloordiv", "imod", "ipow", "iand", "ior", "ixor", "iadd", "isub"]
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_in_place_operators_keep_the_dtype(name: str, dtype: str) -> None:
    for other in DTYPES:
        x, y = sample(dtype, 0), np.abs(sample(other, 1).astype(np.int8)).astype(other)
        same_outcome(lambda m, a, b: getattr(operator, name)(a, b), x, y)
    same_outcome(lambda m, a: getattr(operator, name)(a, 2), sample(dtype, 0))
    same_outcome(lambda m, a: getattr(operator, name)(a, 1.5), sample(dtype, 0))


def test_in_place_returns_and_counts() -> None:
    x = tg.ones(3)
    version, y = x._version, x
    x += 1
    assert x is y and x._version == version + 1
    z = tg.arange(6)  # PyTorch refuses operands that overlap; here the second is copied first
    assert z[1:].add_(z[:-1]).tolist() == [1, 3, 5, 7, 9]


@pytest.mark.parametrize("name", PAIR_OPS)
def test_out(name: str) -> None:
    x, y = (sample("int64", 0), np.abs(sample("int64", 1)))
    rtol = 1e-6 if name == "atan2" else None  # of integers: computed in float32 for every `out`
    for dtype in ("int64", "float64", "int32"):
        same_outcome(
            lambda m, a, b: getattr(m, name)(a, b, out=m.zeros(3, 4, dtype=getattr(m, dtype))),
            x,
            y,
            rtol=rtol,
        )
    out = tg.zeros(3, 4, dtype=tg.float64)
    if name not in BIT_OPS:
        assert getattr(tg, name)(tg.from_numpy(X), tg.from_numpy(Y), out=out) is out


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "atan2", "pow"])
def test_second_derivatives(name: str) -> None:
    x = tg.from_numpy(np.abs(X) + 0.5).requires_grad_()
    y = tg.from_numpy(np.abs(Y[0]) + 0.5).requires_grad_()
    function = getattr(tg, name)
    assert tg.autograd.gradcheck(function, (x, y))
    assert tg.autograd.gradgradcheck(function, (x, y))
    assert tg.autograd.gradgradcheck(lambda a: function(a, 3.0), (x,)) if name != "atan2" else True


def test_gradient_of_rounded_operations() -> None:
    check(lambda m, a, b: m.div(a, b, rounding_mode="floor"), X, Y)
    check(lambda m, a, b: m.div(a, b, rounding_mode="trunc"), X, Y[0])
    check(lambda m, a, b: (m.fmod(a, b), m.remainder(a, b)), X, Y)
    check(lambda m, a: (m.fmod(a, 0.7), m.remainder(a, -0.7)), X)


def test_ties_share_the_gradient() -> None:
    x = np.array([1.0, 2.0, np.nan, 4.0])
    check(lambda m, a, b: (m.maximum(a, b), m.minimum(a, b)), x, np.array([1.0, 3.0, 1.0, np.nan]))


@pytest.mark.parametrize("name", PAIR_OPS)
def test_complaints(name: str) -> None:
    function = getattr(tg, name)
    x = tg.ones(2, 3, dtype=tg.int64)
    check_error(
        RuntimeError,
        rf"{name}: the shapes \(2, 3\) and \(4,\) cannot be broadcast",
        lambda: function(x, tg.ones(4, dtype=tg.int64)),
    )
    for wrong in (None, "1", [1, 2, 3], object(), b"1", np.ones(3)):
        check_error(TypeError, "", lambda: function(x, wrong))
        check_error(TypeError, "", lambda: function(wrong, x))
    check_error(RuntimeError, "cast", lambda: function(x, x, out=tg.ones(2, 3, dtype=tg.bool)))


def test_complaints_of_operators() -> None:
    x = tg.ones(2, 3)
    for function in (operator.add, operator.truediv, operator.pow, operator.iadd, operator.imul):
        check_error(TypeError, "", lambda: function(x, "1"))
        check_error(TypeError, "", lambda: function(x, None))
    for name in ("add_", "sub_", "mul_", "div_", "pow_", "remainder_", "fmod_", "floor_divide_"):
        write = getattr(x, name)
        check_error(
            RuntimeError,
            "_: output with shape .* doesn't match",
            lambda: write(tg.ones(4, 1, 3)),
        )
    check_error(RuntimeError, "can't be cast", lambda: tg.ones(2, dtype=tg.int64).add_(0.5))
    check_error(RuntimeError, "can't be cast", lambda: tg.ones(2, dtype=tg.int64).div_(2))
    check_error(RuntimeError, "bool", lambda: tg.tensor([True]) - tg.tensor([True]))
    check_error(NotImplementedError, "bitwise_and: expected bool or integer", lambda: x & x)
    mask = tg.tensor([True])
    check_error(NotImplementedError, "remainder: not defined for two bool", lambda: mask % mask)
    check_error(RuntimeError, "alpha.*whole number.*0.5", lambda: tg.arange(3).add(1, alpha=0.5))
    check_error(RuntimeError, "alpha.*bool", lambda: tg.arange(3).add(1, alpha=False))
    check_error(RuntimeError, "rounding_mode.*'up'", lambda: x.div(2, rounding_mode="up"))
    check_error(RuntimeError, "rounding_mode.*'up'", lambda: x.div_(2, rounding_mode="up"))
    check_error(RuntimeError, "negative integer powers", lambda: tg.ones(2, dtype=tg.int64) ** -1)
    check_error(
        RuntimeError,
        "automatic differentiation",
        lambda: tg.add(x.requires_grad_(), 1, out=tg.ones(2, 3)),
    )


def test_numbers_beyond_64_bits() -> None:
    x = tg.ones(2, dtype=tg.int64)
    for function in (operator.add, operator.mul, operator.sub, operator.iadd):
        with pytest.raises((OverflowError, RuntimeError)):
            function(x, 2**70)


@pytest.mark.parametrize(
    "shape", [(33, 65), (1, 40), (40, 1), (200, 31), (37, 1, 129), (5, 67, 131), (2, 3, 35, 130)]
)
def test_transposed_operands(shape: tuple) -> None:
    """Walked in tiles where that pays: every element once, for odd sizes and for broadcasts."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal(shape)
    y = generator.standard_normal((*shape[:-2], shape[-1], shape[-2]))
    check(lambda m, a, b: a + b.transpose(-1, -2), x, y)
    check(lambda m, a, b: b.transpose(-1, -2) > a, x, y, grad=False)
    check(lambda m, a, b: a[..., :1] * b.transpose(-1, -2), x, y)
    check(lambda m, b: b.transpose(-1, -2).abs(), y)


def test_transposed_operands_in_slices() -> None:
    """Several slices, the last of them shorter, in which the other operand may be broadcast."""
    x, y = randn(500, 700), randn(700, 500, seed=1)
    column, row, stack = randn(500, 1), randn(700), randn(2, 500, 700)
    check(lambda m, a, b: a * b.t(), x, y, grad=False)
    check(lambda m, a, b: (b.t() - a).contiguous(), x, y, grad=False)
    check(lambda m, a, b: m.add(a, b.t(), out=m.empty(500, 700)), column, y, grad=False)
    check(lambda m, a, b: m.add(b.t(), a, out=m.empty(500, 700)), row, y, grad=False)
    check(lambda m, a, b: a.clone().sub_(b.t()), x, y, grad=False)
    check(
        lambda m, a, b: a / b.permute(2, 0, 1), randn(2, 300, 400), randn(300, 400, 2), grad=False
    )
    check(lambda m, a, b: a + b.permute(0, 2, 1), stack, randn(2, 700, 500), grad=False)


@pytest.mark.parametrize("threads", [1, 2])
def test_large_results_go_past_the_caches(threads: int) -> None:
    """From 16 MB on rows are computed into a buffer; bits must not depend on that."""
    before = tg.get_num_threads()
    tg.set_num_threads(threads)
    try:
        rows, columns = 4099, 1024
        x, other = randn(rows, columns, dtype=np.float32), randn(columns, dtype=np.float32)
        a, b = tg.from_numpy(x), tg.from_numpy(other)
        np.testing.assert_array_equal((a + b).cpu().numpy(), x + other)
        np.testing.assert_array_equal((a * 2.5).cpu().numpy(), x * np.float32(2.5))
        np.testing.assert_array_equal((a - a.flip(0)).cpu().numpy(), x - x[::-1])
        column = tg.from_numpy(np.ascontiguousarray(x[:, :1]))
        np.testing.assert_array_equal((a * column).cpu().numpy(), x * x[:, :1])
        np.testing.assert_array_equal((a[:, 1:] * b[1:]).cpu().numpy(), x[:, 1:] * other[1:])
        many = np.resize(x, (65600, 64))  # short rows that share no cache line
        np.testing.assert_array_equal(
            (tg.from_numpy(many) + b[:64]).cpu().numpy(), many + other[:64]
        )
        odd = np.resize(x, (100003, 43))  # short rows that do
        np.testing.assert_array_equal((tg.from_numpy(odd) + b[:43]).cpu().numpy(), odd + other[:43])
        np.testing.assert_array_equal(tg.maximum(a, b).cpu().numpy(), np.maximum(x, other))
        np.testing.assert_array_equal((a.double() / 3).cpu().numpy(), x.astype(np.float64) / 3)
        whole = tg.zeros(rows * columns + 8)
        tg.add(a.reshape(-1), 1.0, out=whole[3:-5])
        np.testing.assert_array_equal(whole[3:-5].cpu().numpy(), x.reshape(-1) + np.float32(1))
        wide = np.resize(x > 0, (16 * 1024 + 1, 1024))  # bytes
        inverse = tg.from_numpy(wide) == False  # noqa: E712
        np.testing.assert_array_equal(inverse.cpu().numpy(), ~wide)
        chosen = tg.where(tg.from_numpy(x > 0), a, b)
        np.testing.assert_array_equal(chosen.cpu().numpy(), np.where(x > 0, x, other))
        kept = a.clone()
        kept += b  # in place: nothing to gain there
        np.testing.assert_array_equal(kept.cpu().numpy(), x + other)
    finally:
        tg.set_num_threads(before)


def test_alpha_may_be_a_tensor_without_dimensions():
    check(lambda m, x, y: m.add(x, y, alpha=m.tensor(0.5)), randn(3), randn(3, seed=1))
    check(lambda m, x, y: m.sub(x, y, alpha=m.tensor(0.5)), randn(3), randn(3, seed=1))
    check(lambda m, x, y: x.clone().add_(y, alpha=m.tensor(2)), randn(3), randn(3, seed=1))
