"""Reductions against PyTorch: values, dtypes, gradients, complaints."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from support import check, check_error, randn

import tilegrad as tg

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
    by_columns = tg.from_numpy(x).sum(0).numpy()
    by_rows = tg.from_numpy(np.ascontiguousarray(x.T)).sum(1).numpy()
    np.testing.assert_allclose(by_columns, exact, rtol=3e-7)
    np.testing.assert_allclose(by_rows, exact, rtol=3e-7)


def test_same_bits_for_every_thread_count() -> None:
    x = tg.from_numpy(randn(1000, 333, dtype=np.float32))
    before = tg.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 8):
            tg.set_num_threads(threads)
            results.append([x.sum().numpy().tobytes()])
            results[-1] += [x.sum(d).numpy().tobytes() for d in (0, 1)]
            results[-1] += [x.t().mean(d).numpy().tobytes() for d in (0, 1)]
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
