"""The random generator: PyTorch's numbers from PyTorch's seeds, and sound distributions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check_error

SEEDS = [0, 1, 42, 2**31 + 7, 2**32 + 5, 2**63 + 11, -1]
SIZES = [(0,), (1,), (2, 3), (15,), (16,), (17,), (31,), (3, 5, 7), (1000,)]


def pair(seed: int, draw: Callable[[Any], Any]) -> tuple[np.ndarray, np.ndarray]:
    """What ``draw(m)`` gives in both libraries after seeding them alike."""
    values = []
    for m in (tg, torch):
        m.manual_seed(seed)
        values.append(draw(m).numpy())
    assert values[0].dtype == values[1].dtype and values[0].shape == values[1].shape
    return values[0], values[1]


def same(seed: int, draw: Callable[[Any], Any]) -> None:
    np.testing.assert_array_equal(*pair(seed, draw))


def same_normal(seed: int, draw: Callable[[Any], Any]) -> None:
    """Within 3 units in the last place; below 0.5, where a sine or cosine vanishes, of 0.5.

    Of these, up to 2.5 are PyTorch's own distance from what float64 gives.
    """
    ours, theirs = pair(seed, draw)
    unit = np.spacing(np.maximum(np.abs(theirs), theirs.dtype.type(0.5)))
    np.testing.assert_array_less(np.abs(ours - theirs), 3.01 * unit)


@pytest.mark.host("the numbers of a seed are the CPU's")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_numbers(seed: int, size: tuple, dtype: str) -> None:
    same(seed, lambda m: m.rand(size, dtype=getattr(m, dtype)))
    same(seed, lambda m: m.empty(size, dtype=getattr(m, dtype)).uniform_(-2, 5))


@pytest.mark.host("the numbers of a seed are the CPU's")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_numbers(seed: int, size: tuple, dtype: str) -> None:
    same_normal(seed, lambda m: m.randn(size, dtype=getattr(m, dtype)))
    same_normal(seed, lambda m: m.empty(size, dtype=getattr(m, dtype)).normal_(0, 0.5))


@pytest.mark.host("the numbers of a seed are the CPU's")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "low, high",
    [(0, 10), (-5, 5), (0, 1), (0, 2**27 + 1), (0, 2**28), (7, 2**30), (-(2**40), 2**45)],
)
def test_integers(seed: int, low: int, high: int) -> None:
    same(seed, lambda m: m.randint(low, high, (50,)))
    same(seed, lambda m: m.empty(50, dtype=m.int64).random_(low, high))


@pytest.mark.host("the numbers of a seed are the CPU's")
@pytest.mark.parametrize(
    "dtype", ["int64", "int32", "int16", "int8", "uint8", "bool", "float32", "float64"]
)
def test_integer_dtypes(dtype: str) -> None:
    same(3, lambda m: m.empty(40, dtype=getattr(m, dtype)).random_())
    if dtype != "bool":
        same(3, lambda m: m.randint(100, (4, 10), dtype=getattr(m, dtype)))
        same(3, lambda m: m.empty(40, dtype=getattr(m, dtype)).random_(100))


@pytest.mark.host("the numbers of a seed are the CPU's")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [0, 1, 2, 10, 1000])
def test_permutations(seed: int, n: int) -> None:
    same(seed, lambda m: m.randperm(n))
    assert sorted(tg.randperm(n).tolist()) == list(range(n))


@pytest.mark.host("the numbers of a seed are the CPU's")
def test_a_sequence_of_draws() -> None:  # the cached second normal number survives other draws
    def draw(m: Any) -> Any:
        parts = [m.randn(3), m.rand(2), m.randn(5), m.randperm(4).float(), m.randn(20), m.randn(1)]
        return torch.cat([torch.from_numpy(part.numpy()) for part in parts])

    same_normal(9, draw)


@pytest.mark.host("the numbers of a seed are the CPU's")
def test_views_are_filled_in_memory_order() -> None:
    def transposed(m: Any) -> Any:
        x = m.zeros(4, 6)
        x.t().uniform_()
        return x

    def strided(m: Any) -> Any:
        x = m.zeros(6, 8)
        x.narrow(1, 2, 3).uniform_()
        return x

    same(1, transposed)
    same(1, strided)


@pytest.mark.host("the numbers of a seed are the CPU's")
def test_like_and_tensor_parameters() -> None:
    same(5, lambda m: m.rand_like(m.zeros(3, 4)))
    same_normal(5, lambda m: m.randn_like(m.zeros(3, 40, dtype=m.float64)))
    same(5, lambda m: m.randint_like(m.zeros(3, 4), 7))
    same(5, lambda m: m.randint_like(m.zeros(3, 4), 3, 7))
    same_normal(5, lambda m: m.normal(0.5, 2.0, (20,)))
    same_normal(5, lambda m: m.normal(m.ones(4, 5)))
    same(5, lambda m: m.bernoulli(m.full((50,), 0.3)))
    same(5, lambda m: m.bernoulli(m.full((50,), 0.3, dtype=m.float64)))


@pytest.mark.host("states are kept on the CPU")
def test_generators() -> None:
    ours, theirs = tg.Generator(), torch.Generator()
    assert ours.initial_seed() == theirs.initial_seed()
    assert ours.manual_seed(12) is ours and ours.initial_seed() == 12
    theirs.manual_seed(12)
    a = tg.rand(5, generator=ours)
    np.testing.assert_array_equal(a.numpy(), torch.rand(5, generator=theirs).numpy())
    state = ours.get_state()
    b = tg.randn(7, generator=ours)
    tg.manual_seed(0)
    ours.set_state(state)
    assert tg.equal(b, tg.randn(7, generator=ours))
    assert ours.seed() == ours.initial_seed() and ours.seed() != ours.seed()


@pytest.mark.host("states are kept on the CPU")
def test_global_state() -> None:
    assert tg.manual_seed(8).initial_seed() == 8 == tg.initial_seed()
    state = tg.get_rng_state()
    a = tg.randn(3)
    tg.set_rng_state(state)
    assert tg.equal(a, tg.randn(3))
    tg.manual_seed(-1)
    assert tg.initial_seed() == 2**64 - 1


def test_distributions() -> None:
    tg.manual_seed(0)
    n = 100_000
    exponential = tg.empty(n).exponential_(2.0).numpy()
    assert abs(exponential.mean() - 0.5) < 0.01 and exponential.min() >= 0
    heads = tg.zeros(n, dtype=tg.int64).bernoulli_(0.2).numpy()
    assert abs(heads.mean() - 0.2) < 0.01 and set(heads) == {0, 1}
    mixed = tg.zeros(2, n).bernoulli_(tg.tensor([[0.0], [1.0]])).numpy()
    assert mixed[0].max() == 0 and mixed[1].min() == 1


def test_multinomial() -> None:
    tg.manual_seed(0)
    weights = tg.tensor([[1.0, 0.0, 3.0, 4.0], [0.0, 0.0, 0.0, 2.0]])
    drawn = tg.multinomial(weights, 40_000, replacement=True)
    assert drawn.dtype is tg.int64 and tuple(drawn.shape) == (2, 40_000)
    shares = np.bincount(drawn.numpy()[0], minlength=4) / 40_000
    np.testing.assert_allclose(shares, [0.125, 0, 0.375, 0.5], atol=0.01)
    assert (drawn.numpy()[1] == 3).all()
    for _ in range(20):
        assert sorted(tg.tensor([1.0, 0.0, 3.0, 4.0]).multinomial(3).tolist()) == [0, 2, 3]


def test_in_place_draws_and_gradients() -> None:
    x = tg.ones(20, requires_grad=True) * 2
    x.normal_()
    (x * 3).backward(tg.ones(20))
    leaf = tg.ones(2, requires_grad=True)
    check_error(RuntimeError, "leaf Variable", lambda: leaf.uniform_())
    with tg.no_grad():
        assert leaf.uniform_() is leaf
    assert tg.rand(2, requires_grad=True).requires_grad


@pytest.mark.host("states are kept on the CPU")
def test_complaints() -> None:
    x, whole = tg.ones(2), tg.arange(2)
    check_error(RuntimeError, "from=2 > to=1", lambda: x.uniform_(2, 1))
    check_error(RuntimeError, "std >= 0.0, but found std -1", lambda: x.normal_(0, -1))
    check_error(RuntimeError, "std >= 0.0", lambda: tg.normal(0.0, -1.0, (2,)))
    check_error(RuntimeError, "std >= 0.0", lambda: x.normal_(0, float("nan")))
    check_error(RuntimeError, "lambda > 0.0", lambda: x.exponential_(0))
    check_error(RuntimeError, r"p to be in \[0, 1\]", lambda: x.bernoulli_(1.5))
    check_error(RuntimeError, "p_in", lambda: tg.bernoulli(x * 2))
    check_error(RuntimeError, "'from' to be less than 'to'", lambda: tg.randint(5, 5, (2,)))
    check_error(
        RuntimeError, "out of bounds for uint8", lambda: tg.randint(300, (2,), dtype=tg.uint8)
    )
    check_error(RuntimeError, "negative dimension", lambda: tg.randperm(-1))
    check_error(NotImplementedError, "int64", lambda: tg.rand(2, dtype=tg.int64))
    check_error(NotImplementedError, "int64", lambda: whole.normal_())
    check_error(TypeError, "randint: expected", lambda: tg.randint(5))
    check_error(RuntimeError, "without replacement", lambda: tg.multinomial(x, 3))
    check_error(RuntimeError, "element < 0", lambda: tg.multinomial(-x, 1))
    check_error(RuntimeError, "sum of probabilities", lambda: tg.multinomial(x * 0, 1))
    check_error(RuntimeError, "not enough", lambda: tg.multinomial(tg.tensor([1.0, 0.0]), 2))
    check_error(RuntimeError, "floating-point", lambda: tg.multinomial(whole, 1))
    check_error(RuntimeError, "expand", lambda: tg.ones(1).expand(3).uniform_())
    check_error(RuntimeError, "Overflow", lambda: tg.manual_seed(2**64))
    check_error(TypeError, "uint8 tensor", lambda: tg.set_rng_state(x))
    check_error(RuntimeError, "wrong size", lambda: tg.set_rng_state(tg.zeros(3, dtype=tg.uint8)))
    broken = tg.full((len(tg.get_rng_state()),), 255, dtype=tg.uint8)
    check_error(RuntimeError, "invalid RNG state", lambda: tg.set_rng_state(broken))


@pytest.mark.host("the numbers of a seed are the CPU's")
def test_normal_numbers_against_float64() -> None:
    """Within 2.25 units, given the angle in float32. PyTorch's are off by up to 2.77, so that no
    bound of 2 between the two could hold."""
    count = 1 << 18
    tg.manual_seed(3)
    ours = tg.randn(count).numpy().reshape(-1, 2, 8)
    tg.manual_seed(3)
    uniform = tg.rand(count).numpy().reshape(-1, 2, 8)
    radius = np.sqrt(-2 * np.log((np.float32(1) - uniform[:, 0]).astype(np.float64)))
    angle = (np.float32(2 * np.pi) * uniform[:, 1]).astype(np.float64)
    exact = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    unit = np.spacing(np.maximum(np.abs(ours), np.float32(0.5)))
    np.testing.assert_array_less(np.abs(ours - exact), 2.25 * unit)
