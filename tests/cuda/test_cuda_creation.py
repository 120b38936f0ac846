"""Tensors made on a device beside the same calls on the CPU: every factory, halves too."""

from __future__ import annotations

import numpy as np
import pytest

import tilegrad as tg
from support import check_error

pytestmark = pytest.mark.gpu

FACTORIES = {
    "zeros": lambda **o: tg.zeros(3, 4, **o),
    "ones": lambda **o: tg.ones(3, 4, **o),
    "full": lambda **o: tg.full((3, 4), 1.7, **o),
    "full of infinity": lambda **o: tg.full((2,), float("-inf"), **o),
    "arange": lambda **o: tg.arange(-3, 40, 0.7, **o),
    "linspace": lambda **o: tg.linspace(-1, 2, 37, **o),
    "logspace": lambda **o: tg.logspace(-1, 1, 13, **o),
    "eye": lambda **o: tg.eye(4, 6, **o),
    "tensor": lambda **o: tg.tensor([[1.1, -2.3], [0.0, 7.0]], **o),
    "scalar": lambda **o: tg.tensor(0.3, **o),
    "as_tensor": lambda **o: tg.as_tensor([1.5, 2.5], **o),
    "hann_window": lambda **o: tg.hann_window(11, **o),
    "zeros_like": lambda **o: tg.zeros_like(tg.ones(3), **o),
    "full_like": lambda **o: tg.full_like(tg.ones(2, 2), 0.1, **o),
    "new_tensor": lambda **o: tg.ones(2).new_tensor([0.1, 0.2], **o),
    "new_full": lambda **o: tg.ones(2).new_full((2, 3), 0.1, **o),
    "empty_strided": lambda **o: tg.empty_strided((2, 3), (1, 2), **o).fill_(0.7),
}
DTYPES = [tg.float16, tg.bfloat16, tg.float32, tg.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FACTORIES)
def test_factories(name, dtype):
    there = FACTORIES[name](dtype=dtype, device="cuda")
    host = FACTORIES[name](dtype=dtype, device="cpu")
    assert there.is_cuda and there.dtype is dtype and there.shape == host.shape
    assert there.stride() == host.stride()
    tolerance = 1e-2 if dtype is tg.bfloat16 else 1e-3 if dtype is tg.float16 else 1e-6
    np.testing.assert_allclose(
        there.cpu().double().numpy(), host.double().numpy(), rtol=tolerance, atol=tolerance
    )
    assert (there == there.cpu().to("cuda")).all().item()


DRAWS = {
    "rand": (lambda **o: tg.rand(4000, **o), 0.5, 12**-0.5),
    "randn": (lambda **o: tg.randn(4000, **o), 0.0, 1.0),
    "rand_like": (lambda **o: tg.rand_like(tg.ones(4000), **o), 0.5, 12**-0.5),
    "randint": (lambda **o: tg.randint(0, 11, (4000,), **o), 5.0, 10**0.5),
    "normal": (lambda **o: tg.empty(4000, **o).normal_(2, 0.5), 2.0, 0.5),
    "uniform": (lambda **o: tg.empty(4000, **o).uniform_(1, 2), 1.5, 12**-0.5),
    "exponential": (lambda **o: tg.empty(4000, **o).exponential_(2), 0.5, 0.5),
    "bernoulli": (lambda **o: tg.empty(4000, **o).bernoulli_(0.3), 0.3, 0.21**0.5),
    "bernoulli of halves": (lambda **o: tg.bernoulli(tg.full((4000,), 0.3, **o)), 0.3, 0.21**0.5),
    "dropout": (lambda **o: tg.nn.functional.dropout(tg.ones(4000, **o)), 1.0, 1.0),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", DRAWS)
def test_draws(name, dtype):
    draw, mean, deviation = DRAWS[name]
    tg.cuda.manual_seed(1)
    x = draw(dtype=dtype, device="cuda")
    assert x.is_cuda and x.dtype is dtype
    values = x.cpu().double().numpy()
    assert abs(values.mean() - mean) < 5 * deviation / 4000**0.5
    assert abs(values.std() - deviation) < 0.1 * deviation
    if name in ("rand", "rand_like"):
        assert values.min() >= 0 and values.max() < 1  # not rounded up to the end


def test_permutations():
    for dtype in (None, tg.int32, tg.float16):
        x = tg.randperm(500, dtype=dtype, device="cuda")
        assert (
            x.is_cuda and sorted(x.tolist()) == list(range(500)) and x.tolist() != list(range(500))
        )
    tg.cuda.manual_seed(2)
    first = tg.randperm(20, device="cuda").tolist()
    mine = tg.Generator("cuda").manual_seed(2)
    assert tg.randperm(20, generator=mine, device="cuda").tolist() == first
    check_error(RuntimeError, "negative", lambda: tg.randperm(-1, device="cuda"))
    assert tg.randperm(0, device="cuda").shape == (0,)


def test_numbers_that_a_half_cannot_hold():
    check_error(RuntimeError, "overflow",
                lambda: tg.full((2,), 1e6, dtype=tg.float16, device="cuda"))  # fmt: skip
    x = tg.zeros(2, dtype=tg.float16, device="cuda")
    assert x.fill_(65504).tolist() == [65504.0, 65504.0]


@pytest.mark.parametrize("dtype", [tg.float16, tg.bfloat16])
def test_the_default_dtype_may_be_a_half(dtype):
    tg.set_default_dtype(dtype)
    try:
        x = tg.ones(3, device="cuda") * 1.5
        layer = tg.nn.Linear(3, 2, device="cuda")
        assert (
            x.dtype is dtype
            and layer(x).dtype is dtype
            and tg.rand(2, device="cuda").dtype is dtype
        )
    finally:
        tg.set_default_dtype(tg.float32)
