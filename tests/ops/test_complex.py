"""Complex numbers against PyTorch: parts, arithmetic, reductions, products, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import check, check_error, complex_randn, randn

Z = complex_randn(3, 4)
W = complex_randn(3, 4, seed=1)
X = randn(3, 4, seed=2)

PARTS = {
    "real": lambda m, z: m.real(z),
    "imag": lambda m, z: z.imag,
    "view_as_real": lambda m, z: m.view_as_real(z),
    "conj": lambda m, z: z.conj().resolve_conj(),
    "conj_physical": lambda m, z: m.conj_physical(z),
    "mH": lambda m, z: z.mH.resolve_conj(),
    "H": lambda m, z: z.H.resolve_conj(),
    "adjoint": lambda m, z: z.adjoint().resolve_conj(),
    "abs": lambda m, z: z.abs(),
    "angle": lambda m, z: z.angle(),
    "sgn": lambda m, z: z.sgn(),
    "isreal": lambda m, z: m.isreal(z * (z.real > 0).to(z.dtype)),
}

ELEMENTWISE = {
    "add": lambda m, z, w: z + w,
    "add alpha": lambda m, z, w: m.add(z, w, alpha=2 - 1j),
    "sub": lambda m, z, w: z - w,
    "sub alpha": lambda m, z, w: m.sub(z, w, alpha=3),
    "mul": lambda m, z, w: z * w,
    "div": lambda m, z, w: z / w,
    "pow": lambda m, z, w: z**w,
    "square": lambda m, z, w: z**2 + w**3 + z**-1,
    "broadcast": lambda m, z, w: z[:, None] * w[0] + z[:1],
    "numbers": lambda m, z, w: (1 + 2j) * z + w / 2j - 3 + 1j / z,
    "neg": lambda m, z, w: -z,
    "reciprocal": lambda m, z, w: z.reciprocal(),
    "exp": lambda m, z, w: z.exp(),
    "expm1": lambda m, z, w: z.expm1(),
    "log": lambda m, z, w: z.log(),
    "log2": lambda m, z, w: z.log2() + z.log10() + z.log1p(),
    "sqrt": lambda m, z, w: z.sqrt() + w.rsqrt(),
    "sin": lambda m, z, w: z.sin() + w.cos(),
    "tan": lambda m, z, w: z.tan() + w.tanh(),
    "sinh": lambda m, z, w: z.sinh() + w.cosh(),
    "asin": lambda m, z, w: z.asin() + w.acos() + w.atan(),
    "asinh": lambda m, z, w: z.asinh() + w.atanh(),
    "sigmoid": lambda m, z, w: z.sigmoid(),
    "lerp": lambda m, z, w: m.lerp(z, w, 0.3),
    "addcmul": lambda m, z, w: m.addcmul(z, z, w, value=2),
    "where": lambda m, z, w: m.where(z.real > 0, z, w),
    "comparisons": lambda m, z, w: (z == w, z != z.clone(), m.isclose(z, z + 1e-12), m.equal(z, z)),
    "truth": lambda m, z, w: (z.bool(), m.logical_not(z), m.logical_and(z, w), z.any(), z.all(0)),
}

REDUCTIONS = {
    "sum": lambda m, z: (z.sum(), z.sum(0), z.sum((0, -1), keepdim=True)),
    "mean": lambda m, z: (z.mean(), z.mean(-1, keepdim=True)),
    "prod": lambda m, z: (z.prod(), z.prod(1)),
    "var": lambda m, z: (z.var(), z.var(0, unbiased=False), z.std(-1)),
    "cumsum": lambda m, z: (z.cumsum(0), z.cumsum(-1)),
    "cumprod": lambda m, z: z.cumprod(1),
    "norm": lambda m, z: (z.norm(), z.norm(1), z.norm(3, dim=1), m.linalg.vector_norm(z, 2, 0)),
    "scalar": lambda m, z: (z[0, 0].sum(), z[0, 0].mean(), z[0, 0].prod()),
}

MOVES = {
    "index": lambda m, z: z[1:, ::2] * z[0, 1],
    "index tensor": lambda m, z: z[[2, 0, 2]],
    "gather": lambda m, z: z.gather(1, m.tensor([[0, 3], [1, 1], [2, 0]])),
    "index_select": lambda m, z: z.index_select(1, m.tensor([3, 0])),
    "cat": lambda m, z: m.cat([z, z.conj()], 1),
    "stack": lambda m, z: m.stack([z, z * 2], -1),
    "transposed copy": lambda m, z: z.t().contiguous(),
    "flip": lambda m, z: z.flip(0, 1),
    "roll": lambda m, z: m.roll(z, 1, 0),
    "pad": lambda m, z: m.nn.functional.pad(z, (1, 2)),
    "repeat": lambda m, z: z.repeat(2, 1),
    "tril": lambda m, z: z.tril(),
    "masked_fill": lambda m, z: z.masked_fill(z.real > 0, 2j),
    "index_add": lambda m, z: z.index_add(0, m.tensor([0, 0, 2]), z),
    "scatter": lambda m, z: z.scatter(1, m.tensor([[1], [0], [3]]), z[:, :1].clone()),
    "index_put": lambda m, z: z.index_put((m.tensor([0, 0]),), z[1:], accumulate=True),
    "diagonal": lambda m, z: m.diag_embed(z.diagonal()),
    "to": lambda m, z: z.to(m.complex64).to(m.complex128),
}

PRODUCTS = {
    "matmul": lambda m, z, w: z @ w.t(),
    "batched": lambda m, z, w: m.stack([z, w]) @ w.t(),
    "vector": lambda m, z, w: (z @ w[0], z[0] @ w.t(), z[0] @ w[0]),
    "linear": lambda m, z, w: m.nn.functional.linear(z, w, w[:, 0]),
    "einsum": lambda m, z, w: m.einsum("ij,kj->ik", z, w),
    "addmm": lambda m, z, w: m.addmm(z[:, :3], z, w.t()),
    "outer": lambda m, z, w: m.outer(z[0], w[0]),
    "vdot": lambda m, z, w: m.vdot(z[0], w[0]),
    "kron": lambda m, z, w: m.kron(z, w),
}


@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
@pytest.mark.parametrize("name", PARTS)
def test_parts(name, dtype):
    check(PARTS[name], Z.astype(dtype))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name):
    check(ELEMENTWISE[name], Z, W, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ["add", "mul", "div", "numbers", "exp"])
def test_single_precision(name):
    check(ELEMENTWISE[name], Z.astype(np.complex64), W.astype(np.complex64), rtol=2e-5)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "pow"])
def test_real_beside_complex(name):
    check(lambda m, x, w: ELEMENTWISE[name](m, w, x), X, W)
    check(lambda m, x, w: ELEMENTWISE[name](m, x.abs(), w), X, W)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name):
    check(REDUCTIONS[name], Z)


@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
@pytest.mark.parametrize("name", MOVES)
def test_elements_move_whole(name, dtype):
    check(MOVES[name], Z.astype(dtype))


@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name):
    check(PRODUCTS[name], Z, W)


def test_made_from_parts():
    check(lambda m, x, y: m.complex(x, y), X, randn(4, seed=5))
    check(lambda m, x, y: m.polar(x.abs(), y), X, randn(3, 1, seed=5))
    check(lambda m, x: m.view_as_complex(x), randn(3, 4, 2))
    check(lambda m, x: m.view_as_complex(x.transpose(0, 1)), randn(3, 4, 2, dtype=np.float32))


def test_zero_has_no_direction():
    z = np.array([0, 3 + 4j, 0, -2])
    check(lambda m, z: (z.sgn(), z.abs()), z)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (torch.float64, torch.complex64),
        (torch.int64, torch.complex64),
        (torch.complex64, torch.complex128),
        (torch.bool, torch.complex128),
        (torch.float32, torch.complex64),
    ],
)
def test_promotion(first, second):
    ours = [getattr(tg, str(x)[6:]) for x in (first, second)]
    expected = str(torch.promote_types(first, second))[6:]
    assert tg.promote_types(*ours).name == expected
    for shapes in (((2,), (2,)), ((2,), ()), ((), (2,))):
        theirs = torch.ones(shapes[0], dtype=first) * torch.ones(shapes[1], dtype=second)
        got = tg.ones(shapes[0], dtype=ours[0]) * tg.ones(shapes[1], dtype=ours[1])
        assert got.dtype.name == str(theirs.dtype)[6:], shapes
    got = tg.ones(2, dtype=ours[0]) * 1j
    assert got.dtype.name == str((torch.ones(2, dtype=first) * 1j).dtype)[6:]


def test_writes_in_place():
    def run(m, z, w):
        y = z.clone()
        y += w
        y *= 2j
        y[0] = 1 + 1j
        y[:, 1] /= w[:, 1]
        y.real = y.real * 2
        y.imag[2] = 0
        y.exp_()
        return y

    check(run, Z, W, rtol=1e-11)


def test_views_share_memory():
    z = tg.zeros(3, dtype=tg.complex64)
    z.real = 2
    z.imag[1] = 5
    tg.view_as_real(z)[2] = tg.tensor([7.0, 8.0])
    assert z.tolist() == [2, 2 + 5j, 7 + 8j]
    assert tg.view_as_complex(tg.view_as_real(z)).data_ptr() == z.data_ptr()


@pytest.mark.host("the numbers of a seed are the CPU's")
def test_filled_and_random():
    for dtype in ("complex64", "complex128"):
        ours, theirs = getattr(tg, dtype), getattr(torch, dtype)
        assert tg.full((2, 3), 1 - 2j, dtype=ours).tolist() == [[1 - 2j] * 3] * 2
        assert tg.eye(2, dtype=ours).tolist() == torch.eye(2, dtype=theirs).tolist()
        for draw in ("rand", "randn"):
            tg.manual_seed(3)
            torch.manual_seed(3)
            got, expected = (
                getattr(tg, draw)(40, dtype=ours),
                getattr(torch, draw)(40, dtype=theirs),
            )
            np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-5)
    assert tg.full((1,), 1j).dtype is tg.complex64
    assert tg.tensor([1, 2j]).dtype is tg.complex64
    assert tg.tensor(np.array([2j])).dtype is tg.complex128
    assert tg.zeros(2, dtype=complex).dtype is tg.complex64


def test_nan_and_infinity():
    z = np.array([1, np.nan, 1j * np.inf, complex(np.inf, np.nan), -np.inf])
    check(lambda m, z: (m.isnan(z), m.isinf(z), m.isfinite(z), z.abs(), m.nan_to_num(z)), z,
          grad=False)  # fmt: skip


def test_to_real_warns():
    z = tg.tensor([1 + 2j, 3])
    with pytest.warns(UserWarning, match="discards the imaginary part"):
        assert z.to(tg.float32).tolist() == [1, 3]
    assert z.to(tg.bool).tolist() == [True, True]
    assert (z * 0).bool().tolist() == [False, False]
    assert tg.tensor([1, 2]).to(tg.cdouble).tolist() == [1, 2]


GRADCHECKED = {
    "mul": lambda z, w: z * w,
    "div": lambda z, w: z / w,
    "pow": lambda z, w: z**w,
    "matmul": lambda z, w: z @ w.mT,
    "abs": lambda z, w: z.abs() * w.angle(),
    "sgn": lambda z, w: z.sgn() * w.conj(),
    "parts": lambda z, w: z.real * w.imag,
    "to real and back": lambda z, w: tg.complex(z.real, w.imag).exp(),
    "log": lambda z, w: z.log() + w.sqrt(),
    "tanh": lambda z, w: z.tanh() * w.sin(),
    "prod": lambda z, w: z.prod() + w.cumprod(1).sum(),
    "std": lambda z, w: z.std() + w.norm(),
    "real input": lambda z, w: z * w.real,
}


@pytest.mark.parametrize("name", GRADCHECKED)
def test_gradcheck(name):
    inputs = [tg.from_numpy(x[:2, :2].copy()).requires_grad_() for x in (Z, W)]
    assert tg.autograd.gradcheck(GRADCHECKED[name], inputs)
    assert tg.autograd.gradgradcheck(GRADCHECKED[name], inputs)


def test_gradcheck_finds_a_missing_conjugate():
    class Wrong(tg.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return z * z

        @staticmethod
        def backward(ctx, grad):
            (z,) = ctx.saved_tensors
            return grad * 2 * z  # the conjugate is missing

    z = tg.from_numpy(Z.copy()).requires_grad_()
    assert not tg.autograd.gradcheck(Wrong.apply, z, raise_exception=False)
    assert not tg.autograd.gradcheck(Wrong.apply, z, fast_mode=True, raise_exception=False)


def test_backward_needs_a_gradient():
    z = tg.ones(1, dtype=tg.complex64).requires_grad_()
    check_error(RuntimeError, "only for real scalar outputs", lambda: (z * 2).sum().backward())


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("lt", lambda z: z < z),
        ("amax", lambda z: z.amax()),
        ("max", lambda z: z.max()),
        ("sort", lambda z: z.sort()),
        ("relu", lambda z: tg.relu(z)),
        ("floor", lambda z: z.floor()),
        ("softmax", lambda z: z.softmax(0)),
        ("maximum", lambda z: tg.maximum(z, z)),
        ("remainder", lambda z: z % 2),
        ("floor_divide", lambda z: z // 2),
        ("argmax", lambda z: z.argmax()),
        ("erf", lambda z: z.erf()),
        ("topk", lambda z: z.topk(1)),
        ("dropout", lambda z: tg.nn.functional.dropout(z)),
        ("clamp", lambda z: z.clamp(min=0)),
        ("mul", lambda z: tg.ones(2).mul_(z)),
        ("scatter", lambda z: z.scatter_(0, tg.tensor([0]), z[:1] * 1, reduce="multiply")),
        ("conv", lambda z: tg.nn.functional.conv1d(z[None, None], z[None, None])),
        ("a number", lambda z: tg.ones(2).clamp(min=1j)),
    ],
)
def test_the_rest_is_refused_by_name(name, call):
    with pytest.raises(RuntimeError, match=r"complex|not.implemented|can't be cast|expected"):
        call(tg.tensor([1 + 1j, 2]))


@pytest.mark.parametrize(
    ("exception", "pattern", "call"),
    [
        (RuntimeError, "last dimension of size 2", lambda: tg.view_as_complex(tg.ones(3))),
        (RuntimeError, "scalar type: int64",
         lambda: tg.view_as_complex(tg.ones(2, dtype=tg.int64))),
        (RuntimeError, "stride 1", lambda: tg.view_as_complex(tg.ones(2, 2).t())),
        (RuntimeError, "stride divisible by 2",
         lambda: tg.view_as_complex(tg.ones(3, 3)[:, :2])),
        (RuntimeError, "only supported for complex", lambda: tg.view_as_real(tg.ones(2))),
        (RuntimeError, "imag is not implemented", lambda: tg.ones(2).imag),
        (RuntimeError, "Half, Float or Double", lambda: tg.complex(tg.tensor([1]), tg.ones(1))),
        (RuntimeError, "scalar type", lambda: tg.polar(tg.ones(1), tg.ones(1).double())),
        (RuntimeError, "without overflow", lambda: tg.ones(2).fill_(1j)),
        (RuntimeError, "without overflow", lambda: float(tg.tensor(1j))),
        (RuntimeError, "use sgn", lambda: tg.sign(tg.tensor(1j))),
        (RuntimeError, "In-place abs", lambda: tg.tensor([1j]).abs_()),
        (RuntimeError, "alpha must not be a complex", lambda: tg.add(tg.ones(1), 1, alpha=1j)),
        (RuntimeError, "same dtype", lambda: tg.ones(2, 2) @ tg.ones(2, 2, dtype=tg.cfloat)),
        (TypeError, "argument must be Tensor", lambda: tg.real(3)),
        (TypeError, "set_default_dtype", lambda: tg.set_default_dtype(tg.complex64)),
    ],
)  # fmt: skip
def test_complaints(exception, pattern, call):
    check_error(exception, pattern, call)


def test_rotary_embedding():
    """As in Llama: queries turned by angles that grow with the position."""

    def run(m, q, freqs):
        angles = m.outer(m.arange(5).to(freqs.dtype), freqs)
        turns = m.polar(m.ones_like(angles), angles)
        pairs = m.view_as_complex(q.float().reshape(*q.shape[:-1], -1, 2))
        return m.view_as_real(pairs * turns[None, :, None]).flatten(3).type_as(q)

    check(run, randn(2, 5, 3, 8, dtype=np.float32), randn(4, dtype=np.float32) ** 2)
