"""F.pad in all modes: values, derivatives of both orders, complaints."""

import numpy as np
import pytest

import tilegrad as tg
from support import check, check_error, randn

F = tg.nn.functional

# (shape, pad, mode)
CASES = {
    "row": ((7,), (2, 3), "constant"),
    "all dimensions": ((2, 3, 4), (1, 2, 0, 1, 3, 0), "constant"),
    "cut": ((2, 5, 6), (-1, -2, -2, 1), "constant"),
    "cut to nothing": ((2, 5), (-3, -2), "constant"),
    "nothing": ((2, 5), (), "constant"),
    "no elements": ((2, 0, 3), (1, 1, 2, 1), "constant"),
    "empty batch": ((0, 3, 4), (1, 1), "constant"),
    "no dimensions": ((), (), "constant"),
    **{
        f"{mode} {name}": (shape, pad, mode)
        for mode in ("reflect", "replicate", "circular")
        for name, shape, pad in [
            ("1d", (2, 3, 5), (4, 2)),
            ("1d unbatched", (3, 5), (1, 2)),
            ("2d", (2, 3, 5, 4), (3, 1, 2, 4)),
            ("2d unbatched", (3, 5, 4), (0, 1, 2, 0)),
            ("3d", (2, 3, 4, 5, 3), (2, 1, 1, 0, 3, 2)),
            ("3d unbatched", (2, 4, 5, 3), (1, 1, 1, 1, 1, 1)),
            ("cut", (2, 3, 6, 5), (-1, 2, 3, -2)),
            ("cut both", (2, 3, 6), (-2, -3)),
            ("zero sizes", (2, 3, 6), (0, 0)),
            ("empty batch", (0, 3, 6), (1, 2)),
        ]
    },
    "replicate more than there is": ((2, 3, 2, 3), (7, 5, 3, 4), "replicate"),
    "circular the whole": ((2, 3, 4), (4, 4), "circular"),
    "replicate of one": ((2, 3, 1), (3, 2), "replicate"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_values_and_gradients(case):
    shape, pad, mode = case
    x = randn(*shape)
    check(lambda m, x: m.nn.functional.pad(x, pad, mode), np.asarray(x))
    if mode == "constant":
        check(lambda m, x: m.nn.functional.pad(x, pad, value=1.5), np.asarray(x))


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_second_derivatives(mode):
    x = tg.from_numpy(randn(1, 2, 4, 5)).requires_grad_()
    assert tg.autograd.gradcheck(lambda x: F.pad(x, (2, -1, 3, 1), mode), [x])
    assert tg.autograd.gradgradcheck(lambda x: F.pad(x, (2, -1, 3, 1), mode) ** 3, [x])


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_any_strides(mode):
    x = randn(4, 5, 6, 3)
    check(lambda m, x: m.nn.functional.pad(x.permute(3, 0, 2, 1)[:, :, ::2], (1, 2, 1, 1), mode), x)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_, np.float32])
def test_dtypes(dtype):
    x = np.arange(6).reshape(2, 3).astype(dtype)
    check(lambda m, x: m.nn.functional.pad(x, (1, 2), value=1), x, grad=False)


def z(*shape):
    return tg.zeros(*shape)


ERRORS = {
    "odd": (RuntimeError, "divisible by 2", lambda: F.pad(z(2, 3), (1,))),
    "too many": (RuntimeError, "two times", lambda: F.pad(z(2, 3), (1,) * 6)),
    "negative result": (RuntimeError, "negative", lambda: F.pad(z(2, 3), (-2, -2))),
    "cut beyond the end": (RuntimeError, "negative", lambda: F.pad(z(2, 3), (-4, 3))),
    "one number": (TypeError, "", lambda: F.pad(z(2, 3), 1)),
    "fractions": (TypeError, "pad", lambda: F.pad(z(2, 3), (1.5, 1))),
    "mode": (
        NotImplementedError,
        "Unrecognised padding mode x",
        lambda: F.pad(z(2, 3), (1, 1), "x"),
    ),
    "value": (RuntimeError, "value", lambda: F.pad(z(2, 3), (1, 1), "reflect", 3.0)),
    "dimensions": (NotImplementedError, "2D input", lambda: F.pad(z(2, 3), (1,) * 4, "reflect")),
    "no sizes": (NotImplementedError, "not supported", lambda: F.pad(z(2, 3), (), "reflect")),
    "reflect too far": (RuntimeError, "less than", lambda: F.pad(z(2, 3), (3, 0), "reflect")),
    "around twice": (RuntimeError, "wrapping", lambda: F.pad(z(2, 3), (4, 0), "circular")),
    "nothing left": (RuntimeError, "too small", lambda: F.pad(z(2, 3), (-3, 0), "replicate")),
    "nothing to repeat": (RuntimeError, "non-zero", lambda: F.pad(z(2, 0), (1, 1), "replicate")),
    "overflow": (RuntimeError, "overflow", lambda: F.pad(z(2, 3), (1 << 62, 1 << 62))),
    "not a tensor": (TypeError, "", lambda: F.pad([1.0], (1, 1))),
}


@pytest.mark.parametrize("case", ERRORS.values(), ids=ERRORS)
def test_complaints(case):
    check_error(*case)
