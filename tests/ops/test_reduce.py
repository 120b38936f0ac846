"""Reductions against PyTorch: values, dtypes, gradients, complaints."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check, check_error, randn

SHAPES = [(), (1,), (7,), (3, 4, 5), (0, 3), (70, 129), (3, 9001), (4, 1, 6, 2, 3)]
DTYPES = ["float32", "float64", "int64", "int32", "uint8", "bool"]


def numbers(shape: tuple, dtype: str) -> np.ndarray:
    """Positive numbers, so that no sum cancels; some equal, some zero."""
    values = np.random.default_rng(1).random(shape)
    return np.asarray(values if dtype.startswith("float") else values * 3).astype(dtype)


def dim_choices(ndim: int) -> list:
    choices = [d for k in range(1, ndim + 1) for d in itertools.combinations(range(ndim), k)]
    return [None, *choices[:12], -1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["sum", "mean", "amax", "amin", "any", "all"])
def test_every_dim(name: str, shape: tuple, dtype: str) -> None:
    if name == "mean" and not dtype.startswith("float"):
        pytest.skip("mean wants a floating dtype")
    x = numbers(shape, dtype)
    if name in ("amax", "amin") and x.size == 0:
        pytest.skip("an empty maximum is an error")
    arrays = [x] if x.ndim < 2 else [x, x.swapaxes(0, -1), x[..., ::2], x[:1].repeat(1, axis=0)]
    for array in arrays:
        for dim, keepdim in itertools.product(dim_choices(x.ndim), [False, True]):
            if dim is None and (keepdim or name in ("amax", "amin")):
                check(lambda m, x: getattr(m, name)(x), array, grad=False)
            else:
                check(lambda m, x: getattr(m, name)(x, dim, keepdim), array, grad=False)


def test_expanded_input() -> None:
    for dim in (0, 1, 2, (0, 2), (0, 1, 2)):
        check(lambda m, x: x.expand(4, 3, 5).sum(dim), randn(3, 5))
        check(lambda m, x: x.expand(4, 3, 5).mean(dim), randn(4, 1, 5))


@pytest.mark.parametrize("name", ["sum", "mean"])
def test_gradients(name: str) -> None:
    for dim, keepdim in itertools.product([None, 0, -1, (0, 2), (2, 1), ()], [False, True]):
        check(lambda m, x: getattr(m, name)(x, dim, keepdim), randn(3, 4, 5))
        check(lambda m, x: getattr(x, name)(dim=dim, keepdim=keepdim), randn(2, 0, 3))
    check(lambda m, x: getattr(m, name)(x), randn())


def test_dtype_argument() -> None:
    check(lambda m, x: m.sum(x, 0, dtype=m.float64), randn(3, 4, dtype=np.float32))
    check(lambda m, x: m.mean(x, 0, dtype=m.float64), randn(3, 4, dtype=np.float32))
    check(lambda m, x: m.sum(x, dtype=m.int32), np.arange(5.0) + 0.5, grad=False)
    check(lambda m, x: m.sum(x, dtype=m.int32), np.arange(5))
    check(lambda m, x: m.mean(x, dtype=m.float32), np.arange(5))
    check(lambda m, x: m.prod(x, dtype=m.float32), np.arange(1, 5))


def test_numpy_names() -> None:
    check(lambda m, x: m.sum(x, axis=1, keepdims=True), randn(3, 4))
    check(lambda m, x: x.mean(axis=(0, 1)), randn(3, 4))
    check_error(TypeError, "unexpected keyword argument 'axes'", lambda: tg.ones(2).sum(axes=0))


def test_nan_wins() -> None:
    x = randn(200, 70)
    x[3, 5] = x[199, 0] = np.nan
    x[7, :] = np.inf
    x[8, :] = -np.inf
    for name, dim in itertools.product(["amax", "amin", "sum", "mean"], [0, 1, (0, 1)]):
        check(lambda m, x: getattr(m, name)(x, dim), x, grad=False)


def test_float32_accuracy() -> None:
    """Errs like pairwise summation: a plain running sum would miss these by a factor of 100."""
    x = np.random.default_rng(0).random((1 << 20, 3)).astype(np.float32)
    exact = x.astype(np.float64).sum(0)
    by_columns = tg.from_numpy(x).sum(0).cpu().numpy()
    by_rows = tg.from_numpy(np.ascontiguousarray(x.T)).sum(1).cpu().numpy()
    np.testing.assert_allclose(by_columns, exact, rtol=3e-7)
    np.testing.assert_allclose(by_rows, exact, rtol=3e-7)


@pytest.mark.host("threads are the CPU's")
def test_same_bits_for_every_thread_count() -> None:
    x = tg.from_numpy(randn(1000, 333, dtype=np.float32))
    before = tg.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 8):
            tg.set_num_threads(threads)
            results.append([x.sum().cpu().numpy().tobytes()])
            results[-1] += [x.sum(d).cpu().numpy().tobytes() for d in (0, 1)]
            results[-1] += [x.t().mean(d).cpu().numpy().tobytes() for d in (0, 1)]
    finally:
        tg.set_num_threads(before)
    assert all(result == results[0] for result in results)


def test_integer_sums_wrap() -> None:
    check(lambda m, x: m.sum(x), np.full(4, 2**62))
    check(lambda m, x: m.prod(x), np.full(3, 2**40 + 1))


def test_sum_to_size() -> None:
    for size in [(2, 3, 4), (3, 4), (1, 4), (3, 1), (1,), (), (2, 1, 1), (1, 3, 4)]:
        check(lambda m, x: x.sum_to_size(size), randn(2, 3, 4))
    check(lambda m, x: x.sum_to_size(3, 4), randn(2, 3, 4))
    check(lambda m, x: x.sum_to_size(1, 4), randn(0, 4))
    message = r"size \{\[2\]\} is not expandable to size \{\[2, 3\]\}"
    check_error(RuntimeError, message, lambda: tg.ones(2, 3).sum_to_size(2))


def test_complaints() -> None:
    x = tg.ones(2, 3)
    check_error(IndexError, r"sum.*range.*\[-2, 1\].* got 2", lambda: x.sum(2))
    check_error(IndexError, r"mean.*range.*\[-2, 1\].* got -3", lambda: x.mean((0, -3)))
    check_error(RuntimeError, "dim 1 appears multiple times", lambda: x.sum((1, -1)))
    check_error(RuntimeError, "mean.*floating point, got int64", lambda: tg.arange(3).mean())
    check_error(TypeError, "prod: argument 'dim'", lambda: x.prod((0, 1)))
    empty = tg.zeros(0, 3)
    check_error(IndexError, "amax.*dim 0 to have non-zero size", lambda: empty.amax(0))
    check_error(RuntimeError, "amin.*numel.. == 0", lambda: empty.amin())
    assert empty.amax(1).shape == torch.zeros(0, 3).amax(1).shape


def test_gradients_of_extremes() -> None:
    tied = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [0.0, -1.0, 4.0]])
    for name, dim, keepdim in itertools.product(["amax", "amin"], [0, -1, (0, 1)], [False, True]):
        check(lambda m, x: getattr(m, name)(x, dim, keepdim), tied)
        check(lambda m, x: getattr(m, name)(x, dim, keepdim), randn(4, 5))


def test_prod() -> None:
    some_zeros = randn(4, 5)
    some_zeros[0, 1] = some_zeros[2, 2] = some_zeros[2, 4] = 0
    for x in (randn(4, 5), some_zeros, np.zeros((3, 2)), randn(3, 0)):
        check(lambda m, x: m.prod(x), x)
        for dim, keepdim in itertools.product([0, 1, -2], [False, True]):
            check(lambda m, x: m.prod(x, dim, keepdim), x)
    for value in (0.0, 2.0):
        check(lambda m, x: m.prod(x), np.array(value))
    check(lambda m, x: m.prod(x, 1), np.arange(12, dtype=np.int32).reshape(3, 4))
    check(lambda m, x: m.prod(x), np.array([True, True]))


def test_second_derivative_of_prod() -> None:
    def slope(m, x):
        return m.autograd.grad(m.prod(x, 1).sum(), x, create_graph=True)[0]

    with_zeros = randn(3, 4)
    with_zeros[0, 1] = with_zeros[1, 2] = with_zeros[1, 3] = 0
    check(slope, randn(3, 4))
    check(slope, with_zeros)


@pytest.mark.parametrize("name", ["var", "std", "var_mean", "std_mean"])
def test_variance(name: str) -> None:
    for dim in [None, 0, (0, 2), -1]:
        check(lambda m, x: getattr(m, name)(x, dim), randn(3, 4, 5))
        check(lambda m, x: getattr(m, name)(x, dim, keepdim=True, correction=0), randn(3, 4, 5))
        check(lambda m, x: getattr(m, name)(x, dim, correction=1.5), randn(3, 4, 5))
    check(lambda m, x: getattr(m, name)(x, unbiased=False), randn(3, 4))
    check(lambda m, x: getattr(m, name)(x, False), randn(3, 4))
    check(lambda m, x: getattr(m, name)(x, 1, False), randn(3, 4))
    check(lambda m, x: getattr(m, name)(x, 1), 1e4 + randn(6, 50, dtype=np.float32), grad=False)
    message = "only support floating point"
    check_error(RuntimeError, message, lambda: getattr(tg, name)(tg.arange(3)))


def test_too_few_elements_for_a_variance() -> None:
    with pytest.warns(UserWarning, match="degrees of freedom"):
        check(lambda m, x: m.var(x, 1), randn(3, 1), grad=False)
        check(lambda m, x: m.std(x, 1, correction=3), randn(3, 2), grad=False)
    check(lambda m, x: m.std(x, 1), np.ones((2, 3)))  # no slope where all are equal


@pytest.mark.parametrize("p", [2, 1, 0, 3, 1.5, -1, np.inf, -np.inf, "fro"])
def test_norm(p) -> None:
    for dim, keepdim in itertools.product([None, 0, -1, (0, 1)], [False, True]):
        check(lambda m, x: m.norm(x, p, dim=dim, keepdim=keepdim), randn(4, 5))
    if p != -1:
        check(lambda m, x: x.norm(p), np.zeros(3))
    check_error(RuntimeError, "norm: Expected a floating", lambda: tg.arange(3).norm(p))


def test_norm_names() -> None:
    check_error(ValueError, "norm: argument 'p'.*'nuclear'", lambda: tg.ones(3).norm("nuclear"))


def test_logsumexp() -> None:
    for dim, keepdim in itertools.product([0, -1, (0, 1)], [False, True]):
        check(lambda m, x: m.logsumexp(x, dim, keepdim), 1000 * randn(4, 5))
        check(lambda m, x: m.logsumexp(x, dim, keepdim), randn(4, 5, dtype=np.float32))
    x = np.array([[-np.inf, -np.inf], [np.inf, 1], [np.inf, -np.inf], [np.nan, 1], [-np.inf, 2]])
    check(lambda m, x: m.logsumexp(x, 1), x, grad=False)
    check(lambda m, x: m.logsumexp(x, 1), np.zeros((3, 0)))
    check(lambda m, x: m.logsumexp(x, 0), np.arange(4))
    check_error(TypeError, "'dim'", lambda: tg.ones(3).logsumexp())


def test_truth_and_counts() -> None:
    x = np.array([[0, 2, 0], [0, 0, 0], [1, 5, 256]])
    for dtype in (np.int64, np.int32, np.float32, np.uint8, np.bool_):
        for dim in (0, 1, (0, 1)):
            check(lambda m, x: m.any(x, dim), x.astype(dtype), grad=False)
            check(lambda m, x: m.all(x, dim), x.astype(dtype), grad=False)
            check(lambda m, x: m.count_nonzero(x, dim), x.astype(dtype), grad=False)
        check(lambda m, x: m.count_nonzero(x), x.astype(dtype), grad=False)


def test_second_derivatives() -> None:
    functions = [
        lambda m, x: m.std(x, 1).sum(),
        lambda m, x: m.var(x) ** 2,
        lambda m, x: m.norm(x, 2, dim=0).sum(),
        lambda m, x: m.norm(x, 3),
        lambda m, x: m.logsumexp(x, 1).sum(),
        lambda m, x: (m.mean(x, 0) ** 3).sum(),
    ]
    for function in functions:
        check(lambda m, x: m.autograd.grad(function(m, x), x, create_graph=True)[0], randn(3, 4))


@pytest.mark.parametrize("size", [1, 2, 8, 15, 16, 17])
def test_many_short_rows(size: int) -> None:
    x = randn(501, size)
    for name in ("sum", "mean", "prod", "amax", "var"):
        if name == "var" and size == 1:
            continue
        check(lambda m, a, name=name: getattr(m, name)(a, -1), x)
        check(lambda m, a, name=name: getattr(m, name)(a[::2, :], -1), x)
        check(lambda m, a, name=name: getattr(m, name)(a.t(), 0), x)
    whole = (x * 9).astype("int64")
    check(lambda m, a: m.sum(a, -1), whole, grad=False)
    check(lambda m, a: m.amax(a, -1), whole, grad=False)
    check(lambda m, a: m.any(a > 5, -1), whole, grad=False)
