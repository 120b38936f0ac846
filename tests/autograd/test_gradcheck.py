"""gradcheck and gradgradcheck: they accept what is right and name what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check_error, randn
from tilegrad.autograd import GradcheckError, gradcheck, gradgradcheck

FAST = pytest.mark.parametrize("fast_mode", [False, True])
BOTH = pytest.mark.parametrize("m", [tg, torch], ids=["tilegrad", "torch"])


def leaf(*shape, seed=0):
    return tg.from_numpy(randn(*shape, seed=seed)).requires_grad_()


def scaled(m, factor, slope):
    """x * factor whose backward claims the slope."""

    class Scaled(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * factor

        @staticmethod
        def backward(ctx, grad):
            return grad * slope

    return Scaled.apply


@FAST
def test_right_gradients(fast_mode):
    x, w = leaf(3, 4), leaf(4, 2, seed=1)
    before = x.tolist()
    assert gradcheck(lambda x, w: (x @ w, x * 2), (x, w), fast_mode=fast_mode)
    assert gradgradcheck(lambda x, w: x @ w * 3, (x, w), fast_mode=fast_mode)
    assert x.tolist() == before and x.grad is None


@FAST
@pytest.mark.parametrize(
    "make",
    [
        lambda: leaf(3, 4).detach().t().requires_grad_(),
        lambda: leaf(4, 6).detach().narrow(1, 1, 3).requires_grad_(),
        lambda: leaf(0, 3),
        lambda: tg.tensor(0.7, dtype=tg.float64, requires_grad=True),
        lambda: leaf(3) * 2,
    ],
)
def test_layouts(make, fast_mode):
    assert gradcheck(lambda x: x * x * x, make(), fast_mode=fast_mode)
    assert gradgradcheck(lambda x: x * x * x, make(), fast_mode=fast_mode)


@BOTH
@FAST
def test_wrong_gradient(m, fast_mode):
    x = m.tensor([1.0, 2.0], dtype=m.float64, requires_grad=True)
    y = m.ones(2, dtype=m.float64).requires_grad_()
    wrong = scaled(m, 2, 2.1)

    def function(x, y):
        return x * 3, y * wrong(x)

    with pytest.raises(
        RuntimeError, match="Jacobian mismatch for output 1 with respect to input 0"
    ):
        m.autograd.gradcheck(function, (x, y), fast_mode=fast_mode)
    assert not m.autograd.gradcheck(function, (x, y), raise_exception=False, fast_mode=fast_mode)
    assert m.autograd.gradcheck(function, (x, y), rtol=0.2, fast_mode=fast_mode)


def test_message_shows_both():
    with pytest.raises(GradcheckError, match=r"numerical:(?s:.*)2\.0*\d*(?s:.*)analytical:.*2\.5"):
        gradcheck(scaled(tg, 2, 2.5), tg.tensor([1.0], dtype=tg.float64, requires_grad=True))


def test_one_wrong_entry_of_many():
    mask = np.ones(50)
    mask[31] = 1.5
    wrong = scaled(tg, 1, tg.from_numpy(mask))
    for fast_mode in (False, True):
        assert not gradcheck(wrong, leaf(50), raise_exception=False, fast_mode=fast_mode)


def test_wrong_second_derivative():
    class Square(tg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, grad):
            return grad * 2 * ctx.saved_tensors[0].detach()  # loses the second derivative

    x = leaf(3)
    assert gradcheck(Square.apply, x)
    check_error(GradcheckError, "Jacobian mismatch", lambda: gradgradcheck(Square.apply, x))


def test_given_and_non_contiguous_grad_outputs():
    x = leaf(3, 4)
    assert gradgradcheck(lambda x: x * x, x, leaf(3, 4, seed=5))
    assert gradgradcheck(lambda x: x * x, x, gen_non_contig_grad_outputs=True)


def test_nondeterministic_backward():
    calls = []

    class Drifts(tg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, grad):
            calls.append(1)
            return grad * (1 + 1e-7 * len(calls))

    check_error(GradcheckError, "not reentrant", lambda: gradcheck(Drifts.apply, leaf(2)))
    assert gradcheck(Drifts.apply, leaf(2), nondet_tol=1e-6)


def test_hidden_dependence():
    check_error(
        GradcheckError,
        "expected to be zero",
        lambda: gradcheck(lambda x: x.detach() * 2, leaf(2)),
    )
    assert gradcheck(lambda x: tg.ones(2), leaf(2))


def test_undefined_output_gradients():
    class Fragile(tg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            return a * 2 + b * 3

    check_error(
        GradcheckError, "undefined output grads", lambda: _only_undefined(Fragile.apply, leaf(2))
    )


def _only_undefined(function, x):
    from tilegrad.autograd.gradcheck import _check_undefined

    _check_undefined(function, (x,), [0])


def test_bad_input():
    check_error(ValueError, "at least one input", lambda: gradcheck(lambda x: x, tg.ones(2)))
    single = tg.ones(2).requires_grad_()
    check_error(ValueError, "float64", lambda: gradcheck(lambda x: x, single))
    wide = tg.ones(1, dtype=tg.float64).expand((3,)).requires_grad_()
    check_error(RuntimeError, "share memory", lambda: gradcheck(lambda x: x, wide))
