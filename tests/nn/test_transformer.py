"""Transformer layers and stacks against PyTorch: state, masks, gradients, complaints."""

import numpy as np
import pytest
import torch

import tilegrad as tg
from support import as_array, assert_same, check_error, randn

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor:UserWarning")

OPTIONS = [
    {},
    {"batch_first": True, "norm_first": True},
    {"bias": False, "activation": "gelu"},
]


def pair(name, *args, **options):
    """The module of each library, with PyTorch's parameters, float64, without dropout."""
    theirs = getattr(torch.nn, name)(*args, **options)
    ours = getattr(tg.nn, name)(*args, **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: tg.from_numpy(as_array(v)) for k, v in theirs.state_dict().items()})
    return ours, theirs


def compare(modules, arrays, masks=None, **options):
    """Outputs and all gradients of both modules are the same."""
    outputs, gradients = [], []
    for m, module in zip((tg, torch), modules, strict=True):
        leaves = [m.from_numpy(x.copy()).requires_grad_() for x in arrays]
        given = {k: m.from_numpy(v) for k, v in (masks or {}).items()}
        output = module(*leaves, **given, **options)
        (output**3).sum().backward()
        outputs.append(output)
        parameters = dict(module.named_parameters())
        gradients.append([x.grad for x in (*leaves, *parameters.values())])
    assert_same(*outputs, 1e-10, 1e-10, "output")
    for ours, theirs in zip(*gradients, strict=True):
        assert_same(ours, theirs, 1e-8, 1e-9, "gradient")


def small(**options):
    made = {"dim_feedforward": 10, "dropout": 0.0, **options}
    return {**made, "num_encoder_layers": 2, "num_decoder_layers": 2}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_like_pytorch(options):
    modules = pair("Transformer", 8, 2, dtype=None, **small(**options))
    modules = (modules[0].double(), modules[1].double())
    arrays = [randn(3, 5, 8), randn(3, 4, 8, seed=1)]
    if not options.get("batch_first"):
        arrays = [x.swapaxes(0, 1) for x in arrays]
    compare(modules, arrays)
    causal = np.triu(np.full((4, 4), -np.inf), 1)
    compare(modules, arrays, {"tgt_mask": causal})
    compare(modules, arrays, {"tgt_mask": causal}, tgt_is_causal=True)


def test_masks():
    modules = tuple(x.double() for x in pair("Transformer", 8, 2, **small(batch_first=True)))
    padding = np.zeros((3, 5), bool)
    padding[0, 3:] = padding[2, 1:] = True
    masks = {
        "src_mask": np.eye(5, k=2, dtype=bool),
        "memory_mask": np.eye(4, 5, k=3, dtype=bool),
        "src_key_padding_mask": padding,
        "memory_key_padding_mask": padding,
        "tgt_key_padding_mask": padding[:, :4],
    }
    compare(modules, [randn(3, 5, 8), randn(3, 4, 8, seed=1)], masks)


def test_encoder():
    layers = pair("TransformerEncoderLayer", 8, 2, 10, 0.0)
    modules = (
        tg.nn.TransformerEncoder(layers[0], 2).double(),
        torch.nn.TransformerEncoder(layers[1], 2, enable_nested_tensor=False).double(),
    )
    compare(modules, [randn(5, 3, 8)])
    compare(modules, [randn(5, 8)])
    mask = tg.nn.Transformer.generate_square_subsequent_mask(5)
    theirs = torch.nn.Transformer.generate_square_subsequent_mask(5)
    np.testing.assert_array_equal(as_array(mask), as_array(theirs))
    compare(modules, [randn(5, 3, 8)], {"mask": as_array(mask).astype(np.float64)})
    first, second = (dict(layer.named_parameters()) for layer in modules[0].layers)
    assert all(first[name] is not second[name] for name in first)


def test_complaints():
    module = tg.nn.Transformer(8, 2, **small())
    x = tg.ones(5, 3, 8)
    check_error(RuntimeError, "batch number", lambda: module(x, x[:, :2]))
    check_error(RuntimeError, "feature number", lambda: module(x, x[..., :4]))
    check_error(
        RuntimeError, "relu/gelu", lambda: tg.nn.TransformerDecoderLayer(8, 2, activation="tanh")
    )
