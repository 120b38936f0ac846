"""Recomputation on a device: the second run meets what the first met."""

from __future__ import annotations

import pytest

import tilegrad as tg
from tilegrad.utils.checkpoint import checkpoint, checkpoint_sequential, get_device_states

pytestmark = pytest.mark.gpu


def runs(part):
    """``part`` itself, then checkpointed in three ways."""
    return (
        part,
        lambda x: checkpoint(part, x, use_reentrant=False),
        lambda x: checkpoint(part, x, use_reentrant=True),
        lambda x: checkpoint_sequential([part, tg.nn.Identity()], 2, x),
    )


def test_dropout_drops_the_same_elements_again():
    layers = tg.nn.Sequential(tg.nn.Linear(8, 8), tg.nn.Dropout(0.5)).to("cuda")
    found = []
    for run in runs(layers):
        x = tg.ones(4, 8, device="cuda", requires_grad=True)
        layers.zero_grad()
        tg.manual_seed(1)
        y = run(x)
        state = tg.cuda.get_rng_state().tolist()
        y.sum().backward()
        assert tg.cuda.get_rng_state().tolist() == state  # backward draws nothing of its own
        found.append([z.tolist() for z in (y, x.grad, layers[0].bias.grad)])
    assert found[1:] == found[:1] * 3


def test_numbers_of_both_generators_and_arguments_by_name():
    def part(x, options):
        host = tg.rand(5).to("cuda")
        return x * host * tg.rand(5, device="cuda") * options["factor"]

    x = tg.ones(5, requires_grad=True)
    y = checkpoint(part, x.to("cuda"), options={"factor": tg.ones(5, device="cuda")})
    y.sum().backward()
    assert x.grad.tolist() == y.tolist()
    x = tg.ones(5, device="cuda", requires_grad=True)
    y = checkpoint(part, x, options={"factor": 2.0}, preserve_rng_state=False)
    y.sum().backward()
    assert x.grad.tolist() != y.tolist()
    devices, states = get_device_states(tg.ones(2), [x, {"x": x}])
    assert devices == [0] and states[0].tolist() == tg.cuda.get_rng_state().tolist()


def test_a_graph_cannot_hold_the_state_of_a_generator():
    x = tg.ones(5, device="cuda", requires_grad=True)
    checkpoint(tg.exp, x).sum().backward()  # the first call of what is captured
    x.grad = None
    graph = tg.cuda.CUDAGraph()
    with pytest.raises(RuntimeError, match="preserve_rng_state=False"), tg.cuda.graph(graph):
        checkpoint(tg.exp, x).sum().backward()
    x.grad = None
    graph = tg.cuda.CUDAGraph()
    with tg.cuda.graph(graph):
        checkpoint(tg.exp, x, preserve_rng_state=False).sum().backward()
    graph.replay()
    assert x.grad.tolist() == x.exp().tolist()


@pytest.mark.parametrize("dtype", [tg.float16, tg.bfloat16])
def test_mixed_precision_is_that_of_the_first_run(dtype):
    layers = tg.nn.Sequential(tg.nn.Linear(8, 8), tg.nn.GELU(), tg.nn.Linear(8, 4)).to("cuda")
    found = []
    for run in runs(layers):
        x = tg.ones(4, 8, device="cuda", requires_grad=True)
        layers.zero_grad()
        with tg.autocast("cuda", dtype=dtype):
            y = run(x)
        y.float().square().sum().backward()
        assert y.dtype is dtype and x.grad.dtype is tg.float32
        found.append([z.tolist() for z in (y, x.grad, *(p.grad for p in layers.parameters()))])
    assert found[1:] == found[:1] * 3
