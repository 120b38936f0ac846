"""layer_norm and rms_norm: values and derivatives against PyTorch, and complaints."""

import numpy as np
import pytest
import torch

import tilegrad as tg
import tilegrad.nn.functional as F
from support import as_array, check, check_error, randn


def functional(m):
    return torch.nn.functional if m is torch else F


# Shape, number of normalized dimensions.
CASES = [((5, 7), 1), ((3, 4, 33), 1), ((2, 3, 4, 5), 2), ((6,), 1), ((2, 3, 5), 3), ((67, 1), 1)]
CASES += [((130, 64), 1), ((2, 9001), 1), ((301, 17), 1), ((0, 5), 1), ((1100, 40), 1)]


@pytest.mark.parametrize("shape, ndim", CASES, ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_values_and_gradients(shape, ndim, dtype):
    x, last = randn(*shape, dtype=dtype), shape[-ndim:]
    weight, bias = randn(*last, dtype=dtype, seed=1), randn(*last, dtype=dtype, seed=2)
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype is np.float32 else {"atol": 1e-10}
    check(
        lambda m, x, w, b: functional(m).layer_norm(x, last, w, b, 1e-3),
        *(x, weight, bias),
        **tolerance,
    )
    check(lambda m, x, w: functional(m).layer_norm(x, last, w), x, weight, **tolerance)
    check(lambda m, x, b: functional(m).layer_norm(x, last, None, b), x, bias, **tolerance)
    check(lambda m, x: functional(m).layer_norm(x, last), x, **tolerance)
    check(lambda m, x, w: functional(m).rms_norm(x, last, w), x, weight, **tolerance)
    check(lambda m, x: functional(m).rms_norm(x, last, eps=0.1), x, **tolerance)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_nan_and_infinity_stay_in_their_row(value):
    for place in (0, 3, 16, 18):
        x = randn(4, 19)
        x[1, place] = value
        for name in ("layer_norm", "rms_norm"):
            check(lambda m, x, w, name=name: getattr(functional(m), name)(x, (19,), w),
                  x, randn(19, seed=1), atol=1e-11)  # fmt: skip


def test_variance_survives_a_large_mean():
    x = (1e4 + randn(3, 5000)).astype(np.float32)
    y = as_array(F.layer_norm(tg.from_numpy(x), (5000,), eps=0.0))
    exact = x.astype(np.float64)
    exact = (exact - exact.mean(1, keepdims=True)) / exact.std(1, keepdims=True)
    np.testing.assert_allclose(y, exact, atol=2e-3)


@pytest.mark.parametrize("shape, ndim", [((4, 5), 1), ((2, 3, 4), 2), ((6,), 1)], ids=str)
def test_second_derivatives(shape, ndim):
    last = shape[-ndim:]
    for name in ("layer_norm", "rms_norm"):
        results = []
        for m in (tg, torch):
            arrays = [randn(*shape), randn(*last, seed=1), randn(*last, seed=2)]
            leaves = [m.from_numpy(a).requires_grad_() for a in arrays[: 2 + (name[0] == "l")]]
            y = getattr(functional(m), name)(leaves[0], last, *leaves[1:])
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
        check(lambda m, x, f=layout: functional(m).layer_norm(f(x), f(x).shape[1:]), x, atol=1e-11)


@pytest.mark.host("threads are the CPU's")
def test_same_bits_for_every_number_of_threads():
    threads, seen = tg.get_num_threads(), set()
    try:
        for count in (1, 2, 3, 8):
            tg.set_num_threads(count)
            x = tg.from_numpy(randn(3001, 70, dtype=np.float32)).requires_grad_()
            weight = tg.from_numpy(randn(70, dtype=np.float32)).requires_grad_()
            bias = tg.zeros(70).requires_grad_()
            y = F.layer_norm(x, (70,), weight, bias)
            (y * y).sum().backward()
            seen.add(b"".join(as_array(t).tobytes() for t in (y, x.grad, weight.grad, bias.grad)))
    finally:
        tg.set_num_threads(threads)
    assert len(seen) == 1


def test_rows_without_elements():
    x, weight = tg.zeros(3, 0).requires_grad_(), tg.zeros(0).requires_grad_()
    y = F.layer_norm(x, (0,), weight)
    y.sum().backward()
    assert y.shape == (3, 0) and x.grad.shape == (3, 0) and weight.grad.shape == (0,)


def z(*shape, dtype=None):
    return tg.zeros(*shape, dtype=dtype)


ERRORS = {
    "shape": (RuntimeError, "normalized_shape", lambda: F.layer_norm(z(2, 3), (4,))),
    "too many dims": (RuntimeError, "normalized_shape", lambda: F.layer_norm(z(3), (2, 3))),
    "no dims": (RuntimeError, "at least 1-dim", lambda: F.layer_norm(z(3), ())),
    "weight": (RuntimeError, "weight", lambda: F.layer_norm(z(2, 3), (3,), z(2))),
    "bias": (RuntimeError, "bias", lambda: F.layer_norm(z(2, 3), (3,), None, z(3, 1))),
    "weight dtype": (
        RuntimeError, "dtype", lambda: F.layer_norm(z(2, 3), (3,), z(3, dtype=tg.float64))),
    "integers": (
        NotImplementedError, "int64", lambda: F.layer_norm(z(2, 3, dtype=tg.int64), (3,))),
    "no tensor": (TypeError, "layer_norm", lambda: F.layer_norm([1.0], (1,))),
    "rms: shape": (RuntimeError, "rms_norm", lambda: F.rms_norm(z(2, 3), (4,))),
    "rms: weight": (RuntimeError, "weight", lambda: F.rms_norm(z(2, 3), (3,), z(2))),
    "rms: no tensor": (TypeError, "rms_norm", lambda: F.rms_norm([1.0], (1,))),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS.values(), ids=ERRORS)
def test_complaints(case):
    check_error(*case)
