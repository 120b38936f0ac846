"""group_norm, instance_norm, local_response_norm: values and derivatives against PyTorch, and
complaints."""

import numpy as np
import pytest
import torch

import tilegrad as tg
import tilegrad.nn.functional as F
from support import as_array, check, check_error, randn


def functional(m):
    return torch.nn.functional if m is torch else F


CASES = [((2, 6, 5), 3), ((3, 4, 5, 6), 2), ((2, 4), 2), ((1, 6, 7, 7), 6), ((2, 3, 90, 71), 1)]
CASES += [((2, 2, 2, 3, 2), 1), ((0, 4, 3), 2), ((5, 8, 16), 4)]


@pytest.mark.parametrize("shape, groups", CASES, ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_group_norm(shape, groups, dtype):
    x = randn(*shape, dtype=dtype)
    weight, bias = randn(shape[1], dtype=dtype, seed=1), randn(shape[1], dtype=dtype, seed=2)
    tolerance = {"rtol": 1e-4, "atol": 3e-4} if dtype is np.float32 else {"atol": 1e-10}
    check(
        lambda m, x, w, b: functional(m).group_norm(x, groups, w, b, 1e-3),
        *(x, weight, bias),
        **tolerance,
    )
    check(lambda m, x: functional(m).group_norm(x, groups), x, **tolerance)
    check(lambda m, x, w: functional(m).group_norm(x, groups, w), x, weight, **tolerance)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_nan_and_infinity_stay_in_their_group(value):
    x = randn(3, 4, 19)
    x[1, 2, 17] = value
    check(lambda m, x, w: functional(m).group_norm(x, 2, w), x, randn(4, seed=1), atol=1e-11)


@pytest.mark.parametrize("shape, groups", [((2, 4, 5), 2), ((3, 4), 2), ((2, 2, 3, 2), 1)], ids=str)
def test_second_derivatives(shape, groups):
    results = []
    for m in (tg, torch):
        arrays = randn(*shape), randn(shape[1], seed=1), randn(shape[1], seed=2)
        leaves = [m.from_numpy(a).requires_grad_() for a in arrays]
        y = functional(m).group_norm(leaves[0], groups, *leaves[1:])
        seed = m.from_numpy(randn(*shape, seed=3)).requires_grad_()
        first = m.autograd.grad(y, leaves, seed, create_graph=True)
        seeds = [m.from_numpy(randn(*g.shape, seed=7 + i)) for i, g in enumerate(first)]
        second = m.autograd.grad(first, [*leaves[:2], seed], seeds)
        results.append([*first, *second])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(as_array(ours), as_array(theirs), rtol=1e-9, atol=1e-9)


def test_any_strides():
    x = randn(6, 5, 4)
    for layout in (lambda x: x.transpose(0, 2), lambda x: x.narrow(2, 1, 1).expand(6, 5, 4)):
        channels = as_array(layout(tg.from_numpy(x))).shape[1]
        check(lambda m, x, f=layout, c=channels: functional(m).group_norm(f(x), c), x, atol=1e-11)


@pytest.mark.host("threads are the CPU's")
def test_same_bits_for_every_number_of_threads():
    threads, seen = tg.get_num_threads(), set()
    try:
        for count in (1, 2, 3, 8):
            tg.set_num_threads(count)
            x = tg.from_numpy(randn(31, 70, 43, dtype=np.float32)).requires_grad_()
            weight = tg.from_numpy(randn(70, dtype=np.float32)).requires_grad_()
            y = F.group_norm(x, 7, weight)
            (y * y).sum().backward()
            seen.add(b"".join(as_array(t).tobytes() for t in (y, x.grad, weight.grad)))
    finally:
        tg.set_num_threads(threads)
    assert len(seen) == 1


@pytest.mark.parametrize("shape", [(3, 4, 9), (2, 3, 5, 6), (2, 2, 3, 4, 5), (1, 2, 70)], ids=str)
@pytest.mark.parametrize("own", [True, False], ids=["own statistics", "running statistics"])
def test_instance_norm(shape, own):
    def function(m, x, weight, bias):
        mean = m.from_numpy(randn(shape[1], seed=5))
        var = m.from_numpy(np.abs(randn(shape[1], seed=6)) + 0.5)
        y = functional(m).instance_norm(x, mean, var, weight, bias, own, 0.3, 1e-3)
        return y, mean, var

    arrays = randn(*shape), randn(shape[1], seed=1), randn(shape[1], seed=2)
    check(function, *arrays, atol=1e-10)
    if own:
        check(lambda m, x: functional(m).instance_norm(x), arrays[0], atol=1e-10)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("shape", [(2, 7, 3), (2, 4, 3, 5), (1, 6, 2, 3, 2)], ids=str)
def test_local_response_norm(size, shape):
    check(lambda m, x: functional(m).local_response_norm(x, size, 0.1, 0.6, 2.0), randn(*shape))


def z(*shape, dtype=None):
    return tg.zeros(*shape, dtype=dtype)


ERRORS = {
    "groups": (RuntimeError, "divisible", lambda: F.group_norm(z(2, 3, 4), 2)),
    "no groups": (RuntimeError, "greater than 0", lambda: F.group_norm(z(2, 3, 4), 0)),
    "one dim": (RuntimeError, "2 dimensions", lambda: F.group_norm(z(3), 1)),
    "weight": (RuntimeError, "weight", lambda: F.group_norm(z(2, 3, 4), 1, z(2))),
    "bias": (RuntimeError, "bias", lambda: F.group_norm(z(2, 3, 4), 1, None, z(3, 1))),
    "dtypes": (RuntimeError, "dtype", lambda: F.group_norm(z(2, 3), 1, z(3, dtype=tg.float64))),
    "integers": (NotImplementedError, "int64", lambda: F.group_norm(z(2, 3, dtype=tg.int64), 1)),
    "no tensor": (TypeError, "group_norm", lambda: F.group_norm([1.0], 1)),
    "module": (ValueError, "divisible", lambda: tg.nn.GroupNorm(2, 3)),
    "instance: one value": (
        ValueError, "more than 1 spatial", lambda: F.instance_norm(z(2, 3, 1))),
    "instance: weight": (RuntimeError, "weight", lambda: F.instance_norm(z(2, 3, 4), weight=z(2))),
    "instance: no statistics": (
        RuntimeError, "running_mean", lambda: F.instance_norm(z(2, 3, 4), use_input_stats=False)),
    "instance: layer": (
        ValueError, "match num_features",
        lambda: tg.nn.InstanceNorm1d(2, affine=True)(z(2, 3, 4))),
    "instance: layer's dims": (ValueError, "3D or 4D", lambda: tg.nn.InstanceNorm2d(2)(z(2, 3))),
    "response: dims": (ValueError, "3D or higher", lambda: F.local_response_norm(z(2, 3), 2)),
    "response: no tensor": (TypeError, "local_resp", lambda: F.local_response_norm([1.0], 2)),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS.values(), ids=ERRORS)
def test_complaints(case):
    check_error(*case)
