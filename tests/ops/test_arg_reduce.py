"""max, min, argmax and argmin against PyTorch: values, indices, gradients, complaints."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import check, check_error, randn

NAMES = ["max", "min"]
DTYPES = ["float32", "float64", "int64", "int32", "uint8"]


def permuted(*shape: int, dtype: str = "float64", limit: int = 256) -> np.ndarray:
    """Different numbers, so that there are no ties (uint8 permitting), in random order."""
    values = np.random.default_rng(0).permutation(int(np.prod(shape)))
    return (values % limit if dtype == "uint8" else values).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_every_dim(name: str, dtype: str) -> None:
    for shape in [(7,), (3, 5), (2, 3, 4), (100, 2), (2, 100)]:
        x = permuted(*shape, dtype=dtype)
        for dim in range(-1, len(shape)):
            check(lambda m, x: getattr(m, name)(x, dim), x)
            check(lambda m, x: getattr(x, name)(dim, keepdim=True), x)
            check(lambda m, x: getattr(m, "arg" + name)(x, dim), x, grad=False)
            check(lambda m, x: getattr(m, "arg" + name)(x, dim, keepdim=True), x, grad=False)
        check(lambda m, x: getattr(m, name)(x), x)
        check(lambda m, x: getattr(x.swapaxes(0, -1), name)(0), x)
        check(lambda m, x: getattr(m, "arg" + name)(x), x, grad=False)
        check(lambda m, x: getattr(m, "arg" + name)(x, keepdim=True), x, grad=False)


@pytest.mark.parametrize("name", NAMES)
def test_scalars_bools_and_empty(name: str) -> None:
    check(lambda m, x: getattr(m, name)(x), np.array(3.0))
    check(lambda m, x: getattr(m, name)(x, 0), np.array(3.0))
    check(lambda m, x: getattr(m, name)(x), np.array([True, False]))
    check(lambda m, x: getattr(m, name)(x, 1), np.array([[True], [False]]))
    check(lambda m, x: getattr(m, name)(x, 1), np.zeros((0, 3)))
    check(lambda m, x: getattr(m, "arg" + name)(x, 1), np.zeros((0, 3)))


@pytest.mark.parametrize("name", NAMES)
def test_ties_and_nan(name: str) -> None:
    ties = np.array([[1.0, 3.0, 3.0, 1.0], [2.0, 2.0, 2.0, 2.0]])
    check(lambda m, x: getattr(m, name)(x), ties)
    for first, array in [([1, 0] if name == "max" else [0, 0], ties)]:
        x = tg.from_numpy(array)
        assert getattr(tg, "arg" + name)(x, 1).tolist() == first
        assert getattr(tg, name)(x, 1).indices.tolist() == first
    for size in (5, 70, 9000):
        x = randn(2, size)
        x[0, size // 2] = x[0, size - 1] = np.nan
        check(lambda m, x: getattr(m, name)(x, 1), x, grad=False)
        check(lambda m, x: getattr(m, "arg" + name)(x, 0), x, grad=False)
        check(lambda m, x: getattr(m, name)(x), x)


@pytest.mark.parametrize("name", NAMES)
def test_forms(name: str) -> None:
    call = getattr(tg, name)
    result = call(tg.tensor([[1, 5], [7, 2]]), dim=1)
    assert type(result).__name__ == name
    assert result.values is result[0] and result.indices is result[1]
    check(lambda m, x, y: getattr(m, name)(x, y), randn(3, 4), randn(4, seed=1))
    check(lambda m, x, y: getattr(x, name)(other=y), randn(3, 4), randn(4, seed=1))
    check(lambda m, x: getattr(m, name)(x, axis=1, keepdims=True), randn(3, 4))


def test_second_derivative() -> None:
    def slope(m, x):
        loss = (m.max(x, 1).values ** 3).sum() + m.max(x) ** 3 + (m.amax(x, 0) ** 3).sum()
        return m.autograd.grad(loss, x, create_graph=True)[0]

    check(slope, randn(3, 4))


def test_complaints() -> None:
    x, empty = tg.ones(2, 3), tg.zeros(0, 3)
    check_error(IndexError, "max.*range.* 2", lambda: tg.max(x, 2))
    check_error(RuntimeError, "max.*numel.. == 0", lambda: empty.max())
    check_error(IndexError, "min.*dim 0 to have non-zero size", lambda: empty.min(0))
    check_error(IndexError, "argmax.*numel.. == 0", lambda: empty.argmax())
    check_error(IndexError, "argmin.*dim 0 to have non-zero size", lambda: empty.argmin(0))
    check_error(RuntimeError, "argmax.*bool", lambda: tg.tensor([True]).argmax())
    check_error(TypeError, "unexpected keyword", lambda: tg.max(x, dims=1))
