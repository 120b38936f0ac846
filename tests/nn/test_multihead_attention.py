"""MultiheadAttention against PyTorch: state, masks, weights, gradients, complaints."""

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, assert_same, check_error, randn

BATCH, QUERIES, KEYS, FEATURES, HEADS = 3, 5, 7, 12, 4
RANDOM = np.random.default_rng(0)
PADDING = RANDOM.random((BATCH, KEYS)) < 0.3
PADDING[:, 0] = False
HIDDEN = RANDOM.random((QUERIES, KEYS)) < 0.3
HIDDEN[:, 0] = False
PER_HEAD = np.repeat(HIDDEN[None], BATCH * HEADS, 0)


def pair(**options):
    """The layer of each library, with PyTorch's parameters, float64."""
    theirs = torch.nn.MultiheadAttention(FEATURES, HEADS, dtype=torch.float64, **options)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    ours = tg.nn.MultiheadAttention(FEATURES, HEADS, dtype=tg.float64, **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: tg.from_numpy(as_array(v)) for k, v in theirs.state_dict().items()})
    return ours, theirs


def compare(layers, arrays, masks=None, share=False, **options):
    """Outputs, weights and all gradients of both layers are the same."""
    results, gradients = [], []
    for m, layer in zip((tg, torch), layers, strict=True):
        leaves = [m.from_numpy(x.copy()).requires_grad_() for x in arrays]
        inputs = [leaves[0]] * 3 if share else leaves
        given = {k: m.from_numpy(v) for k, v in (masks or {}).items()}
        output, weights = layer(*inputs, **given, **options)
        total = (output * output).sum()
        if weights is not None:
            total = total + (weights * weights).sum()
        total.backward()
        results.append([output, weights])
        parameters = dict(layer.named_parameters()).values()
        gradients.append([x.grad for x in (*leaves, *parameters)])
    for ours, theirs in zip(*results, strict=True):
        assert (ours is None) == (theirs is None)
        if theirs is not None:
            assert_same(ours, theirs, 1e-10, 1e-11, "result")
    for ours, theirs in zip(*gradients, strict=True):
        assert (ours is None) == (theirs is None)
        if theirs is not None:
            assert_same(ours, theirs, 1e-9, 1e-10, "gradient")


def operands(batch_first, kdim=FEATURES, vdim=FEATURES):
    arrays = [
        randn(BATCH, QUERIES, FEATURES),
        randn(BATCH, KEYS, kdim, seed=1),
        randn(BATCH, KEYS, vdim, seed=2),
    ]
    return arrays if batch_first else [x.swapaxes(0, 1) for x in arrays]


MASKS = [
    {},
    {"key_padding_mask": PADDING},
    {"attn_mask": HIDDEN},
    {"attn_mask": PER_HEAD, "key_padding_mask": PADDING},
    {"attn_mask": randn(QUERIES, KEYS)},
    {"attn_mask": randn(BATCH * HEADS, QUERIES, KEYS), "key_padding_mask": randn(BATCH, KEYS)},
]


OPTIONS = [
    {},
    {"bias": False},
    {"kdim": 5, "vdim": 6},
    {"add_bias_kv": True, "add_zero_attn": True},
]


@pytest.mark.parametrize("masks", MASKS, ids=lambda masks: "+".join(masks) or "none")
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_like_pytorch(options, batch_first, masks):
    layers = pair(batch_first=batch_first, **options)
    dims = {k: v for k, v in options.items() if k in ("kdim", "vdim")}
    arrays = operands(batch_first, **dims)
    compare(layers, arrays, masks)
    compare(layers, arrays, masks, need_weights=False)
    compare(layers, arrays, masks, average_attn_weights=False)


@pytest.mark.parametrize("need_weights", [False, True])
def test_self_attention_causal_and_without_a_batch(need_weights):
    layers = pair()
    causal = np.triu(np.ones((QUERIES, QUERIES), bool), 1)
    x = randn(QUERIES, BATCH, FEATURES)
    options = {"need_weights": need_weights}
    compare(layers, [x], {"attn_mask": causal}, share=True, **options)
    compare(layers, [x], {"attn_mask": causal}, share=True, is_causal=True, **options)
    compare(layers, [x[:, 0]], share=True, **options)
    padding = {"attn_mask": causal, "key_padding_mask": PADDING[0, :QUERIES]}
    compare(layers, [x[:, 0]], padding, share=True, **options)


def test_memory_shared_by_key_and_value():
    query, memory = operands(True)[:2]
    for m, layer in zip((tg, torch), pair(batch_first=True), strict=True):
        q, kv = m.from_numpy(query), m.from_numpy(memory)
        output, _ = layer(q, kv, kv, need_weights=False)
        separate, _ = layer(q, kv, kv.clone(), need_weights=False)
        np.testing.assert_allclose(as_array(output), as_array(separate), rtol=1e-12)


@pytest.mark.parametrize("options", [{}, {"kdim": 5, "vdim": 6}, {"add_bias_kv": True}], ids=str)
def test_the_same_seed_draws_the_same_parameters(options):
    tg.manual_seed(4)
    torch.manual_seed(4)
    ours = tg.nn.MultiheadAttention(64, 4, **options).state_dict()
    theirs = torch.nn.MultiheadAttention(64, 4, **options).state_dict()
    for name, value in theirs.items():
        np.testing.assert_allclose(as_array(ours[name]), as_array(value), rtol=1e-4, atol=1e-6)


def test_dropout_only_in_training():
    layer = tg.nn.MultiheadAttention(FEATURES, HEADS, dropout=0.5)
    x = tg.from_numpy(randn(QUERIES, BATCH, FEATURES, dtype=np.float32))
    for need_weights in (False, True):
        layer.train()
        a, b = (layer(x, x, x, need_weights=need_weights)[0] for _ in range(2))
        assert not np.array_equal(as_array(a), as_array(b))
        layer.eval()
        a, b = (layer(x, x, x, need_weights=need_weights)[0] for _ in range(2))
        np.testing.assert_array_equal(as_array(a), as_array(b))


def test_complaints():
    layer = tg.nn.MultiheadAttention(FEATURES, HEADS)
    x = tg.ones(QUERIES, BATCH, FEATURES)
    mask = tg.ones(2, 2) > 0
    for exception, pattern, function in [
        (ValueError, "greater than 0", lambda: tg.nn.MultiheadAttention(0, 1)),
        (AssertionError, "divisible", lambda: tg.nn.MultiheadAttention(5, 2)),
        (AssertionError, "unbatched 2D or batched 3D", lambda: layer(x[0, 0], x, x)),
        (AssertionError, "3-D query", lambda: layer(x, x[0], x)),
        (AssertionError, "embedding dimension of 12", lambda: layer(*[x[..., :4]] * 3)),
        (AssertionError, "do not match value", lambda: layer(x, x, x[:2])),
        (RuntimeError, "2D attn_mask", lambda: layer(x, x, x, attn_mask=mask)),
        (RuntimeError, "3D attn_mask", lambda: layer(x, x, x, attn_mask=mask[None])),
        (AssertionError, "key_padding_mask", lambda: layer(x, x, x, mask)),
        (RuntimeError, "Need attn_mask", lambda: layer(x, x, x, is_causal=True)),
    ]:
        check_error(exception, pattern, function)
    with pytest.warns(UserWarning, match="mismatched key_padding_mask"):
        padding = tg.ones(BATCH, QUERIES) < 0
        layer(x, x, x, padding, attn_mask=tg.zeros(QUERIES, QUERIES))
