"""scaled_dot_product_attention against PyTorch: values, gradients, masks, dropout, complaints."""

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, assert_same, check, check_error, randn
from tilegrad.nn.functional import scaled_dot_product_attention as attention

# (batch, heads), queries, keys, features, features of value
SHAPES = [
    ((), 1, 1, 1, 1),
    ((2,), 5, 7, 4, 6),
    ((2, 3), 33, 31, 17, 5),
    ((1, 2), 70, 130, 16, 33),
    ((1, 1), 130, 70, 32, 48),
    ((2, 3), 1, 150, 40, 24),
    ((3,), 6, 70, 33, 16),
    ((2, 1, 2), 9, 67, 3, 8),
    ((1, 2), 300, 65, 8, 16),
    ((20, 1), 3, 3, 16, 16),
    ((2, 2), 64, 64, 64, 64),
    ((2, 2), 0, 3, 4, 4),
    ((2, 2), 3, 0, 4, 4),
    ((0, 2), 3, 3, 4, 4),
    ((2, 2), 3, 3, 4, 0),
]
DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])


def sdpa(m):
    return torch.nn.functional.scaled_dot_product_attention if m is torch else attention


def operands(shape, dtype=np.float64):
    batch, queries, keys, features, value_features = shape
    return (
        randn(*batch, queries, features, dtype=dtype),
        randn(*batch, keys, features, dtype=dtype, seed=1),
        randn(*batch, keys, value_features, dtype=dtype, seed=2),
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@DTYPES
def test_values_and_gradients(shape, dtype):
    tolerance = {"rtol": 1e-4, "atol": 2e-5} if dtype is np.float32 else {}
    q, k, v = operands(shape, dtype)
    batch, queries, keys = shape[:3]
    random = np.random.default_rng(3)
    seen = random.random((*batch[-1:], queries, keys)) < 0.7
    bias = random.standard_normal((queries, keys)).astype(dtype)
    for options in ({}, {"is_causal": True}, {"scale": 0.3}):
        check(lambda m, q, k, v, o=options: sdpa(m)(q, k, v, **o), q, k, v, **tolerance)
    check(lambda m, q, k, v, mask: sdpa(m)(q, k, v, mask), q, k, v, seen, **tolerance)
    check(lambda m, q, k, v, mask: sdpa(m)(q, k, v, mask.detach()), q, k, v, bias, **tolerance)


@pytest.mark.parametrize("shape", [(3, 1, 5, 7), (1, 2, 1, 7), (5, 1), (7,), (3, 2, 5, 7)], ids=str)
def test_masks_broadcast(shape):
    q, k, v = operands(((3, 2), 5, 7, 4, 6))
    bias = randn(*shape, seed=4)
    check(lambda m, q, k, v, mask: sdpa(m)(q, k, v, mask), q, k, v, bias, atol=1e-11)
    if len(shape) > 1:  # PyTorch takes vectors of floats only
        check(lambda m, q, k, v, mask: sdpa(m)(q, k, v, mask), q, k, v, bias > 0)


def test_masks_are_strided():
    q, k, v = operands(((3, 2), 5, 7, 4, 6))
    check(lambda m, q, k, v, mask: sdpa(m)(q, k, v, mask.T), q, k, v, randn(7, 5), atol=1e-11)
    check(lambda m, q, k, v, mask: sdpa(m)(q, k, v, mask[:, ::2] > 0), q, k, v, randn(5, 14))


def test_rows_that_see_nothing_are_zero():
    q, k, v = operands(((2, 2), 40, 70, 4, 6))
    seen = np.ones((40, 70), bool)
    seen[[0, 7, 39]] = False
    seen[:, 64:] = False
    bias = np.where(seen, 0.5, -np.inf)
    bias[3, :64] = -np.inf
    check(lambda m, q, k, v, mask: sdpa(m)(q, k, v, mask), q, k, v, seen)
    check(lambda m, q, k, v, mask: sdpa(m)(q, k, v, mask.detach()), q, k, v, bias)
    output = as_array(attention(*map(tg.from_numpy, (q, k, v, seen))))
    assert not output[:, :, 7].any()
    assert output[:, :, 8].all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
@pytest.mark.parametrize("which", [0, 1, 2])
def test_nan_and_infinity(value, which):
    arrays = operands(((1, 2), 37, 70, 5, 6))
    arrays[which][0, 1, 20, 3] = value
    check(lambda m, q, k, v: sdpa(m)(q, k, v), *arrays)


def test_large_scores_do_not_overflow():
    q, k, v = operands(((1, 1), 37, 140, 5, 6), np.float32)
    check(lambda m, q, k, v: sdpa(m)(q * 200, k, v), q, k, v, rtol=1e-3, atol=1e-3)


def test_operands_broadcast_and_are_strided():
    q, k, v = operands(((2, 1), 5, 7, 4, 6))
    check(lambda m, q, k, v: sdpa(m)(q, k[:1].expand(2, 3, 7, 4), v[0, 0]), q, k, v)
    x = randn(2, 9, 3, 8, seed=5)

    def heads(m, q, k, v):
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return sdpa(m)(q, k, v, is_causal=True).transpose(1, 2).reshape(2, 9, 24)

    check(heads, x, x + 1, x * 2)
    check(lambda m, x: sdpa(m)(x[..., ::2], x[..., 1::2], x[..., 1::3]), x)
    y = attention(*[tg.from_numpy(x).transpose(1, 2)] * 3)
    assert y.transpose(1, 2).is_contiguous()
    assert tg.from_numpy(x).dtype == y.dtype


@pytest.mark.parametrize("heads", [(6, 2, 2), (6, 3, 1), (4, 1, 1), (4, 4, 4)], ids=str)
@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
def test_grouped_heads(heads, causal):
    q, k, v = (randn(2, h, n, 16, seed=n) for h, n in zip(heads, (40, 70, 70), strict=True))
    check(lambda m, q, k, v: sdpa(m)(q, k, v, is_causal=causal, enable_gqa=True), q, k, v)
    check(lambda m, q, k, v: sdpa(m)(q[0], k[0], v[0], enable_gqa=True), q, k, v)


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"dropout_p": 0.4}], ids=str)
def test_double_backward(options):
    arrays = operands(((2,), 3, 4, 2, 3))
    leaves = [tg.from_numpy(x).requires_grad_() for x in arrays]

    def function(q, k, v):
        tg.manual_seed(5)
        return attention(q, k, v, **options)

    assert tg.autograd.gradcheck(function, leaves)
    assert tg.autograd.gradgradcheck(function, leaves)


def test_double_backward_with_masks_and_groups():
    q, k, v = (randn(4, 3, 2), randn(2, 4, 2, seed=1), randn(2, 4, 2, seed=2))
    leaves = [tg.from_numpy(x).requires_grad_() for x in (q, k, v, randn(3, 4, seed=3))]
    assert tg.autograd.gradgradcheck(
        lambda q, k, v, mask: attention(q, k, v, mask, enable_gqa=True), leaves
    )
    seen = tg.tensor([[True, False, True, True], [False] * 4, [True] * 4])
    assert tg.autograd.gradgradcheck(lambda q, k, v, _: attention(q, k[:1], v[:1], seen), leaves)


@DTYPES
def test_dropout(dtype):
    """The weights are read off through a value of unit vectors; backward must drop the same."""
    keys = 70
    q, k, v = (tg.from_numpy(x) for x in operands(((2, 3), 40, keys, 8, 16), dtype))
    eye = tg.eye(keys, dtype=q.dtype).expand(2, 3, keys, keys)
    weights = as_array(attention(q, k, eye))
    tg.manual_seed(1)
    dropped = as_array(attention(q, k, eye, dropout_p=0.25))
    kept = dropped != 0
    assert abs(kept.mean() - 0.75) < 0.01
    for axis in (0, 1, 2, 3):  # no pattern along any dimension
        assert abs(np.corrcoef(kept[(slice(None),) * axis + (0,)].ravel(),
                               kept[(slice(None),) * axis + (1,)].ravel())[0, 1]) < 0.1  # fmt: skip
    np.testing.assert_allclose(dropped[kept], weights[kept] / 0.75, rtol=1e-5)

    leaves = [torch.from_numpy(as_array(x).copy()).requires_grad_() for x in (q, k, v)]
    scores = leaves[0] @ leaves[1].mT / 8**0.5
    expected = (scores.softmax(-1) * torch.from_numpy(kept) / 0.75) @ leaves[2]
    expected.backward(torch.cos(expected.detach()))
    ours = [x.detach().requires_grad_() for x in (q, k, v)]
    tg.manual_seed(1)
    output = attention(*ours, dropout_p=0.25)
    output.backward(output.detach().cos())
    tolerance = (
        {"rtol": 1e-4, "atol": 1e-5} if dtype is np.float32 else {"rtol": None, "atol": None}
    )
    assert_same(output, expected, **tolerance, what="output")
    for a, b in zip(ours, leaves, strict=True):
        assert_same(a.grad, b.grad, **tolerance, what="gradient")
    assert not as_array(attention(q, k, v, dropout_p=1.0)).any()


@pytest.mark.host("threads are the CPU's")
@pytest.mark.parametrize("heads", [1, 3, 20])
def test_same_bits_for_any_number_of_threads(heads):
    arrays = operands(((1, heads), 200, 150, 20, 16), np.float32)
    before = tg.get_num_threads()
    results = []
    for threads in (1, 2, 5):
        tg.set_num_threads(threads)
        leaves = [tg.from_numpy(x.copy()).requires_grad_() for x in arrays]
        tg.manual_seed(0)
        output = attention(*leaves, dropout_p=0.1)
        output.backward(output.detach().cos())
        results.append([as_array(x).tobytes() for x in (output, *[x.grad for x in leaves])])
    tg.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_complaints():
    x, y = tg.ones(2, 3, 4), tg.ones(2, 3, 5)
    half = tg.ones(3, 3, dtype=tg.int64)
    for exception, pattern, arguments in [
        (RuntimeError, "mask should not be set when is_causal", (x, x, x, half > 0, 0.0, True)),
        (RuntimeError, "at least 2 dimensional", (x[0, 0], x, x)),
        (RuntimeError, "the same dtype", (x, x.double(), x)),
        (RuntimeError, "floating dtype", (x.long(), x.long(), x.long())),
        (RuntimeError, "attn_mask dtype to be bool", (x, x, x, half)),
        (RuntimeError, "attn_mask dtype to be bool", (x, x, x, half.double())),
        (RuntimeError, "attn_mask", (x, x, x, y > 0)),
        (RuntimeError, "'key'.*4 features", (x, y, x)),
        (RuntimeError, "'value'.*length of key, 3", (x, x, x[:, :2])),
        (RuntimeError, "cannot be broadcast", (x, tg.ones(3, 3, 4), x)),
        (RuntimeError, "between 0 and 1", (x, x, x, None, 1.5)),
        (TypeError, "Tensor", (None, x, x)),
    ]:
        check_error(exception, pattern, lambda a=arguments: attention(*a))
    check_error(RuntimeError, "must divide", lambda: attention(
        tg.ones(4, 3, 4), tg.ones(3, 3, 4), tg.ones(3, 3, 4), enable_gqa=True))  # fmt: skip
    check_error(IndexError, "3 dimensions", lambda: attention(*[x[0]] * 3, enable_gqa=True))


# Query, key and value as slices of one projection (2, 9, 3 * 20): heads of 5 features.
SLICES = [
    lambda m, x: x.reshape(2, 9, 3, 4, 5).permute(2, 0, 3, 1, 4).unbind(0),
    lambda m, x: [y.reshape(2, 9, 4, 5).transpose(1, 2) for y in x.split(20, dim=2)],
    lambda m, x: [y.reshape(2, 9, 4, 5).transpose(1, 2) for y in x.chunk(3, dim=2)],
    lambda m, x: [y.transpose(1, 2) for y in x.reshape(2, 9, 4, 3, 5).unbind(3)],
    lambda m, x: list(x.reshape(3, 2, 4, 9, 5)),
    lambda m, x: list(x.reshape(3, 2, 4, 9, 5))[::-1],
    lambda m, x: [x.reshape(3, 2, 4, 9, 5)[i] for i in (0, 2, 1)],
    lambda m, x: [x.reshape(3, 2, 4, 9, 5)[0]] * 3,
    lambda m, x: [y.reshape(2, 1, 3, 60).transpose(2, 3) for y in x.chunk(3, dim=1)],  # far apart
    lambda m, x: [y.transpose(2, 3) for y in x.reshape(2, 3, 4, 5, 9).unbind(1)],
]


@pytest.mark.parametrize("slices", SLICES)
def test_slices_of_one_projection(slices):
    def function(m, x, factor):
        q, k, v = slices(m, x)
        return sdpa(m)(q, k, v, is_causal=True).transpose(1, 2).reshape(2, 9, 20) * factor

    check(function, randn(2, 9, 60), randn(20, seed=1), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("slices", SLICES[:5])
def test_gradients_of_slices_are_slices(slices):
    x = tg.from_numpy(randn(2, 9, 60)).requires_grad_()
    parts = slices(tg, x)
    output = attention(*parts, is_causal=True)
    grads = tg.autograd.grad(output, parts, output.detach(), retain_graph=True)
    places = sorted(g.data_ptr() for g in grads)
    assert places[1] - places[0] == places[2] - places[1]
    (whole,) = tg.autograd.grad(output, x, output.detach())
    again = tg.autograd.grad(output := attention(*slices(tg, x), is_causal=True), x,
                             output.detach(), create_graph=True)[0]  # fmt: skip
    np.testing.assert_allclose(whole.numpy(), again.detach().numpy(), rtol=1e-9, atol=1e-12)
