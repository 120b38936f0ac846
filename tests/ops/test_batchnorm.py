"""batch_norm: values, running statistics and derivatives against PyTorch, and complaints."""

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, check, check_error, randn
from tilegrad.ops.batchnorm import batch_norm_relu

SHAPES = [(5, 3), (2, 1), (67, 45), (4, 3, 7), (3, 2, 5, 6), (2, 33, 3, 3), (2, 2, 2, 3, 2)]
SHAPES += [(3, 2, 40, 41), (1, 2, 3)]


def functional(m):
    return torch.nn.functional.batch_norm if m is torch else m.batch_norm


def statistics(m, shape, dtype):
    """Running statistics, each time anew: the op writes to them."""
    channels = shape[1]
    mean = randn(channels, dtype=dtype, seed=5)
    return m.from_numpy(mean), m.from_numpy(np.abs(randn(channels, dtype=dtype, seed=6)) + 0.5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
def test_values_and_gradients(shape, dtype, training):
    x = randn(*shape, dtype=dtype)
    weight, bias = randn(shape[1], dtype=dtype, seed=1), randn(shape[1], dtype=dtype, seed=2)
    # Float32 gradients are small differences of sums over the batch.
    tolerance = {"rtol": 1e-4, "atol": 2e-4} if dtype is np.float32 else {"atol": 1e-10}

    def affine(m, x, weight, bias):
        mean, var = statistics(m, shape, dtype)
        y = functional(m)(x, mean, var, weight, bias, training, 0.3, 1e-3)
        return y, mean, var

    check(affine, x, weight, bias, **tolerance)
    check(
        lambda m, x: functional(m)(x, *statistics(m, shape, dtype), training=training),
        x,
        **tolerance,
    )
    if training:
        check(lambda m, x: functional(m)(x, None, None, training=True), x, **tolerance)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
def test_nan_and_infinity_stay_in_their_channel(value, training):
    x = randn(4, 3, 5)
    x[1, 2, 3] = value

    def function(m, x, weight, bias):
        mean, var = statistics(m, x.shape, np.float64)
        return functional(m)(x, mean, var, weight, bias, training), mean, var

    check(function, x, randn(3, seed=1), randn(3, seed=2), atol=1e-11)
    y = as_array(function(tg, *map(tg.from_numpy, (x, randn(3, seed=1), randn(3, seed=2))))[0])
    assert np.isfinite(y[:, :2]).all() and not np.isfinite(y[:, 2]).all()


@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4), (3, 2, 3, 2)], ids=str)
def test_second_derivatives(shape, training):
    results = []
    for m in (tg, torch):
        arrays = randn(*shape), randn(shape[1], seed=1), randn(shape[1], seed=2)
        leaves = [m.from_numpy(a).requires_grad_() for a in arrays]
        y = functional(m)(leaves[0], *statistics(m, shape, np.float64), *leaves[1:], training)
        seed = m.from_numpy(randn(*shape, seed=3)).requires_grad_()
        first = m.autograd.grad(y, leaves, seed, create_graph=True)
        seeds = [m.from_numpy(randn(*g.shape, seed=7 + i)) for i, g in enumerate(first)]
        second = m.autograd.grad(first, [*leaves[:2], seed], seeds)
        results.append([*first, *second])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(as_array(ours), as_array(theirs), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(1000, 3), (10, 3, 100)], ids=str)
def test_variance_survives_a_large_mean(shape):
    x = (1e4 + randn(*shape)).astype(np.float32)
    mean, var = tg.zeros(3), tg.zeros(3)
    y = tg.batch_norm(tg.from_numpy(x), mean, var, training=True, momentum=1.0, eps=1e-12)
    exact = x.astype(np.float64)
    dims = (0, *range(2, x.ndim))
    np.testing.assert_allclose(as_array(var), exact.var(dims, ddof=1), rtol=1e-4)
    np.testing.assert_allclose(as_array(mean), exact.mean(dims), rtol=1e-6)
    np.testing.assert_allclose(as_array(y).std(dims), 1, rtol=1e-3)


def test_any_strides():
    x = randn(4, 5, 3)
    for layout in (lambda x: x.transpose(1, 2), lambda x: x.narrow(1, 0, 1).expand(4, 6, 3)):
        check(lambda m, x, f=layout: functional(m)(f(x), None, None, training=True), x, atol=1e-11)


def test_running_statistics_that_are_views():
    for m in (tg, torch):
        both = m.zeros(3, 2)
        mean, var = both.select(1, 0), both.select(1, 1)
        functional(m)(m.from_numpy(randn(4, 3, dtype=np.float32)), mean, var, training=True)
        if m is tg:
            ours = as_array(both)
    np.testing.assert_allclose(ours, both.cpu().numpy(), rtol=1e-6)


def test_a_later_batch_does_not_change_a_recorded_evaluation():
    for m in (tg, torch):
        x = m.from_numpy(randn(4, 3)).requires_grad_()
        mean, var = statistics(m, (4, 3), np.float64)
        y = functional(m)(x, mean, var)
        expected = 1 / np.sqrt(as_array(var).copy() + 1e-5)
        if m is tg:
            functional(m)(x.detach() * 9, mean, var, training=True)
        y.sum().backward()
        np.testing.assert_allclose(as_array(x.grad), np.broadcast_to(expected, (4, 3)))


def test_empty_batch_leaves_the_running_statistics():
    mean, var = tg.zeros(3), tg.ones(3)
    assert tg.batch_norm(tg.zeros(0, 3), mean, var, training=True).shape == (0, 3)
    assert as_array(mean).tolist() == [0, 0, 0] and as_array(var).tolist() == [1, 1, 1]


def test_no_channels():
    x = tg.zeros(2, 0, 3).requires_grad_()
    y = tg.batch_norm(x, tg.zeros(0), tg.zeros(0), training=True)
    y.sum().backward()
    assert y.shape == (2, 0, 3) and x.grad.shape == (2, 0, 3)


@pytest.mark.host("threads are the CPU's")
def test_same_bits_for_every_number_of_threads():
    threads = tg.get_num_threads()
    seen = set()
    try:
        for count in (1, 2, 3, 8):
            tg.set_num_threads(count)
            x = tg.from_numpy(randn(64, 70, 5, 7, dtype=np.float32)).requires_grad_()
            weight = tg.from_numpy(randn(70, dtype=np.float32)).requires_grad_()
            y = tg.batch_norm(x, None, None, weight, training=True)
            (y * y).sum().backward()
            seen.add(b"".join(as_array(t).tobytes() for t in (y, x.grad, weight.grad)))
    finally:
        tg.set_num_threads(threads)
    assert len(seen) == 1


def z(*shape, dtype=None):
    return tg.zeros(*shape, dtype=dtype)


bn, d = tg.batch_norm, tg.float64
ERRORS = {
    "one value": (ValueError, "more than 1 value", lambda: bn(z(1, 3), None, None, training=True)),
    "one value, image": (
        ValueError, "more than 1 value", lambda: bn(z(1, 3, 1, 1), z(3), z(3), training=True)),
    "no statistics": (RuntimeError, "running_mean must be", lambda: bn(z(2, 3), None, None)),
    "no variance": (RuntimeError, "running_var must be", lambda: bn(z(2, 3), z(3), None)),
    "mean size": (RuntimeError, "3 elements not 4", lambda: bn(z(2, 3), z(4), z(3))),
    "mean size, training": (
        RuntimeError, "3 elements not 4", lambda: bn(z(2, 3), z(4), z(3), training=True)),
    "var size": (RuntimeError, "3 elements not 4", lambda: bn(z(2, 3), z(3), z(4))),
    "weight size": (RuntimeError, "weight", lambda: bn(z(2, 3), z(3), z(3), z(2))),
    "bias size": (RuntimeError, "bias", lambda: bn(z(2, 3), z(3), z(3), z(3), z(4))),
    "one dim": (IndexError, "2 dimensions", lambda: bn(z(3), z(3), z(3))),
    "integers": (
        NotImplementedError, "int64",
        lambda: bn(z(2, 3, dtype=tg.int64), None, None, training=True)),
    "dtypes": (RuntimeError, "dtype", lambda: bn(z(2, 3), z(3, dtype=d), z(3, dtype=d))),
    "weight dtype": (RuntimeError, "dtype", lambda: bn(z(2, 3), z(3), z(3), z(3, dtype=d))),
    "negative eps": (ValueError, "eps", lambda: bn(z(2, 3), z(3), z(3), eps=-1.0)),
    "no momentum": (TypeError, "", lambda: bn(z(2, 3), z(3), z(3), training=True, momentum=None)),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS.values(), ids=ERRORS)
def test_complaints(case):
    check_error(*case)


@pytest.mark.parametrize("shape", [(6, 5), (3, 4, 2, 3), (3, 4, 9, 9), (2, 9, 33, 41)], ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize("with_residual", [True, False], ids=["residual", "alone"])
def test_batch_norm_relu(shape, training, with_residual):
    def function(m, x, weight, bias, residual):
        given = (*statistics(m, shape, np.float64), weight, bias, training)
        if m is tg:
            return batch_norm_relu(x, *given, residual=residual if with_residual else None)
        y = torch.nn.functional.batch_norm(x, *given)
        return torch.relu(y + residual if with_residual else y + 0 * residual.detach())

    arrays = [randn(*shape), randn(shape[1], seed=1), randn(shape[1], seed=2)]
    if with_residual:
        check(function, *arrays, randn(*shape, seed=3), atol=1e-10)
    else:
        check(lambda m, x, w, b: function(m, x, w, b, x), *arrays, atol=1e-10)


def test_batch_norm_relu_keeps_nan_and_has_second_derivatives():
    x = randn(3, 2, 70)
    x[0, 1, 3] = np.nan
    y = as_array(batch_norm_relu(tg.from_numpy(x), None, None, training=True))
    assert np.isnan(y[:, 1]).all() and np.isfinite(y[:, 0]).all() and (y[:, 0] >= 0).all()
    inputs = [tg.from_numpy(randn(*s, seed=i)) for i, s in enumerate([(4, 2, 3), (2,), (4, 2, 3)])]
    for leaf in inputs:
        leaf.requires_grad_()
    assert tg.autograd.gradgradcheck(
        lambda x, w, r: batch_norm_relu(x, None, None, w, training=True, residual=r), inputs
    )


@pytest.mark.parametrize("shape", [(3, 5, 4, 6), (2, 64, 9, 9), (2, 3, 2, 3, 2)], ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
def test_channels_last_is_kept(shape, training):
    order = (0, len(shape) - 1, *range(1, len(shape) - 1))
    memory = tuple(shape[d] for d in (0, *range(2, len(shape)), 1))

    def function(m, x, weight, bias):
        x = x.permute(*order)
        assert tuple(x.shape) == shape
        return functional(m)(x, *statistics(m, shape, np.float64), weight, bias, training)

    check(function, randn(*memory), randn(shape[1], seed=1), randn(shape[1], seed=2), atol=1e-10)
    x = tg.from_numpy(randn(*memory)).permute(*order)
    y = functional(tg)(x, *statistics(tg, shape, np.float64), training=training)
    assert y.stride() == x.stride()
