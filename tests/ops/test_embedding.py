"""embedding, embedding_bag and one_hot against PyTorch; determinism; complaints."""

import numpy as np
import pytest

import tilegrad as tg
from support import as_array, check, check_error, randn


def functional(m):
    return m.nn.functional


IDS = np.random.default_rng(0).integers(0, 7, (3, 11))
DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])


@pytest.mark.parametrize(
    "options",
    [{}, {"padding_idx": 3}, {"padding_idx": -2}, {"scale_grad_by_freq": True},
     {"padding_idx": 0, "scale_grad_by_freq": True}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("features", [1, 4, 33])
@DTYPES
def test_embedding(features, dtype, options):
    weight = randn(8, features, dtype=dtype)

    def rows(m, weight, ids):
        return functional(m).embedding(ids, weight, **options)

    check(rows, weight, IDS)
    check(rows, weight, IDS.astype(np.int32))
    check(rows, weight, IDS[:, ::2].T)
    check(rows, weight, np.array(5))
    check(rows, weight, np.zeros((0, 2), np.int64))
    check(lambda m, w, i: rows(m, w.T, i), randn(features, 8, dtype=dtype), IDS)


def test_embedding_of_other_dtypes_and_no_features():
    check(lambda m, w, i: functional(m).embedding(i, w), np.arange(16).reshape(8, 2), IDS)
    check(lambda m, w, i: functional(m).embedding(i, w), randn(8, 3) > 0, IDS)
    check(lambda m, w, i: functional(m).embedding(i, w), randn(8, 0), IDS)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.5])
def test_max_norm_changes_the_rows_that_are_used(norm_type):
    def renormalized(m, weight, ids):
        weight = weight.detach()
        y = functional(m).embedding(ids, weight, max_norm=0.9, norm_type=norm_type)
        bags = functional(m).embedding_bag(ids, weight, max_norm=0.5, norm_type=norm_type)
        return y, bags, weight

    check(renormalized, randn(9, 4), IDS)


def test_the_gradient_has_a_gradient():
    weight = tg.from_numpy(randn(5, 2)).requires_grad_()
    ids = tg.tensor([[0, 3, 3], [1, 0, 3]])
    for options in ({}, {"padding_idx": 3}, {"scale_grad_by_freq": True}):
        assert tg.autograd.gradgradcheck(
            lambda w, o=options: tg.nn.functional.embedding(ids, w, **o), [weight]
        )
        for mode in ("sum", "mean", "max"):
            if mode == "max" and "scale_grad_by_freq" in options:
                continue
            assert tg.autograd.gradgradcheck(
                lambda w, o=options, mode=mode: tg.nn.functional.embedding_bag(
                    ids, w, mode=mode, **o
                ),
                [weight],
            )
    factors = tg.from_numpy(randn(2, 3, seed=1)).requires_grad_()
    assert tg.autograd.gradgradcheck(
        lambda w, f: tg.nn.functional.embedding_bag(ids, w, mode="sum", per_sample_weights=f),
        [weight, factors],
    )


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding_idx", [None, 3, -8])
@DTYPES
def test_embedding_bag(mode, padding_idx, dtype):
    weight, vector = randn(8, 5, dtype=dtype), IDS.reshape(-1)
    offsets = np.array([0, 4, 4, 5, 30])

    def bags(m, weight, ids, *offsets, **options):
        return functional(m).embedding_bag(
            ids, weight, *offsets, mode=mode, padding_idx=padding_idx, **options
        )

    check(bags, weight, IDS)
    check(bags, weight, vector, offsets)
    check(bags, weight, vector.astype(np.int32), offsets.astype(np.int32))
    check(bags, weight, vector, np.array([0, 33]))
    last = np.array([0, 4, 4, 5, 30, 33])
    check(lambda m, *a: bags(m, *a, include_last_offset=True), weight, vector, last)


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_embedding_bag_scaled_by_frequency(mode):
    """Against rows that are reduced afterwards: PyTorch 2.13's bags divide by other entries'
    frequencies."""

    def bags(m, weight, ids):
        if m is tg:
            return functional(m).embedding_bag(ids, weight, mode=mode, scale_grad_by_freq=True)
        rows = functional(m).embedding(ids, weight, scale_grad_by_freq=True)
        return getattr(rows, mode)(1)

    check(bags, randn(8, 5), IDS)


def test_embedding_bag_with_factors():
    def bags(m, weight, ids, factors, *offsets, **options):
        return functional(m).embedding_bag(
            ids, weight, *offsets, mode="sum", per_sample_weights=factors, **options
        )

    factors = randn(3, 11, seed=2)
    check(bags, randn(8, 5), IDS, factors)
    check(lambda m, *a: bags(m, *a, padding_idx=3), randn(8, 5), IDS, factors)
    offsets = np.array([0, 4, 4, 30])
    check(bags, randn(8, 5), IDS.reshape(-1), factors.reshape(-1), offsets)


@pytest.mark.parametrize("value", [np.nan, np.inf], ids=str)
def test_nan_and_infinity(value):
    weight = randn(8, 5)
    weight[3, 2] = value
    check(lambda m, w, i: functional(m).embedding(i, w), weight, IDS)
    for mode in ("sum", "mean", "max"):
        check(lambda m, w, i, k=mode: functional(m).embedding_bag(i, w, mode=k), weight, IDS)


def test_one_hot():
    ids = np.array([[0, 3, 3], [1, 0, 3]])
    for classes in (-1, 6):
        check(lambda m, i, c=classes: functional(m).one_hot(i, c), ids)
    one_hot = tg.nn.functional.one_hot
    check_error(RuntimeError, "smaller than num_classes", lambda: one_hot(tg.tensor([3]), 3))


@pytest.mark.host("threads are the CPU's")
def test_same_bits_for_any_number_of_threads():
    ids = tg.from_numpy(np.random.default_rng(1).integers(0, 900, 20000))
    grad = tg.from_numpy(randn(20000, 30, dtype=np.float32))
    before = tg.get_num_threads()
    results = []
    for threads in (1, 2, 5):
        tg.set_num_threads(threads)
        weight = tg.zeros(1000, 30, requires_grad=True)
        tg.nn.functional.embedding(ids, weight).backward(grad)
        results.append(as_array(weight.grad).tobytes())
    tg.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_complaints():
    embedding, bag = tg.nn.functional.embedding, tg.nn.functional.embedding_bag
    weight, ids = tg.zeros(5, 2), tg.tensor([[0, 1], [2, 3]])
    flat = ids.reshape(-1)
    for exception, pattern, function in [
        (IndexError, "out of range", lambda: embedding(tg.tensor([5]), weight)),
        (IndexError, "out of range", lambda: embedding(tg.tensor([-1]), weight)),
        (IndexError, "out of range", lambda: embedding(tg.tensor([7]), weight, max_norm=1.0)),
        (RuntimeError, "2-D", lambda: embedding(ids, tg.zeros(5))),
        (RuntimeError, "int64 or int32", lambda: embedding(tg.tensor([0.5]), weight)),
        (AssertionError, "Padding_idx", lambda: embedding(ids, weight, 5)),
        (NotImplementedError, "sparse", lambda: embedding(ids, weight, sparse=True)),
        (TypeError, "Tensor", lambda: embedding(ids, None)),
        (RuntimeError, "out of range", lambda: bag(tg.tensor([[5]]), weight)),
        (ValueError, "offsets has to be None", lambda: bag(ids, weight, flat)),
        (ValueError, "offsets has to be a 1D", lambda: bag(flat, weight)),
        (ValueError, "1D or 2D", lambda: bag(ids[None], weight)),
        (ValueError, "2D Tensor", lambda: bag(ids, weight[0])),
        (ValueError, "mode has to be", lambda: bag(ids, weight, mode="min")),
        (ValueError, "max mode", lambda: bag(ids, weight, mode="max", scale_grad_by_freq=True)),
        (ValueError, "same shape", lambda: bag(ids, weight, per_sample_weights=weight)),
        (NotImplementedError, "mode='sum'", lambda: bag(ids, weight, per_sample_weights=ids * 1.0)),
        (RuntimeError, r"offsets\[0\] has to be 0", lambda: bag(flat, weight, tg.tensor([1]))),
        (RuntimeError, "input's length 4", lambda: bag(flat, weight, tg.tensor([0, 5]))),
        (RuntimeError, "the one before", lambda: bag(flat, weight, tg.tensor([0, 2, 1]))),
    ]:
        check_error(exception, pattern, function)
